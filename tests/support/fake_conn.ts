/**
 * A client's connection whose other end is the test.
 *
 * @module
 */

import { atOnce, type WhenReady } from "./when_ready.ts";

/** A pending read or write. */
interface Operation {
  /** Whether there are bytes for a read, or the window is open for a write. */
  canBeDone: () => boolean;
  /** Resolves it. */
  perform: () => void;
  /** Rejects it. */
  fail: (error: Error) => void;
  /** Whether its outcome is decided, though it has not completed yet. */
  ready: boolean;
}

/** An error as Deno throws it when a system call fails. The code is what tells one such error from another. */
export function systemError(code: string, message: string = code): Error {
  return Object.assign(new Error(message), { code });
}

/** A connection from which the server reads what the test sends, and to which it writes as much as the test takes. */
export class FakeConn implements Deno.TcpConn {
  readonly localAddr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 4000 };
  readonly remoteAddr: Deno.NetAddr;
  /** All that happened, in order: `read`, `write 5`, `close`. */
  readonly events: string[] = [];
  /** Bytes that the next writes may take in all. */
  window = Infinity;
  /** Bytes that one write may take. */
  packet = Infinity;
  closed = false;

  readonly #whenReady: WhenReady;
  readonly #inbox: Uint8Array[] = [];
  readonly #outbox: Uint8Array[] = [];
  #halfClosed = false;
  #broken: Error | undefined;
  #pending: Operation | undefined;

  /**
   * Connects.
   *
   * @param hostname The client's address.
   * @param whenReady Decides when a read or a write completes.
   */
  constructor(hostname: string = "127.0.0.1", whenReady: WhenReady = atOnce) {
    this.remoteAddr = { transport: "tcp", hostname, port: 50_000 };
    this.#whenReady = whenReady;
  }

  /** Whether a read or a write is pending. */
  get pending(): boolean {
    return this.#pending !== undefined;
  }

  /** What the client has received. */
  get echoed(): string {
    const decoder = new TextDecoder();
    return this.#outbox.map((part) => decoder.decode(part, { stream: true })).join("");
  }

  /** The client sends. */
  send(message: string | Uint8Array): this {
    if (message.length > 0) this.#inbox.push(typeof message === "string" ? new TextEncoder().encode(message) : message);
    return this.#changed();
  }

  /** The client half-closes. */
  halfClose(): this {
    this.#halfClosed = true;
    return this.#changed();
  }

  /** The connection breaks: reads and writes reject. */
  break(error: Error): this {
    this.#broken = error;
    return this.#changed();
  }

  /** The client reads so many bytes more of its reply. */
  take(bytes: number): this {
    this.window += bytes;
    return this.#changed();
  }

  read(buffer: Uint8Array): Promise<number | null> {
    this.events.push("read");
    const canBeDone = () => this.#inbox.length > 0 || this.#halfClosed;
    // The system may write into the buffer for as long as the read is pending, also if it is cancelled in the end.
    return this.#begin(canBeDone, () => this.receive(buffer), () => void buffer.fill(0xff));
  }

  write(buffer: Uint8Array): Promise<number> {
    return this.#begin(() => this.window > 0, () => {
      const part = buffer.slice(0, Math.min(this.window, this.packet));
      this.window -= part.length;
      this.events.push(`write ${part.length}`);
      this.deliver(part);
      return part.length;
    });
  }

  close(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.closed) return;
    this.closed = true;
    this.events.push("close");
    this.#changed();
  }

  closeWrite(): Promise<void> {
    throw new Error("not used by the server");
  }

  ref(): void {}
  unref(): void {}
  setNoDelay(): void {}
  setKeepAlive(): void {}

  get readable(): ReadableStream<Uint8Array<ArrayBuffer>> {
    throw new Error("not used by the server");
  }

  get writable(): WritableStream<Uint8Array<ArrayBufferLike>> {
    throw new Error("not used by the server");
  }

  /** A read completes: moves what the client has sent into the buffer. */
  protected receive(buffer: Uint8Array): number | null {
    const part = this.#inbox.shift();
    if (part === undefined) return null;
    const bytes = Math.min(part.length, buffer.length);
    buffer.set(part.subarray(0, bytes));
    if (bytes < part.length) this.#inbox.unshift(part.subarray(bytes));
    return bytes;
  }

  /** A write completes: the client receives a part of its reply. */
  protected deliver(part: Uint8Array): void {
    this.#outbox.push(part);
  }

  #begin<T>(canBeDone: () => boolean, perform: () => T, onFailure?: () => void): Promise<T> {
    if (this.closed) return Promise.reject(new Deno.errors.BadResource("Bad resource ID"));
    if (this.#pending !== undefined) return Promise.reject(new Error("another read or write is pending"));
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    const fail = (error: Error) => {
      onFailure?.();
      reject(error);
    };
    this.#pending = { canBeDone, perform: () => resolve(perform()), fail, ready: false };
    this.#changed();
    return promise;
  }

  /** Decides the outcome of the pending read or write, if it can be: a close that comes later does not change it. */
  #changed(): this {
    const pending = this.#pending;
    if (pending === undefined || pending.ready) return this;
    const canBeDone = pending.canBeDone();
    if (!canBeDone && this.#broken === undefined && !this.closed) return this;
    pending.ready = true;
    this.#whenReady(() => {
      this.#pending = undefined;
      if (this.#broken !== undefined) pending.fail(this.#broken);
      else if (canBeDone) pending.perform();
      else pending.fail(new Deno.errors.Interrupted("operation canceled"));
    });
    return this;
  }
}
