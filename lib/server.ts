/**
 * Accepts clients, holds the limits, drains.
 *
 * @module
 */

import type { AccessLog } from "./access_log.ts";
import { ChunkPool } from "./chunk_pool.ts";
import { Client, isGone, type LetGo, type Reason } from "./client.ts";
import type { Clock } from "./clock.ts";
import { type Diagnostics, messageOf } from "./diagnostics.ts";
import { BACKLOG } from "./listen.ts";

/** What the server keeps to, so that no client can take it from the others. */
export interface Limits {
  /** Clients served at a time. More wait in the kernel's queue. */
  maxClients: number;
  /** Bytes that one message may have. */
  maxMessage: number;
  /** Bytes that all messages together may hold. */
  maxBuffered: number;
  /** Seconds without a byte either way after which a client is let go. 0: never. */
  idleTimeout: number;
  /** Seconds that clients in hand have left to finish once the server drains. */
  drainTimeout: number;
}

/** What a {@linkcode Server} works with. */
export interface ServerOptions {
  /** Where clients come from. The server closes it. */
  listener: Deno.TcpListener;
  /** Where a client's line goes. */
  log: AccessLog;
  /** Where a client that is let go is reported, and a shortage. */
  diagnostics: Diagnostics;
  /** What all timeouts go by. */
  clock: Clock;
  /** What it keeps to. */
  limits: Limits;
}

/** Figures of a running server. */
export interface Status {
  /** Seconds since it was made. */
  uptime: number;
  /** Clients in hand. */
  active: number;
  /** Clients served to the end. */
  served: number;
  /** Clients let go, by reason. */
  letGo: Record<Reason, number>;
  /** Clients that had gone when it was their turn to be accepted. */
  goneBeforeAccept: number;
  /** Bytes echoed to clients served to the end. */
  bytes: number;
  /** Bytes of memory that messages hold. */
  buffered: number;
  /** Lines that wait for the disk. */
  queuedLines: number;
}

/** Milliseconds to wait before the next accept when the system is out of something, such as descriptors. */
const SHORTAGE_PAUSE = 100;

/** Milliseconds without a shortage after which the next one is news. */
const SHORTAGE_NEWS = 60_000;

/** Milliseconds without a client after which a draining server takes the kernel's queue to be empty. */
const QUEUE_EMPTY_AFTER = 10;

/** Ticks in which an idle timeout passes: a client is let go at most a quarter of the timeout late. */
const TICKS = 4;

/** A server over one listener and one log. */
export class Server {
  readonly #options: ServerOptions;
  readonly #pool: ChunkPool;
  readonly #started: number;
  // Not a Set: the tables that a Set outgrows keep dead clients alive until the next major collection (8 % of the CPU).
  readonly #clients: Client[] = [];
  readonly #timers = new DisposableStack(); // disposed of when serve() returns

  #accepted = 0;
  #served = 0;
  #bytes = 0;
  #goneBeforeAccept = 0;
  readonly #letGo: Record<Reason, number> = { reset: 0, idle: 0, message: 0, buffers: 0, drain: 0, failed: 0 };

  #accepting = false; // whether accept() is pending
  #closed = false; // whether the listener is closed
  #lastAccept: number | undefined; // the number of the last client that a draining server accepts
  #lastShortage = -Infinity;
  #change: PromiseWithResolvers<void> | undefined; // what waits for changed()

  /**
   * Makes a server that accepts nobody yet.
   *
   * @param options What it works with.
   */
  constructor(options: ServerOptions) {
    this.#options = options;
    this.#pool = new ChunkPool(options.limits.maxBuffered);
    this.#started = options.clock.now();
  }

  /** Figures at this moment. */
  get status(): Status {
    return {
      uptime: Math.round(this.#options.clock.now() - this.#started) / 1000,
      active: this.#clients.length,
      served: this.#served,
      letGo: { ...this.#letGo },
      goneBeforeAccept: this.#goneBeforeAccept,
      bytes: this.#bytes,
      buffered: this.#pool.lent,
      queuedLines: this.#options.log.queuedLines,
    };
  }

  /**
   * Serves until it is drained.
   *
   * @returns Resolves when the listener is closed and no client is left. Never rejects.
   */
  async serve(): Promise<void> {
    using timers = this.#timers;
    const { clock, limits } = this.#options;
    if (limits.idleTimeout > 0) {
      timers.use(clock.every(limits.idleTimeout * 1000 / TICKS, () => this.#letGoIdle()));
    }
    await this.#acceptAll();
    while (this.#clients.length > 0) await this.#nextChange();
  }

  /**
   * Stops accepting and lets the clients in hand finish; {@linkcode Server.serve} resolves when they have.
   *
   * Clients in the kernel's queue count as in hand: closing a listener resets them, so they are accepted first.
   */
  drain(): void {
    if (this.#lastAccept !== undefined || this.#timers.disposed) return;
    const { clock, limits } = this.#options;
    this.#lastAccept = this.#accepted + BACKLOG + 1; // the queue holds one more than it was made for
    let accepted = this.#accepted;
    this.#timers.use(clock.every(QUEUE_EMPTY_AFTER, () => {
      if (this.#accepting && this.#accepted === accepted) this.#closeListener();
      accepted = this.#accepted;
    }));
    this.#timers.use(clock.after(limits.drainTimeout * 1000, () => {
      this.#closeListener();
      for (const client of this.#clients) {
        client.letGo("drain", `not finished ${limits.drainTimeout} s after the server was told to stop`);
      }
    }));
  }

  /**
   * Reports the figures in one line.
   *
   * @param diagnostics Where to.
   */
  reportStatus(diagnostics: Diagnostics): void {
    const { letGo, ...figures } = this.status;
    diagnostics.info(
      "up {uptime} s: {active} clients active, {served} served, {bytes} bytes echoed, {buffered} bytes buffered, " +
        "{queuedLines} lines queued; let go: {reset} reset, {idle} idle, {message} over the message limit, " +
        "{buffers} over the buffer limit, {drain} at the drain timeout, {failed} failed; " +
        "{goneBeforeAccept} gone before accept",
      { ...figures, ...letGo },
    );
  }

  /** Tells the server that it may have room for a client again. */
  changed(): void {
    this.#change?.resolve();
    this.#change = undefined;
  }

  #nextChange(): Promise<void> {
    this.#change ??= Promise.withResolvers();
    return this.#change.promise;
  }

  /** Accepts until the listener is closed. */
  async #acceptAll(): Promise<void> {
    const { listener, limits, log } = this.#options;
    while (!this.#closed) {
      if (this.#clients.length >= limits.maxClients || log.full) {
        await this.#nextChange();
        continue;
      }
      try {
        this.#accepting = true;
        const conn = await listener.accept();
        this.#accepting = false;
        this.#serveClient(new Client(++this.#accepted, conn, this.#pool));
        if (this.#accepted === this.#lastAccept) this.#closeListener();
      } catch (error) {
        this.#accepting = false;
        if (isClosed(error)) this.#closeListener();
        else if (isGone(error)) this.#goneBeforeAccept++;
        else await this.#waitOutShortage(error);
      }
    }
  }

  #serveClient(client: Client): void {
    const { log, limits } = this.#options;
    client.slot = this.#clients.push(client) - 1;
    client.serve(log, limits.maxMessage, this.#onEnd);
  }

  /** Takes account of how a client ended. */
  readonly #onEnd = (client: Client, letGo: LetGo | undefined): void => {
    this.#remove(client);
    if (letGo === undefined) {
      this.#served++;
      this.#bytes += client.received;
    } else {
      this.#letGo[letGo.reason]++;
      this.#options.diagnostics.warn("client {client} ({address}) let go after {received} bytes: {reason}: {detail}", {
        client: client.number,
        address: client.address,
        received: client.received,
        ...letGo,
      });
    }
    if (this.#change !== undefined) this.changed();
  };

  /** Fills the client's slot with the last client. */
  #remove({ slot }: Client): void {
    const last = this.#clients.pop();
    if (last === undefined || last.slot === slot) return;
    this.#clients[slot] = last;
    last.slot = slot;
  }

  #letGoIdle(): void {
    const { idleTimeout } = this.#options.limits;
    for (const client of this.#clients) {
      if (client.idleTicks() >= TICKS) client.letGo("idle", `no byte either way for ${idleTimeout} s`);
    }
  }

  /** accept(2) is out of something: what waits is not lost, so report it once and give the system time. */
  #waitOutShortage(error: unknown): Promise<void> {
    const { clock, diagnostics } = this.#options;
    if (clock.now() - this.#lastShortage > SHORTAGE_NEWS) {
      diagnostics.error("cannot accept, clients wait until it works again: {cause}", { cause: messageOf(error) });
    }
    this.#lastShortage = clock.now();
    return new Promise((resolve) => clock.after(SHORTAGE_PAUSE, resolve));
  }

  #closeListener(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#options.listener[Symbol.dispose](); // an accept() that is pending rejects
    this.changed();
  }
}

function isClosed(error: unknown): boolean {
  return error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted;
}
