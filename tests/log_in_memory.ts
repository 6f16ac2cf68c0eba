/**
 * The access log's file, held in memory, with a disk that fails when it is told to.
 *
 * @module
 */

import type { LogFile } from "../lib/access_log.ts";

/** How the next write ends: it takes at most so many bytes, or throws. */
export type WriteResult = number | Error;

/** A {@linkcode LogFile} in memory. Whatever is done to it after its close throws. */
export class LogInMemory implements LogFile {
  /** How the next writes end, in order. When it is empty, a write takes all. */
  readonly script: WriteResult[];
  /** When set, every write throws it, whatever the script says. */
  failure: Error | undefined;
  /** Set for a file that cannot be cut, such as a pipe. */
  uncuttable = false;
  /** Writes that took at least one byte. */
  writes = 0;
  /** Writes that were tried. */
  tries = 0;
  closed = false;
  #bytes = new Uint8Array(0);

  /** @param script How the first writes end, in order. */
  constructor(script: WriteResult[] = []) {
    this.script = script;
  }

  /** What the file holds. */
  get text(): string {
    return new TextDecoder().decode(this.#bytes);
  }

  writeSync(bytes: Uint8Array): number {
    this.#checkOpen();
    this.tries++;
    if (this.failure !== undefined) throw this.failure;
    const result = this.script.shift() ?? bytes.length;
    if (typeof result !== "number") throw result;
    const taken = Math.min(result, bytes.length);
    if (taken > 0) this.writes++;
    const grown = new Uint8Array(this.#bytes.length + taken);
    grown.set(this.#bytes);
    grown.set(bytes.subarray(0, taken), this.#bytes.length);
    this.#bytes = grown;
    return taken;
  }

  seekSync(offset: number, whence: Deno.SeekMode): number {
    this.#checkOpen();
    if (this.uncuttable) throw new Error("Illegal seek (os error 29)");
    if (whence !== Deno.SeekMode.End) throw new Error("this file is only sought from its end");
    return this.#bytes.length + offset;
  }

  truncateSync(length: number): void {
    this.#checkOpen();
    if (this.uncuttable) throw new Error("Invalid argument (os error 22)");
    this.#bytes = this.#bytes.slice(0, length);
  }

  close(): void {
    this.#checkOpen();
    this.closed = true;
  }

  #checkOpen(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
  }
}
