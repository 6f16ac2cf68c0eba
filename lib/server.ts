/**
 * Serves clients, holds the limits, drains.
 *
 * @module
 */

import { Acceptor } from "./accept.ts";
import type { AccessLog } from "./access_log.ts";
import { ChunkPool } from "./chunk_pool.ts";
import { Client, type Drop, type Reason } from "./client.ts";
import type { Clock } from "./clock.ts";
import type { Diagnostics } from "./diagnostics.ts";

/** What the server keeps to, so that no client can take it from the others. */
export interface Limits {
  /** Clients served at a time. More wait in the kernel's queue. */
  maxClients: number;
  /** Bytes that one message may have. */
  maxMessage: number;
  /** Bytes that all messages together may hold. */
  maxBuffered: number;
  /** Seconds without a byte either way after which a client is dropped. 0: never. */
  idleTimeout: number;
  /** Seconds that clients in flight have left to finish once the server drains. */
  drainTimeout: number;
}

/** What a {@linkcode Server} works with. */
export interface ServerOptions {
  /** Where clients come from. The server closes it. */
  listener: Deno.TcpListener;
  /** Where a client's line goes. */
  log: AccessLog;
  /** Where a client that is dropped is reported, and a shortage. */
  diagnostics: Diagnostics;
  /** What all timeouts go by. */
  clock: Clock;
  /** What it keeps to. */
  limits: Limits;
  /** Clients after which it drains by itself. Default: 4,294,000,000. */
  maxAccepts?: number;
}

/** Figures of a running server. */
export interface Status {
  /** Seconds since it was made. */
  uptime: number;
  /** Clients in flight. */
  active: number;
  /** Clients served to the end. */
  served: number;
  /** Clients dropped, by reason. */
  dropped: Record<Reason, number>;
  /** Clients that had gone when it was their turn to be accepted. */
  goneBeforeAccept: number;
  /** Bytes echoed to clients served to the end. */
  bytes: number;
  /** Bytes of memory that messages hold. */
  buffered: number;
  /** Lines that wait for the disk. */
  queuedLines: number;
}

/** Ticks in which an idle timeout passes: a client is dropped at most a quarter of the timeout late. */
const TICKS = 4;

/** Milliseconds in which a second wish to stop is the first: `deno task` passes on the Ctrl-C that the terminal sends too. */
const SAME_WISH = 1000;

/** Deno numbers connections and files with 32 bits and panics when it has gone round. The rest is for those who still wait. */
const MAX_ACCEPTS = 4_294_000_000;

/**
 * Clients in flight from which on one is accepted for each that ends, or else one a turn. Deno serves 128 reads and writes
 * that are ready at a time and puts off the others, of which the last come first: if the accept ran ahead, a client could
 * wait for half a second while others passed it.
 */
const MANY = 64;

/** A server over one listener and one log. */
export class Server {
  readonly #options: ServerOptions;
  readonly #maxAccepts: number;
  readonly #pool: ChunkPool;
  readonly #acceptor: Acceptor;
  readonly #started: number;
  // Not a Set: the tables that a Set outgrows keep dead clients alive until the next major collection (8 % of the CPU).
  readonly #clients: Client[] = [];
  readonly #empty: PromiseWithResolvers<void> = Promise.withResolvers(); // nobody joins any more, and nobody is left
  readonly #timers = new DisposableStack(); // disposed of when serve() returns

  #accepted = 0;
  #served = 0;
  #bytes = 0;
  #hasEnded = false; // whether a client has ended since the last accept
  readonly #unserved: Record<Reason, number> = { reset: 0, idle: 0, message: 0, buffers: 0, drain: 0, failed: 0 };
  #stopped: number | undefined; // when it was first told to stop

  /**
   * Makes a server that accepts nobody yet.
   *
   * @param options What it works with.
   */
  constructor(options: ServerOptions) {
    const { listener, log, diagnostics, clock, limits } = options;
    this.#options = options;
    this.#maxAccepts = options.maxAccepts ?? MAX_ACCEPTS;
    this.#pool = new ChunkPool(limits.maxBuffered);
    this.#started = clock.now();
    const hasRoom = () => this.#clients.length < limits.maxClients && !log.full;
    this.#acceptor = new Acceptor({ listener, hasRoom, diagnostics, clock });
    log.onRoom = () => this.#acceptor.changed();
  }

  /** Figures at this moment. */
  get status(): Status {
    return {
      uptime: Math.round(this.#options.clock.now() - this.#started) / 1000,
      active: this.#clients.length,
      served: this.#served,
      dropped: { ...this.#unserved },
      goneBeforeAccept: this.#acceptor.goneBeforeAccept,
      bytes: this.#bytes,
      buffered: this.#pool.lent,
      queuedLines: this.#options.log.queuedLines,
    };
  }

  /** Whether it has accepted as many clients as one process can, and so drains by itself. */
  get wornOut(): boolean {
    return this.#accepted >= this.#maxAccepts;
  }

  /**
   * Serves until it is stopped or worn out.
   *
   * @returns Resolves when nobody joins any more and no client is left. Never rejects.
   */
  async serve(): Promise<void> {
    using timers = this.#timers;
    const { clock, limits } = this.#options;
    if (limits.idleTimeout > 0) {
      timers.use(clock.every(limits.idleTimeout * 1000 / TICKS, () => this.#dropIdle()));
    }
    for await (const conn of this.#acceptor) {
      this.#take(conn);
      if (this.#isAhead()) await new Promise((resolve) => setImmediate(resolve));
    }
    if (this.#clients.length > 0) await this.#empty.promise;
  }

  /**
   * Stops: the first time by draining, so that {@linkcode Server.serve} resolves when the clients in flight have finished,
   * those in the kernel's queue too, or at the drain timeout. The second time by dropping everybody at once; but
   * within a second it is taken for the first.
   *
   * @returns Whether it was the second time.
   */
  stop(): boolean {
    const { clock, diagnostics, limits } = this.#options;
    if (this.#stopped === undefined) {
      this.#stopped = clock.now();
      diagnostics.info("stopping: clients in flight have {seconds} s to finish", { seconds: limits.drainTimeout });
      this.#drain();
    } else if (clock.now() - this.#stopped >= SAME_WISH) {
      this.#dropAll("not finished when the server was told to stop a second time");
      return true;
    }
    return false;
  }

  /**
   * Reports the figures in one line.
   *
   * @param diagnostics Where to.
   */
  reportStatus(diagnostics: Diagnostics): void {
    const { dropped, ...figures } = this.status;
    diagnostics.info(
      "up {uptime} s: {active} clients active, {served} served, {bytes} bytes echoed, {buffered} bytes buffered, " +
        "{queuedLines} lines queued; dropped: {reset} reset, {idle} idle, {message} over the message limit, " +
        "{buffers} over the buffer limit, {drain} at the drain timeout, {failed} failed; " +
        "{goneBeforeAccept} gone before accept",
      { ...figures, ...dropped },
    );
  }

  /** Whether it has accepted another before one of many has ended. */
  #isAhead(): boolean {
    const isAhead = this.#clients.length >= MANY && !this.#hasEnded;
    this.#hasEnded = false;
    return isAhead;
  }

  #take(conn: Deno.TcpConn): void {
    if (this.#acceptor.closed) return conn.close(); // it has come too late: everybody has been dropped
    const { log, limits } = this.#options;
    const client = new Client(++this.#accepted, conn, this.#pool);
    client.slot = this.#clients.push(client) - 1;
    client.serve(log, limits.maxMessage, this.#onEnd);
    if (this.#accepted === this.#maxAccepts) this.#wearOut();
  }

  #wearOut(): void {
    this.#options.diagnostics.error(
      "stopping after {clients} clients, since Deno cannot number many more: start it anew",
      {
        clients: this.#accepted,
      },
    );
    this.#drain();
  }

  #drain(): void {
    if (this.#timers.disposed) return; // it has ended
    const { clock, limits } = this.#options;
    this.#acceptor.drain();
    this.#timers.use(clock.after(limits.drainTimeout * 1000, () => {
      this.#dropAll(`not finished ${limits.drainTimeout} s after the server was told to stop`);
    }));
  }

  #dropAll(detail: string): void {
    this.#acceptor.close();
    for (const client of this.#clients) client.drop("drain", detail);
  }

  /** Takes account of how a client ended. */
  readonly #onEnd = (client: Client, dropped: Drop | undefined): void => {
    this.#remove(client);
    this.#hasEnded = true;
    if (dropped === undefined) {
      this.#served++;
      this.#bytes += client.received;
    } else {
      this.#unserved[dropped.reason]++;
      this.#options.diagnostics.warn("client {client} ({address}) dropped after {received} bytes: {reason}: {detail}", {
        client: client.number,
        address: client.address,
        received: client.received,
        ...dropped,
      });
    }
    this.#acceptor.changed();
    if (this.#clients.length === 0 && this.#acceptor.closed) this.#empty.resolve();
  };

  /** Takes it out of the list: the last one moves into its slot. */
  #remove({ slot }: Client): void {
    const last = this.#clients.pop();
    if (last === undefined || last.slot === slot) return;
    this.#clients[slot] = last;
    last.slot = slot;
  }

  #dropIdle(): void {
    const { idleTimeout } = this.#options.limits;
    for (const client of this.#clients) {
      if (client.idleTicks() >= TICKS) client.drop("idle", `no byte either way for ${idleTimeout} s`);
    }
  }
}
