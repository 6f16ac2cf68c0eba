/**
 * A client's connection whose other end is the test.
 *
 * @module
 */

/** A connection that reads what the test sends and writes as much as the test takes. */
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

  readonly #inbox: Uint8Array[] = [];
  readonly #outbox: number[] = [];
  #halfClosed = false;
  #broken: Error | undefined;
  #pending: { isSo: () => boolean; done: PromiseWithResolvers<void> } | undefined; // the read or write that waits

  /** @param hostname The client's address. */
  constructor(hostname: string = "127.0.0.1") {
    this.remoteAddr = { transport: "tcp", hostname, port: 50_000 };
  }

  /** What the client has got back. */
  get echoed(): string {
    return new TextDecoder().decode(new Uint8Array(this.#outbox));
  }

  /** The client sends. */
  send(text: string): this {
    if (text !== "") this.#inbox.push(new TextEncoder().encode(text));
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

  async read(buffer: Uint8Array): Promise<number | null> {
    this.events.push("read");
    await this.#until(() => this.#inbox.length > 0 || this.#halfClosed);
    const part = this.#inbox.shift();
    if (part === undefined) return null;
    const bytes = Math.min(part.length, buffer.length);
    buffer.set(part.subarray(0, bytes));
    if (bytes < part.length) this.#inbox.unshift(part.subarray(bytes));
    return bytes;
  }

  async write(buffer: Uint8Array): Promise<number> {
    await this.#until(() => this.window > 0);
    const bytes = Math.min(buffer.length, this.window, this.packet);
    this.window -= bytes;
    this.#outbox.push(...buffer.subarray(0, bytes));
    this.events.push(`write ${bytes}`);
    return bytes;
  }

  close(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    if (this.closed) return;
    this.closed = true;
    this.events.push("close");
    this.#pending?.done.reject(new Deno.errors.Interrupted("operation canceled"));
    this.#pending = undefined;
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

  /** Ends the read or write that waits, if it can be: a close that comes after does not undo it. */
  #changed(): this {
    const { isSo, done } = this.#pending ?? {};
    if (this.#broken !== undefined) done?.reject(this.#broken);
    else if (isSo?.()) done?.resolve();
    else return this;
    this.#pending = undefined;
    return this;
  }

  #until(isSo: () => boolean): Promise<void> {
    if (this.closed) return Promise.reject(new Deno.errors.BadResource("Bad resource ID"));
    this.#pending = { isSo, done: Promise.withResolvers() };
    const { promise } = this.#pending.done;
    this.#changed();
    return promise;
  }
}
