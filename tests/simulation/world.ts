/**
 * The real server in a world made of fakes, in virtual time, where every choice is a number of the history.
 *
 * @module
 */

import process from "node:process";
import type { WhenReady } from "../support/when_ready.ts";
import { Disk } from "./disk.ts";
import { Draw } from "./draw.ts";
import { drawSetup, type History } from "./history.ts";
import { RESET } from "./kernel_queue.ts";
import { Life, type Setup, type Surroundings } from "./life.ts";
import { Peer } from "./peer.ts";
import { Stderr } from "./stderr.ts";
import { happen, sigterm, STEPS } from "./steps.ts";

/** Something that can happen. */
interface Ready {
  happen: () => void;
  /** How many turns of the event loop have gone by since. */
  overtaken: number;
}

/** Thrown when a promise is broken. */
export class BrokenPromise extends Error {
  /** Tells it from other errors. */
  override readonly name = "BrokenPromise";
}

/** What came of many histories. */
export type Counts = Map<string, number>;

/** Turns of the event loop that go by at most before what is ready happens. */
const OVERTAKEN = 2;

/** Things that happen at one time before it is taken for a loop without end. */
const ENDLESS = 100_000;

/** Milliseconds after the end of all faults in which everybody has been served. */
const RECOVERY = 2000;

/** Lets everything run that waits for no more than promises: Node's tick comes when no microtask is left, in 0.4 µs. */
const flush = () => new Promise<void>((resolve) => process.nextTick(resolve));

/** A world for one history. */
export class World implements Surroundings {
  readonly disk = new Disk();
  readonly stderr: Stderr;
  /** The server's process, while there is one. */
  life: Life | undefined;
  slack = 0;
  /** Clients that have ever connected. */
  readonly peers: Peer[] = [];

  readonly #counts: Counts;
  readonly #trace: ((line: string) => void) | undefined;
  #cost = 0;
  #now = 0;
  #ready: Ready[] = [];
  #broken: string | undefined;

  /**
   * Makes a world in which nothing has happened.
   *
   * @param counts Where what happens is counted.
   * @param trace Called with a line for each thing that happens.
   */
  constructor(counts: Counts = new Map(), trace?: (line: string) => void) {
    this.#counts = counts;
    this.#trace = trace;
    this.stderr = new Stderr(this);
  }

  readonly whenReady: WhenReady = (happen) => void this.#ready.push({ happen, overtaken: 0 });
  readonly now = (): number => this.#now;
  readonly broken = (how: string): void => void (this.#broken ??= how);
  readonly taken = (peer: Peer): void => this.life?.onTaken(peer);
  readonly closing = (peer: Peer): void => this.life?.onClose(peer);
  readonly count = (what: string, by = 1): void => void this.#counts.set(what, (this.#counts.get(what) ?? 0) + by);
  readonly note = (what: () => string): void => this.#trace?.(`${(this.#now / 1000).toFixed(3)} s: ${what()}`);

  /** Clients whose connection is up. */
  get connected(): Peer[] {
    return this.peers.filter((peer) => !peer.closed && peer.error === undefined);
  }

  /**
   * Lives through a history.
   *
   * @param history The history.
   * @throws {BrokenPromise} If a promise is broken.
   */
  async run(history: History): Promise<void> {
    const setup = new Draw(history.setup);
    const limits = drawSetup(setup);
    this.#cost = limits.cost;
    this.note(() => JSON.stringify(limits));
    for (const number of history.steps) {
      if (this.life === undefined) this.#start(limits);
      const draw = new Draw(number);
      const step = STEPS[draw.below(STEPS.length)];
      if (step === undefined) continue;
      const happens = step.fault === undefined || (history.faults >>> step.fault & 1) === 1;
      this.count(happens ? step.name : "one thing happens");
      await (happens ? step.act : happen)(this, draw);
      await this.rest();
    }
    this.count("steps", history.steps.length);
    await this.#end(setup.below(2) === 0);
    this.count("virtual seconds", this.#now / 1000);
  }

  /** Lets some of the reads, writes and accepts end that can, all in one turn: before any promise is told. */
  batch(count: number, draw: Draw): void {
    for (let i = 0; i < count; i++) this.#ready.splice(draw.below(this.#ready.length), 1)[0]?.happen();
  }

  /** Lets one of the things happen that can happen now. */
  happenOne(draw: Draw): boolean {
    const { clock } = this.life ?? {};
    const due = this.#ready.some(({ overtaken }) => overtaken === OVERTAKEN) ? 0 : clock?.due ?? 0;
    if (this.#ready.length + due === 0) return false;
    const which = draw.below(this.#ready.length + due);
    if (this.#cost > 0) this.stall(this.#cost);
    const [ready] = this.#ready.splice(which, 1);
    if (ready !== undefined) {
      ready.happen();
    } else {
      for (const overtaken of this.#ready) overtaken.overtaken++;
      clock?.fire(which - this.#ready.length);
    }
    return true;
  }

  /** Lets the server do what it can at this moment, and looks at what it has done. */
  async rest(): Promise<void> {
    await flush();
    const { life } = this;
    life?.check();
    if (life?.ended) {
      this.note(() => "the server has ended");
      this.count("drained to the end");
      this.kill();
    }
    this.#throwIfBroken();
  }

  /** Lets everything happen that can happen at this time, in the order that is drawn. */
  async settle(draw: Draw): Promise<void> {
    let count = 0;
    do {
      await this.rest();
      if (++count > ENDLESS) this.broken("it never comes to rest");
    } while (this.happenOne(draw));
    this.life?.checkAtRest();
    this.#throwIfBroken();
  }

  /** Lets time pass, and all that falls due by then happen. */
  async pass(ms: number, draw: Draw): Promise<void> {
    const end = this.#now + ms;
    for (;;) {
      await this.settle(draw);
      if (this.#now >= end) return;
      this.#advance(Math.min(end, this.life?.clock.next ?? Infinity));
    }
  }

  /** Lets time pass though something could happen. */
  stall(ms: number): void {
    this.slack += ms;
    this.#advance(this.#now + ms);
  }

  /** The process is there no more. */
  kill(): void {
    this.life = undefined;
    this.#ready = [];
    for (const peer of this.peers) peer.error ??= RESET;
  }

  /** A client connects. */
  connect(length: number): Peer | undefined {
    const { life } = this;
    if (life === undefined || life.listener.closed) return undefined;
    const peer = new Peer(this.peers.length, length, this);
    this.peers.push(peer);
    life.listener.push(peer);
    return peer;
  }

  #throwIfBroken(): void {
    if (this.#broken !== undefined) throw new BrokenPromise(this.#broken);
  }

  #advance(to: number): void {
    this.#now = to;
    this.life?.clock.set(to);
  }

  #start(setup: Setup): void {
    Object.assign(this.disk, { openFailure: undefined, failing: false, open: 0 });
    this.life = new Life(setup, this);
    this.note(() => "a server starts");
  }

  /** Ends the server: after all faults have ended and all clients have finished, or as it is. */
  async #end(well: boolean): Promise<void> {
    const draw = new Draw(0);
    if (well) {
      this.note(() => "every fault ends, every client finishes");
      this.disk.heal(this.#now);
      this.stderr.state = "read";
      this.life?.listener.heal();
      for (const peer of this.connected) peer.finish();
      await this.pass(RECOVERY, draw);
      if (this.slack === 0 && this.life?.drainedAt === undefined && this.life?.idle === false) {
        this.broken("clients are left, and no faults");
      }
    }
    while (this.life !== undefined) {
      if (this.life.drainedAt === undefined) await sigterm(this, draw);
      await this.settle(draw);
      if (this.life !== undefined) this.#advance(this.life.clock.next);
      if (this.#now === Infinity) this.broken("the server waits for nothing and does not end");
    }
    this.note(() => "end");
    await this.rest();
  }
}
