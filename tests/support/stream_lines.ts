/**
 * The lines that a program prints.
 *
 * @module
 */

import { settles } from "./wait.ts";

/** Collects the lines of a stream, and tells when one has come. */
export class StreamLines {
  /** The lines so far. */
  readonly all: string[] = [];
  /** Resolves at EOF. */
  readonly ended: Promise<void>;

  #next = Promise.withResolvers<boolean>(); // of more lines; whether the stream goes on

  /** @param stream Where the lines come from. It is read to EOF. */
  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#read(stream);
  }

  /**
   * Waits for a line, unless it is there already.
   *
   * @param pattern What it looks like.
   * @param nth Which of the matching lines, counted from 1.
   * @returns The match.
   * @throws {Error} If the stream ends without it, or it does not come in time; the message shows what came.
   */
  async find(pattern: RegExp, nth: number = 1): Promise<RegExpExecArray> {
    const what = () => `line ${nth} that matches ${pattern}; these came last:\n${this.all.slice(-30).join("\n")}`;
    const find = async () => {
      for (let more = true;;) {
        const match = this.matches(pattern)[nth - 1];
        if (match !== undefined) return match;
        if (!more) throw new Error(`the program ended without ${what()}`);
        more = await this.#next.promise;
      }
    };
    return await settles(find(), what);
  }

  /** The lines so far that match. */
  matches(pattern: RegExp): RegExpExecArray[] {
    return this.all.map((line) => pattern.exec(line)).filter((match) => match !== null);
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.all.push(...lines);
      this.#next.resolve(true);
      this.#next = Promise.withResolvers();
    }
    if (rest !== "") this.all.push(rest);
    this.#next.resolve(false);
  }
}
