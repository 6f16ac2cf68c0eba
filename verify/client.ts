/**
 * A client that half-closes: sends a message, half-closes, and compares the reply with what it sent.
 *
 * @module
 */

import { errorMessage, isDisconnect } from "../lib/errors.ts";
import { Pattern } from "./pattern.ts";

/** Bytes that are sent or received at a time. */
const BUFFER_BYTES = 65_536;

/** What a client sends, and how. */
export interface Message {
  /** Bytes of the message. */
  size: number;
  /** Which bytes; see {@linkcode Pattern}. Default: 0. */
  seed?: number;
  /** Bytes that are written at a time. Default: 64 KiB. */
  segment?: number;
  /** Milliseconds of silence in the middle of the message. */
  pauseHalfwayMs?: number;
  /** Milliseconds of silence between the last byte and the half-close. */
  pauseAtEndMs?: number;
  /** Milliseconds between the half-close and the first read. Default: reads from the beginning, while it sends. */
  readAfterMs?: number;
}

/** What became of a message. */
export interface Outcome {
  /** How the reply ended. `wrong`: other bytes, or more, came back. `timeout`: nothing moved for too long. */
  end: "eof" | "wrong" | "reset" | "timeout" | "error";
  /** Bytes of the message. */
  size: number;
  /** Bytes that were sent, of those. */
  sent: number;
  /** Whether the message was sent in full and the connection half-closed. */
  halfClosed: boolean;
  /** Bytes that came back as they were sent. */
  received: number;
  /** Bytes that came back before the half-close. */
  early: number;
  /** If `wrong`: the byte that was received instead of the one that was due, which is undefined after the last. */
  wrong?: { due: number | undefined; received: number };
  /** If `error`: what the system says. */
  error?: string;
}

/** Whether a message came back in full, and not a byte more. Only a whole reply can end in `reset` without being cut. */
export function isWhole({ end, size, received, halfClosed }: Outcome): boolean {
  return halfClosed && received === size && (end === "eof" || end === "reset");
}

/** One connection. It is closed when {@linkcode Client.exchange} has ended, or when it is disposed of. */
export class Client implements Disposable {
  readonly #conn: Deno.TcpConn;
  readonly #timeoutMs: number;
  #isTimedOut = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #movedAt: number = performance.now();

  /**
   * Takes a connection.
   *
   * @param conn The connection.
   * @param timeoutMs Milliseconds without a byte either way after which a message is given up; 0 for no limit.
   */
  constructor(conn: Deno.TcpConn, timeoutMs: number = 0) {
    this.#conn = conn;
    this.#timeoutMs = timeoutMs;
    conn.setNoDelay();
  }

  /** Connects. Rejects with what `Deno.connect` rejects with, or with a `TimeoutError`. */
  static async connect(address: { hostname: string; port: number }, timeoutMs: number = 0): Promise<Client> {
    const limit = timeoutMs > 0 ? { signal: AbortSignal.timeout(timeoutMs) } : {};
    return new Client(await Deno.connect({ ...address, ...limit }), timeoutMs);
  }

  /** The address that it is connected to. */
  get remoteAddress(): string {
    return this.#conn.remoteAddr.hostname;
  }

  /** The port that it is connected from. */
  get localPort(): number {
    return this.#conn.localAddr.port;
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.#conn[Symbol.dispose]();
  }

  /**
   * Sends a message, half-closes, and compares what comes back until EOF.
   *
   * @param message What is sent, and how.
   * @returns What became of it. Never rejects.
   */
  async exchange(message: Message): Promise<Outcome> {
    using _ = this;
    const outcome: Outcome = { end: "error", size: message.size, sent: 0, halfClosed: false, received: 0, early: 0 };
    this.#movedAt = performance.now();
    this.#watch();
    const isLate = message.readAfterMs !== undefined;
    const receiving = isLate ? undefined : this.#receive(message, outcome);
    const sending = this.#send(message, outcome).catch((error: unknown) => {
      if (!isLate) return; // the reply tells more: it may have come in full before the connection was reset
      this.#fail(outcome, error);
    });
    if (receiving === undefined) {
      await sending;
      if (!outcome.halfClosed) return outcome;
      await this.#pause(message.readAfterMs);
    }
    await (receiving ?? this.#receive(message, outcome));
    this[Symbol.dispose](); // ends a write that is pending, should the reply have ended before the message
    await sending;
    return outcome;
  }

  async #send(message: Message, outcome: Outcome): Promise<void> {
    const { size, segment = BUFFER_BYTES, pauseHalfwayMs, pauseAtEndMs } = message;
    const pattern = new Pattern(message.seed);
    const buffer = new Uint8Array(Math.min(segment, size));
    const half = pauseHalfwayMs === undefined ? 0 : size >> 1;
    while (outcome.sent < size) {
      if (outcome.sent === half) await this.#pause(pauseHalfwayMs);
      const end = outcome.sent < half ? half : size;
      let rest = pattern.fill(buffer.subarray(0, end - outcome.sent));
      while (rest.length > 0) {
        const bytes = await this.#conn.write(rest);
        rest = rest.subarray(bytes);
        outcome.sent += bytes;
        this.#movedAt = performance.now();
      }
    }
    await this.#pause(pauseAtEndMs);
    outcome.halfClosed = true; // before the system call: what comes from here on is not early
    await this.#conn.closeWrite();
  }

  /** Receives until EOF, the first wrong byte or an error, and notes in the outcome which. */
  async #receive(message: Message, outcome: Outcome): Promise<void> {
    const pattern = new Pattern(message.seed);
    const buffer = new Uint8Array(Math.min(BUFFER_BYTES, message.size + 1)); // one more, for a byte too many
    const expected = new Uint8Array(buffer.length);
    try {
      for (;;) {
        const bytes = await this.#conn.read(buffer);
        if (bytes === null) break;
        this.#movedAt = performance.now();
        if (!outcome.halfClosed) outcome.early += bytes;
        const due = pattern.fill(expected.subarray(0, Math.min(bytes, message.size - outcome.received)));
        for (let i = 0; i < bytes; i++) {
          const received = buffer[i] ?? 0;
          if (received !== due[i]) {
            outcome.wrong = { due: due[i], received };
            outcome.end = "wrong";
            return;
          }
          outcome.received++;
        }
      }
      outcome.end = "eof";
    } catch (error) {
      this.#fail(outcome, error);
    }
  }

  #fail(outcome: Outcome, error: unknown): void {
    outcome.end = this.#isTimedOut ? "timeout" : isDisconnect(error) ? "reset" : "error";
    if (outcome.end === "error") outcome.error = errorMessage(error);
  }

  /** Waits, without letting the time count towards the timeout. */
  async #pause(ms: number | undefined): Promise<void> {
    if (ms === undefined) return;
    this.#movedAt = Infinity;
    await new Promise((resolve) => setTimeout(resolve, ms));
    this.#movedAt = performance.now();
  }

  /** Closes the connection when nothing has moved for too long: what is pending rejects. */
  #watch(): void {
    if (this.#timeoutMs === 0) return;
    const left = Math.min(this.#movedAt + this.#timeoutMs - performance.now(), this.#timeoutMs);
    this.#isTimedOut = left <= 0;
    if (this.#isTimedOut) this.#conn[Symbol.dispose]();
    else this.#timer = setTimeout(() => this.#watch(), left);
  }
}
