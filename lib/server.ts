/**
 * Serves clients, enforces the limits, drains.
 *
 * @module
 */

import type { AccessLog } from "./access_log.ts";
import { Acceptor } from "./acceptor.ts";
import { BufferPool } from "./buffer_pool.ts";
import { Client, type DropReason, type OnEnd } from "./client.ts";
import type { Clock } from "./clock.ts";
import { FairQueue } from "./fair_queue.ts";
import type { Logger } from "./logger.ts";

/** Limits that keep one client from taking what others need. */
export interface Limits {
  /** Clients in flight. More stay in the backlog. */
  maxClients: number;
  /** Bytes of one message. */
  maxMessage: number;
  /** Bytes of memory for all messages together. */
  maxBuffered: number;
  /** Seconds without a byte either way after which a client is dropped; 0 for never. */
  idleTimeout: number;
  /** Seconds that clients in flight have to finish once the server drains. */
  drainTimeout: number;
}

/** The state of a running server in numbers. */
export type Status = Server["status"];

/** Idle sweeps in one idle timeout: a client is dropped at most a quarter of the timeout late. */
const SWEEPS_PER_TIMEOUT = 4;

/**
 * Clients in flight from which on a client is accepted when one has ended since the last accept, or else one per
 * event-loop iteration. Deno serves 128 ready reads and writes at a time and puts off the others, of which the last come
 * first: if accept ran ahead, a client could wait half a second for its first read while later ones pass it.
 */
const ACCEPT_BRAKE_CLIENTS = 64;

/** A server over one listener and one access log. */
export class Server {
  readonly #pool: BufferPool;
  readonly #queue: FairQueue;
  readonly #acceptor: Acceptor;
  readonly #startedAt: number;
  readonly #timers = new DisposableStack(); // disposed of when serve() returns

  // A list with gaps instead of a Set: the old tables of a Set that grows keep ended clients alive until the next major
  // garbage collection (8 % of the CPU).
  readonly #clients: (Client | undefined)[] = [];
  readonly #freeSlots: number[] = [];
  #acceptBrake = ACCEPT_BRAKE_CLIENTS;
  #hasEnded = false; // whether a client has ended since the last accept
  #isAborted = false;
  #onLastEnd: (() => void) | undefined; // set when no more clients are accepted

  #accepted = 0;
  #active = 0;
  #served = 0;
  #bytes = 0;
  readonly #dropped: Record<DropReason, number> = { reset: 0, idle: 0, message: 0, buffers: 0, drain: 0, failed: 0 };

  /**
   * Makes a server that accepts no clients yet.
   *
   * @param listener Where clients connect. The server closes it.
   * @param log Where the line of a client goes.
   * @param logger Where dropped clients and exhaustion are reported.
   * @param clock What all timeouts are measured by.
   * @param limits The limits.
   */
  constructor(
    listener: Deno.TcpListener,
    private readonly log: AccessLog,
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly limits: Limits,
  ) {
    this.#pool = new BufferPool(limits.maxBuffered);
    this.#queue = new FairQueue(clock);
    this.#startedAt = clock.now();
    const hasCapacity = () => this.#active < limits.maxClients && log.hasCapacity;
    this.#acceptor = new Acceptor(listener, hasCapacity, this.#queue, logger, clock);
  }

  /** The state at this moment: seconds, clients, bytes and lines. */
  get status() {
    return {
      uptime: Math.round(this.clock.now() - this.#startedAt) / 1000,
      active: this.#active, // clients in flight
      served: this.#served, // to the end
      bytes: this.#bytes, // echoed to them
      buffered: this.#pool.acquiredBytes, // memory that messages take
      queuedLines: this.log.queuedLines, // of the access log that are not written yet
      dropped: { ...this.#dropped, before_accept: this.#acceptor.disconnectedBeforeAccept }, // clients, by reason
    };
  }

  /** Serves until it is drained or aborted. Resolves when no client is left. Never rejects. */
  async serve(): Promise<void> {
    using timers = this.#timers;
    const sweepInterval = this.limits.idleTimeout * 1000 / SWEEPS_PER_TIMEOUT; // ms
    if (sweepInterval > 0) timers.use(this.clock.every(sweepInterval, () => this.#dropIdle()));
    for await (const conn of this.#acceptor) {
      this.#serveClient(conn);
      const isAhead = this.#active >= this.#acceptBrake && !this.#hasEnded;
      this.#hasEnded = false;
      if (isAhead) await new Promise<void>((resolve) => this.clock.nextIteration(resolve));
    }
    if (this.#active > 0) await new Promise<void>((resolve) => this.#onLastEnd = resolve);
  }

  /**
   * Accepts only what is in the backlog; clients have the drain timeout to finish, and are dropped then. Called at most
   * once, and not after {@linkcode Server.serve} has resolved.
   */
  drain(): void {
    const { clock, limits: { drainTimeout } } = this;
    this.#acceptBrake = Infinity; // the acceptor holds reads and writes; pacing would only prolong the drain
    this.#acceptor.drain();
    const detail = `not finished ${drainTimeout} s after the signal`;
    this.#timers.use(clock.after(drainTimeout * 1000, () => this.abort(detail)));
  }

  /**
   * Accepts no more clients and drops those in flight.
   *
   * @param detail Why, for the report of each.
   */
  abort(detail: string): void {
    this.#isAborted = true;
    this.#acceptor.close();
    for (const client of this.#clients) client?.drop("drain", detail);
    this.log.abandonWrite();
  }

  /** Reports the status in one line of `name=value` pairs (logfmt). */
  reportStatus(logger: Logger): void {
    const { queuedLines, dropped, ...status } = this.status;
    const fields: Record<string, number> = { ...status, queued_lines: queuedLines };
    for (const [reason, count] of Object.entries(dropped)) fields[`dropped_${reason}`] = count;
    logger.info(`status ${Object.keys(fields).map((name) => `${name}={${name}}`).join(" ")}`, fields);
  }

  #serveClient(conn: Deno.TcpConn): void {
    if (this.#isAborted) return conn.close(); // accepted just before the abort
    const slot = this.#freeSlots.pop() ?? this.#clients.length;
    const client = this.#clients[slot] = new Client(++this.#accepted, slot, conn, this.#pool, this.#queue);
    this.#active++;
    client.serve(this.log, this.limits.maxMessage, this.#onEnd);
  }

  readonly #onEnd: OnEnd = (client, dropped) => {
    this.#clients[client.slot] = undefined;
    this.#freeSlots.push(client.slot);
    this.#active--;
    this.#hasEnded = true;
    if (dropped === undefined) {
      this.#served++;
      this.#bytes += client.received;
    } else {
      this.#dropped[dropped.reason]++;
      // Usually a health check, which has lost nothing.
      const level = dropped.reason === "reset" && client.received === 0 ? "debug" : "warn";
      const { number, address, received } = client;
      const report = "client {client} ({address}) dropped after {received} bytes: {reason}: {detail}";
      this.logger[level](report, { client: number, address, received, ...dropped });
    }
    this.#acceptor.notify();
    if (this.#active === 0) this.#onLastEnd?.();
  };

  #dropIdle(): void {
    const detail = `no byte either way for ${this.limits.idleTimeout} s`;
    for (const client of this.#clients) client?.dropIfIdle(SWEEPS_PER_TIMEOUT, detail);
  }
}
