/**
 * Yields the clients that connect to a listener, whatever accept() fails with, until it is drained or closed.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { errorMessage, isExhaustion } from "./errors.ts";
import type { Logger } from "./logger.ts";
import { BACKLOG } from "./startup.ts";

/** Milliseconds to wait before the next accept when descriptors or memory have run out. */
const EXHAUSTION_RETRY_MS = 100;

/** Milliseconds without exhaustion after which the next one is reported. */
const EXHAUSTION_REPORT_INTERVAL_MS = 60_000;

/** Failed accepts in a row after which the next one waits, so that an error that does not end cannot take the CPU. */
const MAX_FAILURES_IN_A_ROW = 1000;

/** Timers over which an accept must stay pending for the backlog to count as empty. */
const QUIET_TIMERS = 2;

/** Milliseconds of such a timer: before Deno waits for one it asks the kernel. (`setImmediate` ran 55 times without.) */
const QUIET_TIMER_MS = 1;

/**
 * Accepts clients: `for await (const conn of acceptor)`.
 *
 * Over a `Deno.Listener` itself that loop is ended by the first client that resets before its accept, and by the first
 * time that descriptors run out. This one ends only when the acceptor is drained or closed. It owns the listener.
 *
 * @example Accept clients
 * ```ts ignore
 * const acceptor = new Acceptor(listener, () => clients < 100, logger, monotonic);
 * for await (const conn of acceptor) serve(conn);
 * ```
 */
export class Acceptor implements AsyncIterable<Deno.TcpConn> {
  #state: "serving" | "draining" | "closed" = "serving"; // there is no way back
  #disconnected = 0;
  #failuresInARow = 0;
  #lastExhaustion = -Infinity;
  #pending: Promise<Deno.TcpConn> | undefined; // the accept under way
  #wake: (() => void) | undefined; // ends a wait for notify()
  #backlog = BACKLOG + 1; // connections that may still come out of the backlog while draining; Linux holds one more
  #quietTimer: Disposable | undefined; // while draining

  /**
   * Makes an acceptor that has accepted nothing.
   *
   * @param listener Where clients connect. It is closed when no more are accepted.
   * @param hasCapacity Whether one more client can be accepted. After false {@linkcode Acceptor.notify} is to be called.
   * @param logger Where exhaustion is reported.
   * @param clock What waits are timed by.
   */
  constructor(
    private readonly listener: Deno.TcpListener,
    private readonly hasCapacity: () => boolean,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  /** Clients that had disconnected before their accept. */
  get disconnectedBeforeAccept(): number {
    return this.#disconnected;
  }

  /** Has it ask again whether there is capacity. */
  notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Accepts the connections in the backlog, since closing a listener resets them, and then closes the listener. */
  drain(): void {
    if (this.#state !== "serving") return;
    this.#state = "draining";
    let seen: Promise<Deno.TcpConn> | undefined;
    let quiet = 0;
    this.#quietTimer = this.clock.every(QUIET_TIMER_MS, () => {
      quiet = this.#pending !== undefined && this.#pending === seen ? quiet + 1 : 0;
      seen = this.#pending;
      if (quiet === QUIET_TIMERS) this.close();
    });
  }

  /** Accepts no more clients. An accept that has succeeded already may still yield one. */
  close(): void {
    this.#state = "closed";
    this.#quietTimer?.[Symbol.dispose]();
    this.listener[Symbol.dispose](); // the pending accept rejects
    this.notify();
  }

  /** Yields each client. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Deno.TcpConn, void, void> {
    while (this.#state !== "closed") {
      if (!this.hasCapacity()) {
        await this.#notified();
        continue;
      }
      try {
        this.#pending = this.listener.accept();
        const conn = await this.#pending;
        this.#pending = undefined;
        this.#failuresInARow = 0;
        yield conn;
        this.#countBacklog();
      } catch (error) {
        await this.#onError(error);
      }
    }
  }

  /** A connection has left the backlog. While draining, no more are accepted than it held. */
  #countBacklog(): void {
    if (this.#state === "draining" && --this.#backlog === 0) this.close();
  }

  #notified(): Promise<void> {
    return new Promise((resolve) => this.#wake = resolve);
  }

  /**
   * Any error but exhaustion is that of one connection: besides resets, accept(2) passes on network errors that are
   * pending on it. That the listener is closed is this object's own state, and not told from an error.
   */
  async #onError(error: unknown): Promise<void> {
    this.#pending = undefined;
    if (this.#state === "closed") return;
    if (!isExhaustion(error)) {
      this.#disconnected++;
      this.#countBacklog();
      if (++this.#failuresInARow % MAX_FAILURES_IN_A_ROW !== 0) return;
    }
    if (this.clock.now() - this.#lastExhaustion > EXHAUSTION_REPORT_INTERVAL_MS) {
      this.logger.error("cannot accept clients, next try in 0.1 s: {cause}", { cause: errorMessage(error) });
    }
    this.#lastExhaustion = this.clock.now();
    using _ = this.clock.after(EXHAUSTION_RETRY_MS, () => this.notify());
    await this.#notified(); // also by a client that ends: it may have returned what was missing
  }
}
