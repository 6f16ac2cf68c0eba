/**
 * Runs the server in a simulated environment, in virtual time, where every choice is a number of the trace.
 *
 * @module
 */

import { nextTick } from "node:process";
import type { WhenReady } from "../support/when_ready.ts";
import { Disk } from "./disk.ts";
import { Draw } from "./draw.ts";
import type { Environment } from "./environment.ts";
import { Peer } from "./peer.ts";
import { ServerProcess, type Setup } from "./server_process.ts";
import { Stderr } from "./stderr.ts";
import { completeOne, sigterm, STEPS } from "./steps.ts";
import { DISCONNECTS } from "./system_errors.ts";
import { drawSetup, type Trace } from "./trace.ts";

/** A read, write or accept that can end. */
interface Ready {
  /** Ends it. */
  end: () => void;
  /** Timers that have fired since. */
  timers: number;
}

/** Thrown when an invariant is violated. */
export class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
}

/** How often what happened, in all runs together. */
export type Counts = Map<string, number>;

/**
 * Timers that fire at most before a read, write or accept ends that can. A draining server relies on it to find its
 * backlog empty.
 */
const MAX_TIMERS_BEFORE = 2;

/** Events at one time from which on it counts as an endless loop. */
const MAX_EVENTS_AT_ONCE = 100_000;

/** Milliseconds after the end of all faults within which all clients are served. */
const RECOVERY_MS = 2000;

/** Runs every microtask: Node's nextTick callbacks run when none is left. (Measured: 0.4 µs, `setImmediate` 2.2 µs.) */
const runMicrotasks = () => new Promise<void>((resolve) => nextTick(resolve));

/** The environment of the servers of one trace: at most one runs at a time. */
export class Simulator implements Environment {
  readonly disk: Disk;
  readonly stderr: Stderr;
  /** The server's process, while one runs. */
  process: ServerProcess | undefined;
  slack = 0;

  readonly #counts: Counts;
  readonly #onNote: ((line: string) => void) | undefined;
  readonly #peers: Peer[] = [];
  #cost = 0;
  #now = 0;
  #ready: Ready[] = [];
  #violation: string | undefined;

  /**
   * Makes an environment in which nothing has happened.
   *
   * @param counts Where events are counted.
   * @param onNote Called with a line for each event.
   */
  constructor(counts: Counts = new Map(), onNote?: (line: string) => void) {
    this.#counts = counts;
    this.#onNote = onNote;
    this.disk = new Disk(this.violated);
    this.stderr = new Stderr(this);
  }

  readonly whenReady: WhenReady = (end) => void this.#ready.push({ end, timers: 0 });
  readonly now = (): number => this.#now;
  readonly violated = (how: string): void => void (this.#violation ??= how);
  readonly onFirstRead = (peer: Peer): void => this.process?.onFirstRead(peer);
  readonly onClose = (peer: Peer): void => this.process?.onClose(peer);
  readonly count = (event: string, by = 1): void => void this.#counts.set(event, (this.#counts.get(event) ?? 0) + by);
  readonly note = (what: () => string): void => this.#onNote?.(`${(this.#now / 1000).toFixed(3)} s: ${what()}`);

  /** Clients whose connection is up. */
  get connected(): Peer[] {
    return this.#peers.filter((peer) => !peer.closed && peer.error === undefined);
  }

  /**
   * Runs a trace.
   *
   * @param trace The trace.
   * @throws {InvariantViolation} If an invariant is violated.
   */
  async run(trace: Trace): Promise<void> {
    const setupDraw = new Draw(trace.setup);
    const setup = drawSetup(setupDraw);
    this.#cost = setup.cost;
    this.note(() => JSON.stringify(setup));
    for (const number of trace.steps) {
      if (this.process === undefined) this.#start(setup);
      const draw = new Draw(number);
      const step = STEPS[draw.below(STEPS.length)];
      if (step === undefined) continue;
      const isDone = step.fault === undefined || (trace.faults >>> step.fault & 1) === 1;
      this.count(isDone ? step.name : "one event");
      await (isDone ? step.act : completeOne)(this, draw);
      await this.runPromises();
    }
    this.count("steps", trace.steps.length);
    await this.#end(setupDraw.below(2) === 0);
    this.count("virtual seconds", this.#now / 1000);
  }

  /** Ends several reads, writes and accepts in one event-loop iteration: before any promise reaction runs. */
  completeSeveral(count: number, draw: Draw): void {
    for (let i = 0; i < count; i++) this.#ready.splice(draw.below(this.#ready.length), 1)[0]?.end();
  }

  /** Lets one event happen of those that can happen now: a read, write or accept ends, or a timer fires. */
  completeOne(draw: Draw): boolean {
    const { clock } = this.process ?? {};
    const mustEnd = this.#ready.some(({ timers }) => timers === MAX_TIMERS_BEFORE);
    const due = mustEnd ? 0 : clock?.due ?? 0;
    if (this.#ready.length + due === 0) return false;
    const index = draw.below(this.#ready.length + due);
    if (this.#cost > 0) this.stall(this.#cost);
    const [ready] = this.#ready.splice(index, 1);
    if (ready !== undefined) {
      ready.end();
    } else {
      for (const other of this.#ready) other.timers++;
      clock?.fire(index - this.#ready.length);
    }
    return true;
  }

  /** Runs promise reactions until none is left, and checks the invariants. */
  async runPromises(): Promise<void> {
    await runMicrotasks();
    const { process } = this;
    process?.check();
    if (process?.hasExited) {
      this.note(() => "the process exits");
      this.count("exits");
      this.kill();
    }
    this.#throwViolation();
  }

  /** Lets everything happen that can happen at this time, in the order that is drawn. */
  async settle(draw: Draw): Promise<void> {
    let events = 0;
    do {
      await this.runPromises();
      if (++events > MAX_EVENTS_AT_ONCE) this.violated("events at one time do not end");
    } while (this.completeOne(draw));
    this.process?.checkAtRest();
    this.#throwViolation();
  }

  /** Lets time pass, and everything happen that falls due. */
  async pass(ms: number, draw: Draw): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await this.settle(draw);
      if (this.#now >= end) return;
      this.#advance(Math.min(end, this.process?.clock.next ?? Infinity));
    }
  }

  /** Lets time pass and nothing happen: the process is stopped, or busy. */
  stall(ms: number): void {
    this.slack += ms;
    this.#advance(this.#now + ms);
  }

  /** The process is no more. */
  kill(): void {
    this.process = undefined;
    this.#ready = [];
    for (const peer of this.#peers) peer.error ??= DISCONNECTS[0];
  }

  /** A client connects; `undefined` if no server listens. */
  connect(length: number): Peer | undefined {
    const { process } = this;
    if (process === undefined || process.listener.closed) return undefined;
    const peer = new Peer(this.#peers.length, length, this);
    this.#peers.push(peer);
    process.listener.push(peer);
    return peer;
  }

  #throwViolation(): void {
    if (this.#violation !== undefined) throw new InvariantViolation(this.#violation);
  }

  #advance(to: number): void {
    this.#now = to;
    this.process?.clock.set(to);
  }

  #start(setup: Setup): void {
    this.process = new ServerProcess(setup, this);
    this.note(() => "a process starts");
  }

  /** Ends the server: in half of the traces after all faults have ended and all clients have finished. */
  async #end(isRepaired: boolean): Promise<void> {
    const draw = new Draw(0);
    if (isRepaired) {
      this.note(() => "all faults end, all clients finish");
      this.disk.repair(this.#now);
      this.stderr.state = "read";
      this.process?.listener.repair();
      for (const peer of this.connected) peer.finish();
      await this.pass(RECOVERY_MS, draw);
      if (this.slack === 0 && this.process?.drain.startedAt === undefined && this.process?.isIdle === false) {
        this.violated("clients are left, though there are no faults");
      }
    }
    while (this.process !== undefined) {
      if (this.process.drain.startedAt === undefined) await sigterm(this, draw);
      await this.settle(draw);
      if (this.process !== undefined) this.#advance(this.process.clock.next);
      if (this.#now === Infinity) this.violated("the server waits for nothing and does not exit");
    }
    this.note(() => "end");
    await this.runPromises();
  }
}
