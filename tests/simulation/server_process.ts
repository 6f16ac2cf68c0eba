/**
 * One process of the server, from its start to its exit, and the invariants that it must keep.
 *
 * @module
 */

import { LineQueue, type Logger } from "../../lib/logger.ts";
import { type Limits, Server } from "../../lib/server.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { recorder, type Report } from "../support/recorder.ts";
import { Backlog, RETRY_ACCEPT_MS } from "./backlog.ts";
import { CheckedLog } from "./checked_log.ts";
import { DrainOracle } from "./drain_oracle.ts";
import type { Environment } from "./environment.ts";
import type { EventLoopSetup } from "./event_loop.ts";
import type { Peer } from "./peer.ts";
import { OUT_OF_MEMORY } from "./memory.ts";
import { DISCONNECTS } from "./system_errors.ts";

/** What is drawn once for all processes of a trace. */
export interface Setup extends Limits, EventLoopSetup {
  /** Bytes of log lines from which on the server may not accept. */
  maxQueuedBytes: number;
  /** Milliseconds that each event takes. */
  cost: number;
  /** Bytes that one write to stderr takes at most. */
  maxStderrWrite: number;
}

/** Milliseconds in which a signal counts once. What a signal does is repeated here from main.ts. */
const REPEAT_SIGNAL_WINDOW_MS = 1000;

/** Milliseconds between two tries to write to a failing disk. */
const RETRY_INTERVAL_MS = 1000;

/** Milliseconds without a reader of stderr after which the process exits. */
const EXIT_WITHIN_MS = 3000;

/** Milliseconds from one batch of reads and writes to the next. */
const BATCH_INTERVAL_MS = 1;

/** Milliseconds for which a client's read or write waits at most for the others: 100 clients need two batches. */
const MAX_TURN_MS = 3;

/** Characters of diagnostics from which on no more are queued, and those of the longest line. */
const MAX_QUEUED_CHARACTERS = 400;
const LONGEST_REPORT = 400;

/** Bytes of a message's buffers, the last for all that follow. */
const BUFFER_SIZES = [4096, 16_384, 65_536, 262_144, 1_048_576];
const bufferSize = (index: number) => BUFFER_SIZES[Math.min(index, BUFFER_SIZES.length - 1)] ?? NaN;

/** Bytes of the longest line. */
const LONGEST_LINE = "[client 9007199254740991]: received 9007199254740991 bytes\n".length;

/** A clock whose event-loop iterations are those of the simulation. */
class SimulatedClock extends FakeClock {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    super(environment.now());
    this.#environment = environment;
  }

  override nextIteration(callback: () => void): void {
    this.#environment.nextIteration(callback);
  }
}

/** The server, put together as main.ts does, and what is known of its clients. */
export class ServerProcess {
  readonly listener: Backlog;
  readonly clock: FakeClock;
  readonly drain: DrainOracle;
  /** Clients in the order of their accepts. */
  readonly accepted: Peer[] = [];
  /** Clients that were in flight at the last check, and those that were accepted since. */
  inFlight: Peer[] = [];
  /** Whether serve() has resolved. */
  isServed = false;
  /** Whether the process has exited. */
  hasExited = false;

  readonly setup: Setup;
  readonly #environment: Environment;
  readonly #server: Server;
  readonly #log: CheckedLog;
  readonly #logger: Logger;

  #stoppedAt: number | undefined; // when the first SIGTERM or SIGINT came
  #repeatedAt = Infinity; // when one was repeated
  #noLogCapacityAt = -Infinity; // when the log had last no capacity
  #isFlushed = false; // whether the diagnostics were written before the lines left over were added
  readonly #dropped = new Set<number>(); // numbers of clients that were reported

  /**
   * Starts.
   *
   * @param setup The limits.
   * @param environment What it is a part of.
   */
  constructor(setup: Setup, environment: Environment) {
    this.setup = setup;
    this.#environment = environment;
    const clock = this.clock = new SimulatedClock(environment);
    const { disk, stderr } = environment;
    disk.restart();
    stderr.restart(MAX_QUEUED_CHARACTERS + LONGEST_REPORT, setup.maxStderrWrite);
    const queue = new LineQueue((bytes) => stderr.write(bytes), clock, (lines) => {
      logger.warn("{lines} lines were dropped here because stderr was not being read", { lines });
    }, MAX_QUEUED_CHARACTERS);
    let reported = 0;
    const { logger } = recorder((report) => {
      this.#onReport(report);
      // A line of its own, since that of the logger has the time of day in it.
      const line = `${++reported} ${report.message.replaceAll("\n", "\\n")}\n`;
      const { lines } = report.properties;
      stderr.expect(line, typeof lines === "number" ? lines : 0, typeof lines === "string" && this.#isFlushed);
      queue.add(line);
    });
    this.#logger = logger;
    this.drain = new DrainOracle(environment);
    const listener = this.listener = new Backlog(this, environment);
    const log = this.#log = new CheckedLog(this, environment, logger, clock);
    this.#server = new Server(listener, log, logger, clock, setup);
    this.#run(queue).catch((error) => environment.violated(`the process ends with an uncaught ${error}`));
  }

  /** Clients in flight at this moment. */
  get clientsInFlight(): number {
    return this.inFlight.filter(({ isOver }) => !isOver).length;
  }

  /** Whether one more client may be accepted. */
  get hasCapacity(): boolean {
    return this.clientsInFlight < this.setup.maxClients && this.#hasLogCapacity;
  }

  get #hasLogCapacity(): boolean {
    return this.#log.missingBytes < this.setup.maxQueuedBytes;
  }

  /** Whether no client is in flight or in the backlog. */
  get isIdle(): boolean {
    return this.inFlight.length === 0 && this.listener.queue.length === 0;
  }

  /** SIGTERM or SIGINT, as main.ts handles them. */
  stop(): void {
    const now = this.#environment.now();
    if (this.#stoppedAt === undefined) {
      this.#stoppedAt = now;
      this.#logger.info("draining: clients in flight have {seconds} s to finish", { seconds: this.setup.drainTimeout });
      this.drain.start(this.listener.peers);
      this.#server.drain();
    } else if (now - this.#stoppedAt >= REPEAT_SIGNAL_WINDOW_MS) {
      this.#repeatedAt = Math.min(this.#repeatedAt, now);
      this.#server.abort("not finished at the repeated signal");
    }
  }

  /** SIGHUP, as main.ts handles it. */
  reopen(): void {
    this.#log.reopen();
  }

  /** SIGUSR2, as main.ts handles it. */
  reportStatus(): void {
    this.#server.reportStatus(this.#logger);
  }

  /** An accept ends with a client. */
  onAccept(peer: Peer): void {
    peer.number = this.accepted.push(peer);
    this.#environment.note(() => `${peer.name} is accepted, with number ${peer.number}`);
    peer.movedAt = peer.endedAt = this.#environment.now();
    this.inFlight.push(peer);
  }

  /** The server closes a connection. */
  onClose(peer: Peer): void {
    const { note, now, violated } = this.#environment;
    note(() => `${peer.name} is closed`);
    peer.idleAtClose = now() - peer.movedAt;
    // A client without a line is dropped in the event-loop iteration in which its last write ended, as a report will say.
    if (this.#log.isLate(peer.number)) violated(`${peer.name} is closed before its line is written or queued`);
  }

  /** The server closes a connection that it does not serve. */
  onUnserved(peer: Peer): void {
    this.accepted.pop();
    peer.number = 0;
    if (!this.#mayAbort()) this.#environment.violated(`${peer.name} is closed unserved`);
  }

  /** The server closes the listener: the kernel resets the connections in the backlog. */
  onListenerClose(reset: Peer[]): void {
    this.#environment.note(() => `the listener is closed, ${reset.length} clients are reset`);
    for (const peer of reset) peer.error = DISCONNECTS[0];
    this.drain.onListenerClose(reset, this.#mayAbort());
  }

  /** Checks what holds after every step. */
  check(): void {
    const { violated, disk, now } = this.#environment;
    const { maxClients, maxBuffered, maxQueuedBytes } = this.setup;
    const { active, buffered, queuedLines } = this.#server.status;
    this.inFlight = this.inFlight.filter(({ isOver }) => !isOver);
    if (active !== this.inFlight.length) {
      violated(`${active} clients are active, ${this.inFlight.length} are in flight`);
    }
    if (active > maxClients) violated(`${active} clients are in flight`);
    const held = this.inFlight.reduce((sum, peer) => sum + (peer.heldBefore = heldBytes(peer)), 0);
    if (buffered !== held) violated(`${buffered} bytes are acquired, clients hold ${held}`);
    if (buffered > maxBuffered + active * bufferSize(0)) violated(`${buffered} bytes are acquired`);
    if (this.isServed) return;
    if (!this.#hasLogCapacity) this.#noLogCapacityAt = now();
    const { missing, missingBytes } = this.#log;
    if (queuedLines !== missing.length) violated(`${queuedLines} lines are queued, ${missing.length} are missing`);
    if (queuedLines > 0 && !disk.isFailing) violated("a line is queued though the disk does not fail");
    // Without capacity the clients in flight still finish, and one whose accept was pending.
    if (missingBytes > maxQueuedBytes + (maxClients + 2) * LONGEST_LINE) violated(`${missingBytes} bytes are queued`);
  }

  /** Checks what holds when nothing can happen any more at this time. */
  checkAtRest(): void {
    const { now, violated, disk, slack } = this.#environment;
    const { idleTimeout } = this.setup;
    const since = (...times: number[]) => now() - slack - Math.max(...times);
    for (const peer of this.inFlight) {
      if (idleTimeout > 0 && since(peer.movedAt) > idleTimeout * 1250) violated(`${peer.name} is idle and not dropped`);
      if (!peer.pending && since(peer.endedAt) > MAX_TURN_MS) violated(`no read or write is pending for ${peer.name}`);
    }
    if (this.isServed) return;
    if (disk.isFailing && since(disk.goodSince) > RETRY_INTERVAL_MS) {
      violated("lines are queued though the disk is good");
    }
    const { closed, accepting, pausedAt } = this.listener;
    const mayWait = since(pausedAt, this.#noLogCapacityAt) < RETRY_ACCEPT_MS;
    if (this.hasCapacity && !closed && !accepting && !mayWait) violated("no accept is pending");
    this.drain.checkAtRest(accepting ? this.listener.acceptingSince : undefined);
    if (since(this.#abortedAt) > MAX_TURN_MS) violated("the server goes on when it must drop all clients");
  }

  /** From when on the server may drop clients: a signal was repeated, or the drain timeout is over. */
  get #abortedAt(): number {
    const { startedAt = Infinity } = this.drain;
    return Math.min(this.#repeatedAt, startedAt + this.setup.drainTimeout * 1000);
  }

  #mayAbort(): boolean {
    return this.#environment.now() >= this.#abortedAt;
  }

  /** What main.ts does from the start to the exit. */
  async #run(queue: LineQueue): Promise<void> {
    const { now, violated, note, disk, stderr } = this.#environment;
    await this.#server.serve();
    this.isServed = true;
    note(() => "serve() has resolved");
    if (!this.listener.closed) violated("the listener is open at the end");
    const unwritten = await this.#log.close();
    this.#checkServed();
    const servedAt = now();
    if (unwritten !== "") {
      this.#isFlushed = await queue.flush();
      stderr.maxQueued = Infinity;
      const lines = unwritten.trimEnd();
      this.#logger.error("these lines could not be written to the access log:\n{lines}", { lines });
    }
    const isFlushed = await queue.flush();
    // A process that was stopped may give up a write that is about to end.
    if (isFlushed || this.#environment.slack === 0) stderr.onExit(isFlushed);
    if (now() - Math.max(servedAt, stderr.readAt) > EXIT_WITHIN_MS + this.#environment.slack) {
      violated("the server waits long for a reader of stderr");
    }
    const { pending, next } = this.clock; // a last batch of no reads and writes may follow
    if (pending > 1 || (pending === 1 && next > now() + BATCH_INTERVAL_MS)) violated("a timer is left at the exit");
    if (disk.openFiles !== 0) violated("a file is open at the exit");
    this.hasExited = true;
  }

  /** Checks what holds when serve() has resolved. */
  #checkServed(): void {
    const { violated } = this.#environment;
    const { active, served, dropped: { before_accept, ...dropped }, bytes, buffered } = this.#server.status;
    const finished = this.accepted.filter(({ number }) => this.#log.clients.includes(number));
    const drops = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (active !== 0 || buffered !== 0) violated(`${active} clients and ${buffered} bytes are left at the end`);
    for (const peer of this.accepted) {
      if (!peer.closed) violated(`${peer.name} is open at the end`);
      if (finished.includes(peer) === this.#dropped.has(peer.number)) {
        violated(`${peer.name} was both served and dropped, or neither`);
      }
    }
    if (served !== finished.length || drops !== this.#dropped.size || served + drops !== this.accepted.length) {
      const reported = this.#dropped.size;
      violated(`${this.accepted.length} were accepted, ${served} served, ${drops} dropped, ${reported} reported`);
    }
    if (bytes !== finished.reduce((sum, { sent }) => sum + sent, 0)) violated(`${bytes} bytes were echoed`);
    const { failed, hasLastFailed } = this.listener;
    if (before_accept !== failed && !(hasLastFailed && before_accept === failed + 1)) {
      violated(`${before_accept} failed accepts are counted, not ${failed}`);
    }
  }

  #onReport({ level, message, properties: { client, reason, received, detail } }: Report): void {
    const { note, violated, count, memory } = this.#environment;
    note(() => `${level}: ${message}`);
    if (message.startsWith("cannot write to the access log")) this.#log.onOutage();
    if (message.startsWith("the access log can be written to again")) this.#log.onRecovery();
    if (typeof client !== "number") return;
    count(`dropped: ${reason}`);
    const peer = this.accepted[client - 1];
    if (peer === undefined || this.#dropped.has(client)) {
      return violated(`client ${client} is reported twice, or does not exist`);
    }
    this.#dropped.add(client);
    if (received !== peer.received) violated(`${peer.name} had sent ${peer.received} bytes, ${received} are reported`);
    if ((level === "DEBUG") !== (reason === "reset" && received === 0)) {
      violated(`${peer.name} is reported as ${level}`);
    }
    if (detail === OUT_OF_MEMORY && memory.failures-- > 0) return;
    if (!this.#isReason(peer, String(reason))) violated(`${peer.name} is dropped: ${reason}`);
  }

  /** Whether a client may be dropped for a reason. */
  #isReason(peer: Peer, reason: string): boolean {
    const { idleTimeout, maxMessage, maxBuffered } = this.setup;
    const { error } = peer;
    switch (reason) {
      case "reset":
        return error !== undefined && DISCONNECTS.includes(error);
      case "failed":
        return error !== undefined && !DISCONNECTS.includes(error);
      case "idle":
        return idleTimeout > 0 && peer.idleAtClose >= idleTimeout * 1000;
      case "message":
        return peer.received > maxMessage;
      case "buffers":
        return this.#mayHaveHeld(peer) > maxBuffered;
      case "drain":
        return this.#mayAbort();
      default:
        return false;
    }
  }

  /** Bytes that may have been acquired when a client needed its next buffer, somewhere in this event-loop iteration. */
  #mayHaveHeld(peer: Peer): number {
    const others = this.inFlight.filter((other) => other !== peer);
    return others.reduce((sum, other) => sum + Math.max(other.heldBefore, heldBytes(other)), heldBytes(peer));
  }
}

/** Bytes of the buffers that a client holds. */
function heldBytes({ received, replied, hasReadEof }: Peer): number {
  let held = 0;
  for (let index = 0, end = 0; end <= received; index++) {
    end += bufferSize(index);
    if (!hasReadEof || end > replied) held += bufferSize(index);
  }
  return held;
}
