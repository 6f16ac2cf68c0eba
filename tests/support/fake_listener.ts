/**
 * A listener whose clients and errors come from the test.
 *
 * @module
 */

import { atOnce, type WhenReady } from "./when_ready.ts";

/** A pending call of `accept`. */
interface Pending extends PromiseWithResolvers<Deno.TcpConn> {
  /** Whether its outcome is decided, though it has not completed yet. */
  ready: boolean;
}

/** A listener whose backlog is filled by the test. */
export class FakeListener implements Deno.TcpListener {
  readonly addr: Deno.NetAddr = { transport: "tcp", hostname: "127.0.0.1", port: 4000 };
  /** The backlog; an error stands for an accept that fails. */
  readonly queue: (Deno.TcpConn | Error)[] = [];
  /** Calls of `accept`. */
  accepts = 0;
  closed = false;

  readonly #whenReady: WhenReady;
  #pending: Pending | undefined;

  /** @param whenReady Decides when an accept completes. */
  constructor(whenReady: WhenReady = atOnce) {
    this.#whenReady = whenReady;
  }

  /** Whether a call of `accept` is pending. */
  get accepting(): boolean {
    return this.#pending !== undefined;
  }

  /** Clients connect; an error stands for an accept that fails. */
  push(...arrivals: (Deno.TcpConn | Error)[]): void {
    this.queue.push(...arrivals);
    this.#completeWhenReady();
  }

  accept(): Promise<Deno.TcpConn> {
    this.accepts++;
    if (this.closed) return Promise.reject(new Deno.errors.BadResource("Listener has been closed"));
    const pending = this.#pending = { ...Promise.withResolvers<Deno.TcpConn>(), ready: false };
    this.#completeWhenReady();
    return pending.promise;
  }

  close(): void {
    if (this.closed) throw new Deno.errors.BadResource("Bad resource ID");
    this[Symbol.dispose]();
  }

  [Symbol.dispose](): void {
    this.closed = true;
    this.#completeWhenReady();
  }

  ref(): void {}
  unref(): void {}

  [Symbol.asyncIterator](): AsyncIterableIterator<Deno.TcpConn> {
    throw new Error("not used by the server: one failed accept would end the loop");
  }

  /** An accept completes: takes the first of the backlog. */
  protected take(): Deno.TcpConn | Error | undefined {
    return this.queue.shift();
  }

  #completeWhenReady(): void {
    const pending = this.#pending;
    if (pending === undefined || pending.ready || (this.queue.length === 0 && !this.closed)) return;
    pending.ready = true;
    const arrival = this.closed ? undefined : this.take.bind(this);
    this.#whenReady(() => {
      this.#pending = undefined;
      const first = arrival?.() ?? new Deno.errors.Interrupted("operation canceled");
      if (first instanceof Error) pending.reject(first);
      else pending.resolve(first);
    });
  }
}
