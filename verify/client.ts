/**
 * A client that half-closes: it sends a message, half-closes, and compares the reply with what it sent.
 *
 * @module
 */

import { isDisconnect } from "../lib/errors.ts";
import { type Content, Pattern } from "./content.ts";

/** Bytes that are sent or received at a time. */
const BUFFER_BYTES = 65_536;

/** What a client sends, and how. */
export interface Message {
  /** Bytes of the message. */
  size: number;
  /** Which bytes. It is called once for sending and once for comparing. Default: a {@linkcode Pattern}. */
  content?: () => Content;
  /** Bytes that are written at a time. Default: 64 KiB. */
  segment?: number;
  /** Milliseconds of silence in the middle of the message. */
  pauseHalfwayMs?: number;
  /** Milliseconds of silence between the last byte and the half-close. */
  pauseAtEndMs?: number;
  /** Milliseconds between the half-close and the first read. Default: it reads from the beginning, while it sends. */
  readAfterMs?: number;
}

/** What became of a message. */
export interface Outcome {
  /** How the reply ended. `wrong`: other bytes, or more, came back. `timeout`: no byte moved for too long. */
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
  /** If `wrong`: the byte that came back, and the one that should have, which is undefined after the last. */
  wrong?: { expected: number | undefined; received: number };
  /** If the connection failed: why. */
  error?: unknown;
}

/** Whether a message came back in full, and not a byte more. The connection may then have ended with a reset. */
export function isWhole({ end, size, received, halfClosed }: Outcome): boolean {
  return halfClosed && received === size && (end === "eof" || end === "reset");
}

/** A connection for one message. */
export class Client implements Disposable {
  #isTimedOut = false;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #silentSince = 0; // when the last byte was sent or received; while the client pauses, when it will go on

  private constructor(private readonly conn: Deno.TcpConn, private readonly timeoutMs: number) {}

  /**
   * Connects.
   *
   * @param address The server's.
   * @param timeoutMs Milliseconds to wait for the connection, and later for a byte either way; 0 for no limit.
   * @throws What `Deno.connect` throws, or a `TimeoutError`.
   */
  static async connect(address: { hostname: string; port: number }, timeoutMs: number = 0): Promise<Client> {
    const limit = timeoutMs > 0 ? { signal: AbortSignal.timeout(timeoutMs) } : {};
    const conn = await Deno.connect({ ...address, ...limit });
    conn.setNoDelay();
    return new Client(conn, timeoutMs);
  }

  /** The port that it is connected from. */
  get localPort(): number {
    return this.conn.localAddr.port;
  }

  /** Closes the connection. */
  [Symbol.dispose](): void {
    clearTimeout(this.#timer);
    this.conn[Symbol.dispose]();
  }

  /**
   * Sends a message, half-closes, compares what comes back until EOF, and closes the connection.
   *
   * @returns What became of it. Never rejects.
   */
  async exchange(message: Message): Promise<Outcome> {
    using _ = this;
    const outcome: Outcome = { end: "error", size: message.size, sent: 0, halfClosed: false, received: 0, early: 0 };
    this.#silentSince = performance.now();
    this.#watch();
    try {
      if (message.readAfterMs !== undefined) {
        await this.#send(message, outcome);
        await this.#pause(message.readAfterMs);
        await this.#receive(message, outcome);
      } else {
        // If sending fails, the reply tells more: it may have come back before the connection was reset.
        const sending = this.#send(message, outcome).catch(() => {});
        await this.#receive(message, outcome).finally(() => this[Symbol.dispose]()); // ends a write that is pending
        await sending;
      }
    } catch (error) {
      outcome.end = this.#isTimedOut ? "timeout" : isDisconnect(error) ? "reset" : "error";
      outcome.error = error;
    }
    return outcome;
  }

  async #send(message: Message, outcome: Outcome): Promise<void> {
    const { size, content = () => new Pattern(), segment = BUFFER_BYTES, pauseHalfwayMs, pauseAtEndMs } = message;
    const bytes = content();
    const buffer = new Uint8Array(Math.min(segment, size));
    for (const [end, pauseMs] of [[Math.floor(size / 2), pauseHalfwayMs], [size, pauseAtEndMs]] as const) {
      while (outcome.sent < end) {
        for (let rest = bytes.fill(buffer.subarray(0, end - outcome.sent)); rest.length > 0;) {
          const written = await this.conn.write(rest);
          this.#moved();
          outcome.sent += written;
          rest = rest.subarray(written);
        }
      }
      await this.#pause(pauseMs);
    }
    outcome.halfClosed = true; // before the system call: what comes from here on is not early
    await this.conn.closeWrite();
  }

  /** Receives until EOF or the first wrong byte. */
  async #receive({ size, content = () => new Pattern() }: Message, outcome: Outcome): Promise<void> {
    const bytes = content();
    const buffer = new Uint8Array(Math.min(BUFFER_BYTES, size + 1)); // one more, for a byte too many
    const comparison = new Uint8Array(buffer.length);
    for (let read = await this.conn.read(buffer); read !== null; read = await this.conn.read(buffer)) {
      this.#moved();
      if (!outcome.halfClosed) outcome.early += read;
      const expected = bytes.fill(comparison.subarray(0, Math.min(read, size - outcome.received)));
      for (let i = 0; i < read; i++) {
        const received = buffer[i] ?? 0;
        if (received !== expected[i]) {
          outcome.wrong = { expected: expected[i], received };
          outcome.end = "wrong";
          return;
        }
        outcome.received++;
      }
    }
    outcome.end = "eof";
  }

  /** Waits, without letting the time count towards the timeout. */
  async #pause(ms: number = 0): Promise<void> {
    if (ms === 0) return;
    this.#silentSince = performance.now() + ms;
    await new Promise((resolve) => setTimeout(resolve, ms));
  }

  #moved(): void {
    this.#silentSince = Math.max(this.#silentSince, performance.now());
  }

  /** Closes the connection once no byte has moved for too long: the read or write that is pending rejects. */
  #watch(): void {
    if (this.timeoutMs === 0) return;
    const leftMs = this.#silentSince + this.timeoutMs - performance.now();
    this.#isTimedOut = leftMs <= 0;
    if (this.#isTimedOut) this.conn[Symbol.dispose]();
    else this.#timer = setTimeout(() => this.#watch(), leftMs);
  }
}
