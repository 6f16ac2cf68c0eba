/**
 * The access log's file, held in memory, with a disk that fails when it is told to.
 *
 * @module
 */

import type { LogFile } from "../../lib/access_log.ts";

/** How the next write ends: it takes at most so many bytes, or throws. */
export type WriteResult = number | Error;

/** What a file holds, however often it is open. */
export interface Content {
  /** All of it, which is ASCII. */
  text: string;
}

const DECODER = new TextDecoder();

/** A {@linkcode LogFile} in memory. Whatever is done to it after its close throws. */
export class FakeLogFile implements LogFile {
  /** How the next writes end, in order. When it is empty, a write takes all. */
  readonly script: WriteResult[];
  /** When set, every write throws it, whatever the script says. */
  failure: Error | undefined;
  /** Set for a file that cannot be truncated, such as a pipe. */
  cannotTruncate = false;
  /** Writes that took at least one byte. */
  writes = 0;
  /** Writes that were tried. */
  tries = 0;
  closed = false;
  readonly #content: Content;

  /**
   * Opens a file.
   *
   * @param script How the first writes end, in order.
   * @param content The file; an empty one of its own unless it is opened more than once.
   */
  constructor(script: WriteResult[] = [], content: Content = { text: "" }) {
    this.script = script;
    this.#content = content;
  }

  /** What the file holds. */
  get text(): string {
    return this.#content.text;
  }

  writeSync(bytes: Uint8Array): number {
    this.#checkOpen();
    this.tries++;
    if (this.failure !== undefined) throw this.failure;
    const result = this.script.shift() ?? bytes.length;
    if (typeof result !== "number") throw result;
    const taken = Math.min(result, bytes.length);
    if (taken > 0) this.writes++;
    this.#content.text += DECODER.decode(bytes.subarray(0, taken));
    return taken;
  }

  seekSync(offset: number, whence: Deno.SeekMode): number {
    this.#checkOpen();
    if (this.cannotTruncate) throw new Error("Illegal seek (os error 29)");
    if (whence !== Deno.SeekMode.End) throw new Error("this file is only sought from its end");
    return this.text.length + offset;
  }

  truncateSync(length: number): void {
    this.#checkOpen();
    if (this.cannotTruncate) throw new Error("Invalid argument (os error 22)");
    this.#content.text = this.text.slice(0, length);
  }

  close(): void {
    this.#checkOpen();
    this.closed = true;
  }

  #checkOpen(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
  }
}
