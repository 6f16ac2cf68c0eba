/**
 * The other end of the server's stderr.
 *
 * @module
 */

import type { Report } from "../support/recorder.ts";
import type { Watch } from "./peer.ts";

/** A pipe that is read, not read, or broken. */
export class Stderr {
  /** Characters that may wait besides those that are being written. */
  maxQueued = Infinity;
  /** Whether the reader has read at every moment. */
  readOn = true;

  /** When it was last read. */
  readAt = -Infinity;

  readonly #watch: Pick<Watch, "whenReady" | "now" | "broken">;
  #state: "read" | "full" | "broken" = "read";
  #waiting: (() => void) | undefined;
  #expected: { line: string; dropped: number }[] = []; // reports that have not come, and how many the report says were dropped

  /**
   * Makes one that is read.
   *
   * @param watch What watches over it.
   */
  constructor(watch: Pick<Watch, "whenReady" | "now" | "broken">) {
    this.#watch = watch;
  }

  /** What the reader does from now on. */
  set state(state: "read" | "full" | "broken") {
    if (this.#state !== "broken") this.#state = state;
    if (state !== "read") this.readOn = false;
    if (state !== "full" && this.#waiting !== undefined) this.#watch.whenReady(this.#waiting);
    if (state !== "full") this.#waiting = undefined;
  }

  /** A process starts with a pipe of its own. */
  renew(): void {
    this.#state = "read";
    this.readOn = true;
    this.#waiting = undefined;
    this.#expected = [];
  }

  /** The server reports something: it must come, or be counted. */
  expect(line: string, { properties: { count } }: Report): void {
    this.#expected.push({ line, dropped: typeof count === "number" ? count : 0 });
  }

  /** A write of the server. */
  write(bytes: Uint8Array): Promise<void> {
    if (this.#waiting !== undefined) this.#watch.broken("two writes to stderr at a time");
    if (bytes.length > this.maxQueued) this.#watch.broken(`${bytes.length} bytes of reports have waited`);
    return new Promise((resolve, reject) => {
      const end = () => {
        if (this.#state === "broken") return reject(new Deno.errors.BrokenPipe("broken pipe"));
        this.#take(new TextDecoder().decode(bytes));
        resolve();
      };
      if (this.#state === "full") this.#waiting = end;
      else this.#watch.whenReady(end);
    });
  }

  /** The process ends: if the reader was always there, all has come. */
  finish(): void {
    if (this.readOn && this.#expected.length > 0) this.#watch.broken(`${this.#expected.length} reports have not come`);
  }

  #take(text: string): void {
    this.readAt = this.#watch.now();
    for (const line of text.split(/(?<=\n)/)) {
      const place = this.#expected.findIndex((expected) => expected.line === line);
      const { dropped } = this.#expected[place] ?? {};
      if (place !== dropped) this.#watch.broken(`${place} reports have not come, ${dropped} are said to be dropped`);
      this.#expected.splice(0, place + 1);
    }
  }
}
