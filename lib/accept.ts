/**
 * Yields the clients that come to a listener, whatever accept() does, until it is closed or drained.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { type Diagnostics, messageOf } from "./diagnostics.ts";
import { isGone } from "./gone.ts";
import { BACKLOG } from "./listen.ts";

/** What an {@linkcode Acceptor} works with. */
export interface AcceptorOptions {
  /** Where clients come from. It is closed when no more are accepted. */
  listener: Deno.TcpListener;
  /** Whether there is room for one more client. Where it says no, {@linkcode Acceptor.changed} is to be called later. */
  hasRoom: () => boolean;
  /** Where a shortage is reported. */
  diagnostics: Diagnostics;
  /** What pauses and turns go by. */
  clock: Clock;
}

/** Milliseconds to wait before the next accept when the system is out of something, such as descriptors. */
const SHORTAGE_PAUSE = 100;

/** Milliseconds without a shortage after which the next one is news. */
const SHORTAGE_NEWS = 60_000;

/** Turns of the event loop that an accept has to bring somebody; if it does not, the kernel's queue is empty. */
const QUIET_TURNS = 2;

/** Milliseconds to a turn's timer: before Deno waits for one it asks the kernel. (`setImmediate` went round 55 times without.) */
const TURN = 1;

/**
 * Accepts clients for as long as they may join: `for await (const conn of acceptor)`.
 *
 * Over a `Deno.Listener` itself that loop ends at the first client that is gone before its accept, and at the first
 * shortage of descriptors. This one ends only when nobody may join any more.
 *
 * @example Accept whoever comes
 * ```ts ignore
 * const acceptor = new Acceptor({ listener, hasRoom: () => true, diagnostics, clock: monotonic });
 * for await (const conn of acceptor) serve(conn);
 * ```
 */
export class Acceptor implements AsyncIterable<Deno.TcpConn> {
  /** Clients that had gone when it was their turn. */
  goneBeforeAccept = 0;

  readonly #options: AcceptorOptions;
  #state: "serving" | "draining" | "closed" = "serving"; // nothing goes back
  #pending: Promise<Deno.TcpConn> | undefined; // the accept that is under way
  #change: (() => void) | undefined; // ends a wait for changed()
  #queued = BACKLOG + 1; // who may still come out of the kernel's queue: it holds one more than it was made for
  #turns: Disposable | undefined; // counted while draining
  #lastShortage = -Infinity;

  /**
   * Makes one that has accepted nobody.
   *
   * @param options What it works with.
   */
  constructor(options: AcceptorOptions) {
    this.#options = options;
  }

  /** Whether nobody joins any more. */
  get closed(): boolean {
    return this.#state === "closed";
  }

  /** Tells it that there may be room for a client again. */
  changed(): void {
    this.#change?.();
    this.#change = undefined;
  }

  /** Accepts whoever is in the kernel's queue, since closing a listener resets them, and closes when it is empty. */
  drain(): void {
    if (this.#state !== "serving") return;
    this.#state = "draining";
    let seen: Promise<Deno.TcpConn> | undefined;
    let quiet = 0;
    this.#turns = this.#options.clock.every(TURN, () => {
      quiet = this.#pending !== undefined && this.#pending === seen ? quiet + 1 : 0;
      seen = this.#pending;
      if (quiet === QUIET_TURNS) this.#stopListening();
    });
  }

  /** Accepts nobody any more. */
  close(): void {
    if (this.#state === "closed") return;
    this.#state = "closed";
    this.#stopListening();
    this.changed();
  }

  /** The accept that is under way rejects, and so closes; or it brings one last client before the next one does. */
  #stopListening(): void {
    this.#turns?.[Symbol.dispose]();
    this.#options.listener[Symbol.dispose]();
  }

  /** Yields each client, once. It has come too late if by then this is {@linkcode Acceptor.closed}. */
  async *[Symbol.asyncIterator](): AsyncGenerator<Deno.TcpConn, void, void> {
    const { listener, hasRoom } = this.#options;
    while (!this.closed) {
      if (!hasRoom()) {
        await this.#nextChange();
        continue;
      }
      try {
        this.#pending = listener.accept();
        const conn = await this.#pending;
        this.#pending = undefined;
        yield conn;
        this.#countQueue();
      } catch (error) {
        this.#pending = undefined;
        if (isClosed(error)) {
          this.close();
        } else if (isGone(error)) {
          this.goneBeforeAccept++;
          this.#countQueue();
        } else if (!this.closed) {
          await this.#waitOutShortage(error);
        }
      }
    }
  }

  /** Who came while draining was in the queue, so it has one less. */
  #countQueue(): void {
    if (this.#state === "draining" && --this.#queued === 0) this.close();
  }

  #nextChange(): Promise<void> {
    return new Promise((resolve) => this.#change = resolve);
  }

  /** accept(2) is out of something: who waits is not lost, so report it once and give the system time. */
  async #waitOutShortage(error: unknown): Promise<void> {
    const { clock, diagnostics } = this.#options;
    if (clock.now() - this.#lastShortage > SHORTAGE_NEWS) {
      diagnostics.error("cannot accept, clients wait until it works again: {cause}", { cause: messageOf(error) });
    }
    this.#lastShortage = clock.now();
    using _ = clock.after(SHORTAGE_PAUSE, () => this.changed());
    await this.#nextChange(); // also when a client has ended: it may have given back what was missing
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}
