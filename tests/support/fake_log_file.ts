/**
 * The access log's file in memory, whose writes fail as the test says.
 *
 * @module
 */

import type { LogFile } from "../../lib/startup.ts";

/** How a write ends: it writes at most so many bytes, or throws. */
export type WriteResult = number | Error;

/** The content of a file, shared by all that have it open. */
export interface Content {
  /** The whole content, which is ASCII. */
  text: string;
}

const DECODER = new TextDecoder();

/** A {@linkcode LogFile} in memory. Every method throws after close(). */
export class FakeLogFile implements LogFile {
  /** How the next writes end, in order. When it is empty, writes are whole. */
  readonly script: WriteResult[];
  /** When set, every write throws it, and the script is not used. */
  failure: Error | undefined;
  /** Whether nothing can be cut off, as in an append-only file. */
  cannotCutOff = false;
  /** Writes of at least one byte. */
  writes = 0;
  /** All writes, failed ones included. */
  tries = 0;
  /** Whether it is closed. */
  closed = false;
  readonly #content: Content;

  /**
   * Opens a file.
   *
   * @param script How the first writes end, in order.
   * @param content Its content, if it is opened more than once. Default: an empty one of its own.
   */
  constructor(script: WriteResult[] = [], content: Content = { text: "" }) {
    this.script = script;
    this.#content = content;
  }

  /** What is in the file. */
  get text(): string {
    return this.#content.text;
  }

  write(bytes: Uint8Array): number {
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

  cutOff(bytes: number): boolean {
    this.#checkOpen();
    if (!this.cannotCutOff) this.#content.text = this.text.slice(0, this.text.length - bytes);
    return !this.cannotCutOff;
  }

  close(): void {
    this.#checkOpen();
    this.closed = true;
  }

  #checkOpen(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
  }
}
