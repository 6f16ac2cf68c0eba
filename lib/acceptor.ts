/**
 * Yields the clients that connect to a listener, despite errors from accept(), until it is drained or closed.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { errorMessage, isExhaustion } from "./errors.ts";
import type { FairQueue } from "./fair_queue.ts";
import type { Logger } from "./logger.ts";
import { BACKLOG } from "./startup.ts";

/** Milliseconds to wait, unless a client ends, while there is no capacity, or descriptors or memory have run out. */
const RETRY_INTERVAL_MS = 100;

/** Milliseconds without exhaustion after which the next one is reported. */
const EXHAUSTION_REPORT_INTERVAL_MS = 60_000;

/** Failed accepts in a row after which the next one waits, so that a persistent error does not spin. */
const MAX_FAILURES_IN_A_ROW = 1000;

/**
 * Event-loop iterations in which an accept must stay pending, while no operation begins or ends, for the backlog to be
 * empty. That it stays pending for a while proves nothing: Deno polls it together with all reads and writes, of which
 * 128 succeed at a time, and Tokio asks the kernel what is ready only in an idle iteration, or every 61 polls.
 */
const QUIET_ITERATIONS = 128;

/** Iterations after which it is taken to be empty despite activity, so that clients are not held for long. */
const MAX_ITERATIONS = 16_384;

/**
 * Accepts clients: `for await (const conn of acceptor)`.
 *
 * Iterating over a `Deno.Listener` ends at the first client that resets before its accept, and whenever descriptors run
 * out. Iterating over this ends only when it is drained or closed. It owns the listener.
 *
 * @example Accept clients
 * ```ts ignore
 * const acceptor = new Acceptor(listener, () => clients < 100, queue, logger, monotonic);
 * for await (const conn of acceptor) serve(conn);
 * ```
 */
export class Acceptor implements AsyncIterable<Deno.TcpConn> {
  #state: "serving" | "draining" | "closed" = "serving"; // never goes back
  #disconnected = 0;
  #failuresInARow = 0;
  #lastExhaustion = -Infinity;
  #pending: Promise<Deno.TcpConn> | undefined; // the accept under way
  #notifications = 0; // calls of notify()
  #wake: (() => void) | undefined; // ends a pause
  #backlog = BACKLOG + 1; // connections that may still come out of the backlog while draining; Linux holds one more

  /**
   * Makes an acceptor that has accepted nothing.
   *
   * @param listener Where clients connect. It is closed when no more are accepted.
   * @param hasCapacity Whether one more client can be accepted. Asked again when a client ends, and every 100 ms.
   * @param queue What the reads and writes of the clients pass. It is held to tell whether the backlog is empty.
   * @param logger Where exhaustion is reported.
   * @param clock What waits are timed by.
   */
  constructor(
    private readonly listener: Deno.TcpListener,
    private readonly hasCapacity: () => boolean,
    private readonly queue: FairQueue,
    private readonly logger: Logger,
    private readonly clock: Clock,
  ) {}

  /** Clients that had disconnected before their accept. */
  get disconnectedBeforeAccept(): number {
    return this.#disconnected;
  }

  /** A client has ended: there may be capacity again. */
  notify(): void {
    this.#notifications++;
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Accepts the connections in the backlog, since closing a listener resets them, and then closes the listener. */
  drain(): void {
    if (this.#state !== "serving") return;
    this.#state = "draining";
    this.#closeWhenEmpty();
  }

  /** Accepts no more clients. An accept that has succeeded already may still yield one. */
  close(): void {
    this.#state = "closed";
    this.queue.open();
    this.listener[Symbol.dispose](); // the pending accept rejects
    this.notify();
  }

  /** Yields each client. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Deno.TcpConn, void, void> {
    while (this.#state !== "closed") {
      if (!this.hasCapacity()) {
        await this.#pause();
        continue;
      }
      try {
        this.#pending = this.listener.accept();
        if (this.#state === "draining") this.#closeWhenEmpty();
        const conn = await this.#pending;
        this.#onSettled();
        this.#failuresInARow = 0;
        yield conn;
      } catch (error) {
        await this.#onError(error);
      }
    }
  }

  /** Holds all reads and writes until the pending accept resolves, or has been pending for long enough: then closes. */
  #closeWhenEmpty(): void {
    const pending = this.#pending;
    if (pending === undefined) return; // without capacity the backlog is not empty, or not known to be
    this.queue.hold();
    let activity = 0;
    let quiet = 0;
    let iterations = 0;
    const iterate = () => {
      if (this.#pending !== pending || this.#state === "closed") return;
      const before = activity;
      activity = this.queue.length + this.#notifications;
      quiet = activity === before ? quiet + 1 : 0;
      if (quiet === QUIET_ITERATIONS || ++iterations === MAX_ITERATIONS) this.close();
      else this.clock.nextIteration(iterate);
    };
    iterate();
  }

  /** The accept has ended. While draining, there are no more than the backlog can have held. */
  #onSettled(): void {
    this.#pending = undefined;
    this.queue.open();
    if (this.#state === "draining" && --this.#backlog === 0) this.close();
  }

  /** Waits until a client ends, which may free what is missing, or for a while: the log may have capacity again. */
  async #pause(): Promise<void> {
    using _ = this.clock.after(RETRY_INTERVAL_MS, () => this.notify());
    await new Promise<void>((resolve) => this.#wake = resolve);
  }

  /**
   * Any error but exhaustion is that of one connection: besides resets, accept(2) passes on network errors that are
   * pending on it. Whether the listener is closed is known from the state, not inferred from the error.
   */
  async #onError(error: unknown): Promise<void> {
    if (this.#state === "closed") return;
    this.#onSettled();
    if (!isExhaustion(error)) {
      this.#disconnected++;
      if (++this.#failuresInARow % MAX_FAILURES_IN_A_ROW !== 0) return;
    }
    if (this.clock.now() - this.#lastExhaustion > EXHAUSTION_REPORT_INTERVAL_MS) {
      this.logger.error("cannot accept clients, trying again every 0.1 s: {cause}", { cause: errorMessage(error) });
    }
    this.#lastExhaustion = this.clock.now();
    await this.#pause();
  }
}
