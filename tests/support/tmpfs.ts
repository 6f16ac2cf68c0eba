/**
 * A small file system in memory: one that can be full, or read-only.
 *
 * @module
 */

import { runSync } from "./commands.ts";
import { canRun } from "./permissions.ts";

/** A file system in memory, mounted until it is disposed of. */
export class Tmpfs implements Disposable {
  /** Where it is mounted. */
  readonly folder: string = Deno.makeTempDirSync({ prefix: "echo-server-tmpfs-" });

  /**
   * Mounts one. Needs root.
   *
   * @param options mount(8)'s, such as `size=64k`.
   */
  constructor(options: string) {
    try {
      mustRun("mount", "-t", "tmpfs", "-o", options, "none", this.folder);
    } catch (cause) {
      Deno.removeSync(this.folder);
      throw cause;
    }
  }

  /** Fills it to the last byte. */
  fill(): void {
    using file = Deno.openSync(`${this.folder}/filler`, { create: true, append: true });
    for (let bytes = new Uint8Array(4096); bytes.length > 0;) {
      try {
        file.writeSync(bytes);
      } catch {
        bytes = bytes.subarray(0, bytes.length >> 1);
      }
    }
  }

  /** Frees what {@linkcode Tmpfs.fill} has filled. */
  free(): void {
    Deno.removeSync(`${this.folder}/filler`);
  }

  /** Unmounts it. */
  [Symbol.dispose](): void {
    mustRun("umount", "--lazy", this.folder);
    Deno.removeSync(this.folder);
  }
}

/** Whether this test run may mount one. */
export const canMount: boolean = canRun && tryToMount();

function tryToMount(): boolean {
  try {
    using _ = new Tmpfs("size=4k");
    return true;
  } catch {
    return false;
  }
}

function mustRun(...command: string[]): void {
  const { code, stderr } = runSync(command);
  if (code !== 0) throw new Error(`${command.join(" ")}: ${stderr}`);
}
