/**
 * The listener with its backlog.
 *
 * @module
 */

import { FakeListener } from "../support/fake_listener.ts";
import type { Environment } from "./environment.ts";
import { Peer } from "./peer.ts";
import type { ServerProcess } from "./server_process.ts";
import { EXHAUSTION, NOT_CONNECTED } from "./system_errors.ts";

/** Failed accepts in a row after which the server waits as it does when descriptors have run out. */
const MAX_FAILURES_IN_A_ROW = 1000;

/** Milliseconds for which it waits, unless a client ends. */
export const RETRY_ACCEPT_MS = 100;

/** Clients in flight from which on the next accept waits for the next event-loop iteration, unless one ends. */
const ACCEPT_BRAKE_CLIENTS = 64;

/** A listener whose accepts end when that is drawn. Checks when the server accepts. */
export class Backlog extends FakeListener {
  /** When an accept last failed after which the server waits. */
  pausedAt = -Infinity;
  /** When an accept was called last. */
  acceptingSince = -Infinity;
  /** Accepts that failed because of one connection, besides the last accept. */
  failed = 0;
  /** Whether the last accept failed so. If the server closed the listener at that moment, it need not count it. */
  hasLastFailed = false;

  readonly #process: ServerProcess;
  readonly #environment: Environment;
  #failuresInARow = 0;
  #last = { iteration: -1, inFlight: 0, isAhead: false }; // when an accept has last yielded a client
  #pausedWith: readonly Peer[] | undefined; // clients in flight at that moment, while the server must wait

  constructor(process: ServerProcess, environment: Environment) {
    super(environment.whenOtherReady);
    this.#process = process;
    this.#environment = environment;
  }

  /** The clients in the backlog. */
  get peers(): Peer[] {
    return this.queue.filter((arrival) => arrival instanceof Peer);
  }

  /** The next accepts fail. */
  failNext(count: number, error: Error): void {
    this.queue.unshift(...Array.from({ length: count }, () => error));
    this.push();
  }

  /** A client resets its connection: if it is in the backlog, its accept will fail. */
  onReset(peer: Peer): void {
    const index = this.queue.indexOf(peer);
    if (index >= 0) this.queue[index] = NOT_CONNECTED;
  }

  /** Descriptors and memory are available again. */
  repair(): void {
    this.queue.splice(0, Infinity, ...this.queue.filter((arrival) => !isExhaustion(arrival)));
  }

  override accept(): Promise<Deno.TcpConn> {
    if (!this.#process.hasCapacity) this.#environment.violated("a client is accepted without capacity");
    const isEarly = this.#environment.now() < this.pausedAt + RETRY_ACCEPT_MS;
    // A client that ends may have returned what was missing.
    if (isEarly && this.#pausedWith?.every((peer) => !peer.isOver)) {
      this.#environment.violated("the server does not wait after a failed accept");
    }
    this.#pausedWith = undefined;
    this.#checkBrake();
    this.acceptingSince = this.#environment.now();
    if (this.hasLastFailed) this.failed++;
    this.hasLastFailed = false;
    return super.accept();
  }

  override [Symbol.dispose](): void {
    if (this.closed) return;
    super[Symbol.dispose]();
    // An accept that is about to end has its client already.
    const reset = this.queue.splice(this.accepting ? 1 : 0);
    this.#process.onListenerClose(reset.filter((arrival) => arrival instanceof Peer));
  }

  protected override take(): Deno.TcpConn | Error | undefined {
    const arrival = super.take();
    if (arrival instanceof Error && isExhaustion(arrival)) {
      this.#pause();
      return arrival;
    }
    this.#process.drain.onAccept();
    if (arrival instanceof Peer) {
      this.#failuresInARow = 0;
      this.#process.onAccept(arrival);
      const { clientsInFlight: inFlight } = this.#process;
      const isAhead = inFlight >= ACCEPT_BRAKE_CLIENTS && inFlight > this.#last.inFlight;
      this.#last = { iteration: this.#environment.iterations, inFlight, isAhead };
    } else {
      this.hasLastFailed = true;
      if (++this.#failuresInARow % MAX_FAILURES_IN_A_ROW === 0) this.#pause();
    }
    return arrival;
  }

  #checkBrake(): void {
    const { clientsInFlight, drain: { startedAt } } = this.#process;
    const { iteration, inFlight, isAhead } = this.#last;
    const isBraking = isAhead && clientsInFlight === inFlight && startedAt === undefined;
    if (isBraking && iteration === this.#environment.iterations) this.#environment.violated("accept runs ahead");
  }

  #pause(): void {
    this.pausedAt = this.#environment.now();
    this.#pausedWith = this.#process.inFlight;
  }
}

function isExhaustion(arrival: Deno.TcpConn | Error): boolean {
  return arrival instanceof Error && EXHAUSTION.includes(arrival);
}
