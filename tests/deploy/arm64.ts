/**
 * An arm64 system in a folder, whose programs QEMU runs in user mode.
 *
 * @module
 */

import { output } from "../support/commands.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

/** Debian's C library, and Deno from its package on npm. */
export class Arm64System implements Disposable {
  /** Where its file system is. */
  readonly root: string;
  /** The program that runs programs for arm64. */
  readonly emulator: string = "/usr/bin/qemu-aarch64-static";
  /** A command that ends by executing its arguments, of which the first is a program for arm64. */
  readonly launcher: string[];
  /** Where Deno is, of the version that runs the tests. */
  readonly deno: string;

  private constructor(private readonly folder: TemporaryFolder) {
    this.root = `${folder.path}/system`;
    this.launcher = [this.emulator, "-L", this.root];
    this.deno = `${this.root}/bin/deno`;
  }

  /**
   * Makes it.
   *
   * @returns The system. Disposing of it removes the folder.
   */
  static async make(): Promise<Arm64System> {
    const system = new Arm64System(new TemporaryFolder("echo-arm64-"));
    try {
      const { folder: { path }, root, deno } = system;
      const debootstrap = ["mmdebstrap", "--quiet", "--variant=extract", "--architectures=arm64"];
      await output(...debootstrap, "--include=libc6,libgcc-s1", "bookworm", root);
      const name = `@deno/linux-arm64-glibc@${Deno.version.deno}`;
      const packed = await output("npm", "pack", "--silent", "--prefer-offline", `--pack-destination=${path}`, name);
      await output("tar", "--extract", `--file=${path}/${packed.trim()}`, `--directory=${path}`);
      await output("install", "-D", `${path}/package/deno`, deno);
      return system;
    } catch (error) {
      system[Symbol.dispose]();
      throw error;
    }
  }

  /** Removes the folder. */
  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
  }
}
