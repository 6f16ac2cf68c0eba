/**
 * A listener whose clients and errors come from the test.
 *
 * @module
 */

/** A listener that accepts what the test puts in its queue. */
export class FakeListener implements Deno.TcpListener {
  readonly addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 4000 };
  /** Calls of `accept`. */
  accepts = 0;
  closed = false;
  /** Whether a call of `accept` waits for a client. */
  get accepting(): boolean {
    return this.#pending !== undefined;
  }

  readonly #queue: (Deno.TcpConn | Error)[] = [];
  #pending: PromiseWithResolvers<Deno.TcpConn> | undefined;

  /** Clients connect; an error stands for an accept that fails. */
  push(...arrivals: (Deno.TcpConn | Error)[]): void {
    this.#queue.push(...arrivals);
    const pending = this.#pending;
    if (pending === undefined) return;
    this.#pending = undefined;
    this.#next().then(pending.resolve, pending.reject);
  }

  async accept(): Promise<Deno.TcpConn> {
    this.accepts++;
    if (this.closed) throw new Deno.errors.BadResource("Listener has been closed");
    if (this.#queue.length > 0) return await this.#next();
    this.#pending = Promise.withResolvers();
    return await this.#pending.promise;
  }

  close(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.closed = true;
    this.#pending?.reject(new Deno.errors.Interrupted("operation canceled"));
    this.#pending = undefined;
  }

  ref(): void {}
  unref(): void {}

  [Symbol.asyncIterator](): AsyncIterableIterator<Deno.TcpConn> {
    throw new Error("not used by the server: one failed accept would end it");
  }

  #next(): Promise<Deno.TcpConn> {
    const arrival = this.#queue.shift();
    if (arrival === undefined) return Promise.reject(new Error("the queue is empty"));
    return arrival instanceof Error ? Promise.reject(arrival) : Promise.resolve(arrival);
  }
}
