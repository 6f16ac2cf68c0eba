/**
 * One life of the server's process, and whether it keeps its promises.
 *
 * @module
 */

import type { Diagnostics } from "../../lib/diagnostics.ts";
import { Reports } from "../../lib/reports.ts";
import { type Limits, Server } from "../../lib/server.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { recorder, type Report } from "../support/recorder.ts";
import type { Disk } from "./disk.ts";
import { BROKEN_PIPE, Queue, RESET } from "./kernel_queue.ts";
import { Peer, type Watch } from "./peer.ts";
import type { Stderr } from "./stderr.ts";
import { WatchedLog } from "./watched_log.ts";

/** What one history's servers keep to. */
export interface Setup extends Limits {
  /** Bytes of lines that may wait for the disk. */
  maxQueued: number;
  /** Clients after which a server drains by itself. */
  maxAccepts: number;
  /** Milliseconds that each thing that happens takes. */
  cost: number;
}

/** What a life is lived in. */
export interface Surroundings extends Watch {
  /** Where the access log is. */
  disk: Disk;
  /** Where reports go. */
  stderr: Stderr;
  /** Milliseconds that passed while something could have happened: by so much all may be late. */
  readonly slack: number;
  /** Counts a thing that happened. */
  count(what: string): void;
  /** Tells a thing that happened. */
  note(what: () => string): void;
}

/** Milliseconds in which a server that drains has closed its listener, if there is room and at most 300 clients a second come. */
const CLOSED_WITHIN = 200;

/** Milliseconds between two tries to write to a disk that fails. */
const RETRY_INTERVAL = 1000;

/** Milliseconds between two tries to accept while there is a shortage. */
const SHORTAGE_PAUSE = 100;

/** Milliseconds in which a second signal to end is the first. */
const SAME_WISH = 1000;

/** Milliseconds after the end and the last read of stderr in which the process ends. */
const LAST_REPORTS = 2000;

/** Characters of reports that may wait to be read. */
const MAX_REPORTS = 300;

/** Bytes of a message's chunks, the last for all that follow. */
const CHUNKS = [4096, 16_384, 65_536, 262_144, 1_048_576];
const chunk = (index: number) => CHUNKS[Math.min(index, CHUNKS.length - 1)] ?? NaN;

/** Bytes of the longest line. */
const LINE = "[client 9007199254740991]: received 9007199254740991 bytes\n".length;

/** The server, its parts and what is known of its clients, from its start to its end. */
export class Life {
  readonly listener: Queue;
  readonly clock: FakeClock;
  /** Clients in the order of their accepts. */
  readonly accepted: Peer[] = [];
  /** Whether the process has ended. */
  ended = false;
  /** When it began to drain. */
  drainedAt: number | undefined;

  readonly setup: Setup;
  readonly #world: Surroundings;
  readonly #server: Server;
  readonly #log: WatchedLog;
  readonly #status: Diagnostics;

  #inHand: Peer[] = [];
  #served = false; // whether serve() has resolved
  #stoppedAt: number | undefined; // when the first signal to end came
  #allLetGo = false; // whether the second came
  #noRoomAt = -Infinity; // when there was last no room at rest
  readonly #dropped = new Set<number>(); // numbers of clients that were reported

  /**
   * Starts a server.
   *
   * @param setup What it keeps to.
   * @param world What it lives in.
   */
  constructor(setup: Setup, world: Surroundings) {
    this.setup = setup;
    this.#world = world;
    const clock = this.clock = new FakeClock(world.now());
    const { stderr } = world;
    const reports = new Reports({
      write: (bytes) => stderr.write(bytes),
      onDropped: (count) => diagnostics.warn("{count} reports were dropped, since nobody read stderr", { count }),
      clock,
    });
    stderr.renew();
    reports.maxQueued = stderr.maxQueued = MAX_REPORTS;
    let reported = 0;
    const { diagnostics } = recorder((report) => {
      this.#onReport(report);
      const line = `${++reported} ${report.message}\n`; // the report's own line has the time of day in it
      stderr.expect(line, report);
      reports.add(line);
    });
    this.#status = diagnostics;
    this.listener = new Queue(this, world);
    this.#log = new WatchedLog(
      { open: () => world.disk.openLog(), diagnostics, clock, maxQueued: setup.maxQueued },
      this,
      world,
    );
    const { listener } = this;
    this.#server = new Server({
      listener,
      log: this.#log,
      diagnostics,
      clock,
      limits: setup,
      maxAccepts: setup.maxAccepts,
    });
    this.#live(reports).catch((error) => world.broken(`the process dies of ${error}`));
  }

  /** Whether one more client may be accepted. */
  get room(): boolean {
    return this.#inHand.filter(isInHand).length < this.setup.maxClients && !this.#log.full;
  }

  /** Whether nobody waits for the server or is served by it. */
  get idle(): boolean {
    return this.#inHand.length === 0 && this.listener.queue.length === 0;
  }

  /** Whether a signal to end would kill it. */
  get deaf(): boolean {
    return this.#allLetGo;
  }

  /** SIGTERM or SIGINT. */
  stop(): void {
    if (this.#served) return;
    const now = this.#world.now();
    const second = this.#stoppedAt !== undefined && now >= this.#stoppedAt + SAME_WISH;
    this.#stoppedAt ??= now;
    this.#beginToDrain();
    this.#allLetGo ||= second;
    if (this.#server.stop() !== second) {
      this.#world.broken(`${second ? "a second" : "the first"} signal is taken for another`);
    }
  }

  /** SIGHUP. */
  reopen(): void {
    if (this.#served) return;
    try {
      this.#log.reopen();
    } catch (error) {
      if (error !== this.#world.disk.openFailure) throw error;
    }
  }

  /** SIGUSR2. */
  reportStatus(): void {
    if (!this.#served) this.#server.reportStatus(this.#status);
  }

  /** An accept brings a client. */
  onAccept(peer: Peer): void {
    this.#world.note(() => `${peer.name} is accepted`);
    peer.movedAt = this.#world.now();
    this.#inHand.push(peer);
  }

  /** The server takes a client in flight. */
  onTaken(peer: Peer): void {
    peer.number = this.accepted.push(peer);
    this.#world.note(() => `${peer.name} is number ${peer.number}`);
    if (peer.number === this.setup.maxAccepts) this.#beginToDrain();
  }

  /** The server closes a connection. */
  onClose(peer: Peer): void {
    this.#world.note(() => `${peer.name} is closed`);
    peer.idleFor = this.#world.now() - peer.movedAt;
    this.#log.look();
    if (peer.number === 0 && !this.listener.closed) this.#world.broken(`${peer.name} is closed unserved`);
    // One whose line is not even appended is dropped in the turn in which its last byte went out, as a report will say.
    if (this.#log.isLate(peer.number)) {
      this.#world.broken(`${peer.name} is closed before its line is written or queued`);
    }
  }

  /** The server closes the listener: the kernel resets those who wait. */
  onListenerClose(waiting: (Deno.TcpConn | Error)[]): void {
    this.#world.note(() => `the listener is closed, ${waiting.length} wait`);
    for (const peer of waiting) {
      if (!(peer instanceof Peer)) continue;
      peer.error = RESET;
      if (peer.waitedAtDrain && !this.#isDue()) this.#world.broken(`${peer.name} is reset in the queue`);
    }
  }

  /** What holds after every step. */
  check(): void {
    const { broken, disk } = this.#world;
    const { active, buffered, queuedLines } = this.#server.status;
    this.#log.look();
    this.#inHand = this.#inHand.filter(isInHand);
    for (const peer of this.#inHand) if (!peer.pending) broken(`${peer.name} is stuck`);
    if (active !== this.#inHand.length) broken(`${active} clients are active, ${this.#inHand.length} are in flight`);
    if (active > this.setup.maxClients) broken(`${active} clients are in flight`);
    const held = this.#inHand.reduce((sum, peer) => sum + (peer.held = chunksOf(peer)), 0);
    if (buffered !== held) broken(`${buffered} bytes are lent, clients hold ${held}`);
    if (buffered > this.setup.maxBuffered + active * chunk(0)) broken(`${buffered} bytes are lent`);
    if (this.#served) return;
    if (queuedLines !== this.#log.missing) broken(`${queuedLines} lines are queued, ${this.#log.missing} are missing`);
    if (queuedLines > 0 && !disk.failing) broken("a line is queued though the disk does not fail");
    // When the queue has become full, those in flight may still end, and the one whose accept was pending.
    if (this.#log.missingBytes > this.setup.maxQueued + (this.setup.maxClients + 2) * LINE) {
      broken(`${this.#log.missingBytes} bytes of lines are queued`);
    }
  }

  /** What holds when nothing is left to do at this time. */
  checkAtRest(): void {
    const { now, broken, disk, slack } = this.#world;
    const { idleTimeout } = this.setup;
    const since = (...times: (number | undefined)[]) =>
      now() - slack - Math.max(...times.map((time) => time ?? Infinity));
    for (const peer of this.#inHand) {
      if (idleTimeout > 0 && since(peer.movedAt) > idleTimeout * 1250) broken(`${peer.name} is idle and not dropped`);
    }
    if (this.#served) return;
    if (disk.failing && since(disk.goodSince) > RETRY_INTERVAL) broken("lines wait for a disk that is good");
    const { closed, accepting, shortageAt } = this.listener;
    if (!this.room) this.#noRoomAt = now();
    else if (!closed && !accepting && since(shortageAt) >= SHORTAGE_PAUSE) {
      broken("nobody is accepted though there is room");
    }
    if (accepting && since(this.drainedAt, this.#noRoomAt, shortageAt) > CLOSED_WITHIN) {
      broken("a draining server listens");
    }
    if (this.#isDue()) broken("the server lives on when all are to be dropped");
  }

  #beginToDrain(): void {
    if (this.drainedAt !== undefined) return;
    this.drainedAt = this.#world.now();
    this.listener.beginToDrain();
  }

  /** Whether everybody must have been dropped, but for what can happen at this very time. */
  #isDue(): boolean {
    return this.#allLetGo ||
      (this.drainedAt !== undefined && this.#world.now() - this.drainedAt >= this.setup.drainTimeout * 1000);
  }

  /** The life of the process, as the main program has it. */
  async #live(reports: Reports): Promise<void> {
    const { now, broken, note, disk, stderr } = this.#world;
    await this.#server.serve();
    this.#served = true;
    note(() => "everybody has been served");
    this.#finish();
    const end = now();
    await reports.flush();
    stderr.finish();
    if (now() - Math.max(end, stderr.readAt) > LAST_REPORTS + this.#world.slack) {
      broken("the server waits long for a reader of stderr");
    }
    if (this.clock.pending !== 0) broken("a timer is left at the end");
    if (disk.open !== 0) broken("a file is open at the end");
    this.ended = true;
  }

  /** What holds when nobody is left. */
  #finish(): void {
    const { broken } = this.#world;
    const { active, served, dropped, goneBeforeAccept, bytes, buffered } = this.#server.status;
    this.#log.closeAndCheck();
    const finished = this.accepted.filter(({ number }) => this.#log.appended.includes(number));
    const ways = Object.values(dropped).reduce((sum, count) => sum + count, 0);
    if (active !== 0 || buffered !== 0) broken(`${active} clients and ${buffered} bytes are left at the end`);
    if (!this.listener.closed) broken("the listener is open at the end");
    for (const peer of this.accepted) {
      if (!peer.closed) broken(`${peer.name} is open at the end`);
      if (finished.includes(peer) === this.#dropped.has(peer.number)) {
        broken(`${peer.name} was served and dropped, or neither`);
      }
    }
    if (served !== finished.length || ways !== this.#dropped.size || served + ways !== this.accepted.length) {
      broken(
        `${this.accepted.length} were accepted, ${served} served, ${ways} dropped, ${this.#dropped.size} reported`,
      );
    }
    if (bytes !== finished.reduce((sum, { sent }) => sum + sent, 0)) broken(`${bytes} bytes were echoed`);
    if (goneBeforeAccept !== this.listener.gone) broken(`${goneBeforeAccept} and not ${this.listener.gone} were gone`);
  }

  #onReport({ level, message, properties: { client, reason, received, lines } }: Report): void {
    const { note, broken, count } = this.#world;
    note(() => `${level}: ${message}`);
    if (typeof client === "number") {
      count(`dropped: ${reason}`);
      const peer = this.accepted[client - 1];
      if (peer === undefined || this.#dropped.has(client)) {
        return broken(`client ${client} is reported twice, or unknown`);
      }
      this.#dropped.add(client);
      if (received !== peer.received) broken(`${peer.name} had sent ${peer.received} bytes, ${received} are reported`);
      if (!this.#isReason(peer, String(reason))) broken(`${peer.name} is dropped: ${reason}`);
    } else if (message.includes("lines are queued")) {
      this.#log.beginOutage();
    } else if (message.includes("caught up") && lines !== this.#log.caughtUp) {
      broken(`${lines} lines are said to be caught up, not ${this.#log.caughtUp}`);
    }
  }

  /** Bytes that may have been lent when a client needed its next chunk: in this turn others may have held more or less. */
  #mayHaveHeld(peer: Peer): number {
    const others = this.#inHand.filter((other) => other !== peer);
    return others.reduce((sum, other) => sum + Math.max(other.held, chunksOf(other)), chunksOf(peer));
  }

  /** Whether there is reason to drop a client. */
  #isReason(peer: Peer, reason: string): boolean {
    const { idleTimeout, maxMessage } = this.setup;
    switch (reason) {
      case "reset":
        return peer.error === RESET || peer.error === BROKEN_PIPE;
      case "failed":
        return peer.error !== undefined;
      case "idle":
        return idleTimeout > 0 && peer.idleFor >= idleTimeout * 1000;
      case "message":
        return peer.received > maxMessage;
      case "buffers":
        return this.#mayHaveHeld(peer) > this.setup.maxBuffered;
      default:
        return this.#isDue();
    }
  }
}

/** Whether the server has not done with a client. */
function isInHand(peer: Peer): boolean {
  return !peer.closed || peer.pending;
}

/** Bytes of the chunks that a client holds. */
function chunksOf({ received, replied, endRead }: Peer): number {
  let held = 0;
  for (let index = 0, end = 0; end <= received; index++) {
    end += chunk(index);
    if (!endRead || end > replied) held += chunk(index);
  }
  return held;
}
