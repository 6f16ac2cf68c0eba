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
import { EventLoop } from "./event_loop.ts";
import { Memory } from "./memory.ts";
import { ServerProcess, type Setup } from "./server_process.ts";
import { Stderr } from "./stderr.ts";
import { completeOne, sigterm, STEPS } from "./steps.ts";
import { DISCONNECTS } from "./system_errors.ts";
import { drawSetup, type Trace } from "./trace.ts";

/** Thrown when an invariant is violated. */
export class InvariantViolation extends Error {
  override readonly name = "InvariantViolation";
}

/** How often what happened, in all runs together. */
export type Counts = Map<string, number>;

/** Events at one time from which on it counts as an endless loop. */
const MAX_EVENTS_AT_ONCE = 100_000;

/** Milliseconds after the end of all faults within which all clients are served. */
const RECOVERY_MS = 2000;

/** Reads and writes of a client that may pass those of others at any time, and those of all clients in a batch. */
const FREE_OPERATIONS = 8;
const BATCH_SIZE = 64;

/** Runs every microtask: Node's nextTick callbacks run when none is left. (Measured: 0.4 µs, `setImmediate` 2.2 µs.) */
const runMicrotasks = () => new Promise<void>((resolve) => nextTick(resolve));

/** The environment of the servers of one trace: at most one runs at a time. */
export class Simulator implements Environment {
  readonly disk: Disk;
  readonly stderr: Stderr;
  readonly memory: Memory = new Memory();
  /** The server's process, while one runs. */
  process: ServerProcess | undefined;
  slack = 0;
  isInCallback = false;

  readonly #counts: Counts;
  readonly #onNote: ((line: string) => void) | undefined;
  readonly #peers: Peer[] = [];
  #cost = 0;
  #now = 0;
  #loop = new EventLoop({ operations: 0, polls: 1 });
  #isQuiet = false; // whether nothing has happened but an iteration in which no operation has ended
  #isReacting = false; // whether promise reactions run
  #hasPolled = false; // and the callbacks of this iteration have not been called
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

  readonly whenReady: WhenReady = (end) => this.#loop.add(end, true, this.#isReacting);
  readonly whenOtherReady: WhenReady = (end) => this.#loop.add(end, false, this.#isReacting);
  readonly nextIteration = (callback: () => void): void => this.#loop.nextIteration(callback);
  readonly now = (): number => this.#now;
  readonly violated = (how: string): void => void (this.#violation ??= how);
  readonly onUnserved = (peer: Peer): void => this.process?.onUnserved(peer);
  readonly onClose = (peer: Peer): void => this.process?.onClose(peer);
  readonly count = (event: string, by = 1): void => void this.#counts.set(event, (this.#counts.get(event) ?? 0) + by);
  readonly note = (what: () => string): void => this.#onNote?.(`${(this.#now / 1000).toFixed(3)} s: ${what()}`);

  /** Iterations of the event loop. */
  get iterations(): number {
    return this.#loop.iterations;
  }

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
    using _ = this.memory;
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
    if (count > 0) this.#poll(draw, count);
  }

  /** Lets one event happen of those that can happen now: operations are polled, or a timer fires. */
  completeOne(draw: Draw): boolean {
    const { clock } = this.process ?? {};
    const { length } = this.#loop;
    const due = clock?.due ?? 0;
    if (length + due === 0) return false;
    const index = draw.below(length + due);
    if (index < length) {
      this.#poll(draw);
    } else {
      if (this.#cost > 0) this.stall(this.#cost);
      this.callBack(() => clock?.fire(index - length));
    }
    return true;
  }

  /** Calls what is not a promise reaction: the callback of a timer, of a signal, of an iteration. */
  callBack(callback: () => void): void {
    this.isInCallback = true;
    callback();
    this.isInCallback = false;
  }

  /** Runs promise reactions until none is left, ends the event-loop iteration, and checks the invariants. */
  async runPromises(): Promise<void> {
    this.#isReacting = true;
    await runMicrotasks();
    if (this.#hasPolled) {
      this.#hasPolled = false;
      for (const callback of this.#loop.takeCallbacks()) {
        this.callBack(callback);
        await runMicrotasks();
      }
    }
    this.#isReacting = false;
    const { process } = this;
    if (!this.#isQuiet) this.#check();
    this.#isQuiet = false;
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
    this.#check();
    this.process?.checkAtRest();
    this.#throwViolation();
  }

  /** Lets time pass, and everything happen that falls due. */
  async pass(ms: number, draw: Draw): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await this.settle(draw);
      if (this.#now >= end) return;
      this.#advance(Math.min(end, this.#next));
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
    this.#loop = new EventLoop({ operations: 0, polls: 1 });
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

  /** When something falls due next. */
  get #next(): number {
    return Math.min(this.process?.clock.next ?? Infinity, this.stderr.next);
  }

  #poll(draw: Draw, several?: number): void {
    const ended = this.#loop.poll(draw, several);
    if (ended > 0 && this.#cost > 0) this.stall(this.#cost);
    this.#isQuiet = ended === 0;
    this.#hasPolled = true;
  }

  #check(): void {
    this.process?.check();
    // A process that was stopped begins several batches at once.
    const { longestWait } = this.#loop;
    if (this.slack === 0 && longestWait > BATCH_SIZE + FREE_OPERATIONS * (this.#peers.length + 1)) {
      this.violated(`an operation is starved: ${longestWait} others have ended since it was ready`);
    }
  }

  #throwViolation(): void {
    if (this.#violation !== undefined) throw new InvariantViolation(this.#violation);
  }

  #advance(to: number): void {
    this.#now = to;
    this.process?.clock.set(to);
    this.stderr.onTime();
  }

  #start(setup: Setup): void {
    this.#loop = new EventLoop(setup);
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
      this.memory.repair();
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
      if (this.process !== undefined) this.#advance(this.#next);
      if (this.#now === Infinity) this.violated("the server waits for nothing and does not exit");
    }
    this.note(() => "end");
    await this.runPromises();
  }
}
