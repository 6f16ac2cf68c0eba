/**
 * The reader of the server's stderr.
 *
 * @module
 */

import type { Environment } from "./environment.ts";

/** A line of the diagnostics that has not been read. */
interface Expected {
  line: string;
  /** How many lines it says were dropped. */
  dropped: number;
  /** Whether it must not be dropped. */
  isMandatory: boolean;
}

/** Milliseconds without the end of a write after which the server may give up. */
const FLUSH_TIMEOUT_MS = 1000;

/** A pipe that is read, not read, or closed. Checks the lines that come. */
export class Stderr {
  /** Characters that may be queued besides those being written. */
  maxQueued = Infinity;
  /** Bytes that one write takes at most. */
  maxWrite = Infinity;
  /** Milliseconds that each write takes. */
  delay = 0;
  /** When the write under way ends, if it takes time. */
  next = Infinity;
  /** When it was last read. */
  readAt = -Infinity;

  readonly #environment: Pick<Environment, "whenOtherReady" | "now" | "violated">;
  #state: "read" | "unread" | "closed" = "read";
  #blocked: (() => void) | undefined; // ends the write that waits for the reader
  #expected: Expected[] = [];
  #partial = "";
  #isWriting = false;

  /** @param environment What it is a part of. */
  constructor(environment: Pick<Environment, "whenOtherReady" | "now" | "violated">) {
    this.#environment = environment;
  }

  /** What the reader does from now on. */
  set state(state: "read" | "unread" | "closed") {
    if (this.#state !== "closed") this.#state = state;
    this.delay = 0;
    if (state !== "unread") this.#unblock();
  }

  /** Time has passed. */
  onTime(): void {
    if (this.next <= this.#environment.now()) this.#unblock();
  }

  /**
   * A server process starts, with a pipe of its own.
   *
   * @param maxQueued Characters that it may queue.
   * @param maxWrite Bytes that one write takes at most.
   */
  restart(maxQueued: number, maxWrite: number): void {
    this.maxQueued = maxQueued;
    this.maxWrite = maxWrite;
    this.#state = "read";
    this.#isWriting = false;
    this.#blocked = undefined;
    this.delay = 0;
    this.next = Infinity;
    this.#expected = [];
    this.#partial = "";
  }

  /** The server reports a line: it must come, or be counted as dropped unless it is mandatory. */
  expect(line: string, dropped: number, isMandatory: boolean): void {
    this.#expected.push({ line, dropped, isMandatory });
  }

  /** write(2). */
  write(bytes: Uint8Array): Promise<number> {
    if (this.#isWriting) this.#environment.violated("two writes to stderr are pending");
    if (bytes.length > this.maxQueued) this.#environment.violated(`${bytes.length} bytes of diagnostics were queued`);
    return new Promise((resolve, reject) => {
      this.#isWriting = true;
      const end = () => {
        this.#isWriting = false;
        if (this.#state === "closed") return reject(new Deno.errors.BrokenPipe("broken pipe"));
        const taken = bytes.subarray(0, this.maxWrite);
        this.#read(new TextDecoder().decode(taken));
        resolve(taken.length);
      };
      this.#blocked = end;
      if (this.#state === "read" && this.delay > 0) this.next = this.#environment.now() + this.delay;
      else if (this.#state !== "unread") this.#unblock();
    });
  }

  /** The process exits. @param isFlushed Whether it says that everything is written. */
  onExit(isFlushed: boolean): void {
    const { violated } = this.#environment;
    const lines = this.#expected.length;
    if (isFlushed && this.#state !== "closed" && lines > 0) violated(`${lines} lines of the diagnostics are lost`);
    // A write that ends in the very moment in which the second is over may count as either.
    const isBlocked = this.#blocked !== undefined || this.#isWriting;
    if (!isFlushed && (!isBlocked || (this.delay > 0 && this.delay < FLUSH_TIMEOUT_MS))) {
      violated("the server gives up an stderr that is read");
    }
  }

  #unblock(): void {
    if (this.#blocked !== undefined) this.#environment.whenOtherReady(this.#blocked);
    this.#blocked = undefined;
    this.next = Infinity;
  }

  #read(text: string): void {
    this.readAt = this.#environment.now();
    const lines = (this.#partial + text).split(/(?<=\n)/);
    this.#partial = lines.at(-1)?.endsWith("\n") ? "" : lines.pop() ?? "";
    for (const line of lines) {
      const index = this.#expected.findIndex((expected) => expected.line === line);
      const { dropped } = this.#expected[index] ?? {};
      if (index !== dropped) {
        this.#environment.violated(
          `${index} lines of the diagnostics have not come, ${dropped} are counted as dropped`,
        );
      }
      const mandatory = this.#expected.splice(0, index + 1).slice(0, -1).find(({ isMandatory }) => isMandatory);
      if (mandatory !== undefined) this.#environment.violated(`dropped: ${mandatory.line.trimEnd()}`);
    }
  }
}
