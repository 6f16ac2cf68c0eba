/**
 * A thread that runs traces, and a watchdog that ends it when a trace does not end.
 *
 * @module
 */

import type { Failure } from "./search.ts";
import type { Counts } from "./simulator.ts";
import { formatTrace, MAX_STEPS, type Trace } from "./trace.ts";

/** What a worker is asked for: to run `traces` traces of a seed, or to replay one trace. */
export interface Request {
  shared: SharedArrayBuffer;
  seed: number;
  traces: number;
  shrinks: boolean;
  trace?: Trace;
}

/** What a worker has found out. */
export interface Result {
  counts: Counts;
  failure: Failure | undefined;
}

/** What a worker sends: a line of a replay, or the result. */
export type Reply = { line: string } | Result;

/** Milliseconds that one trace may take. (Measured: 4 ms of CPU time on average.) */
const TRACE_TIMEOUT_MS = 8000;

/** Milliseconds between two looks of the watchdog. */
const WATCH_INTERVAL_MS = 500;

/** How far a worker is, in memory that it shares: a worker in an endless loop answers no message. */
export class Progress {
  readonly #numbers: Uint32Array;

  /** @param shared The memory: traces begun, steps, setup, faults, the steps themselves. */
  constructor(readonly shared: SharedArrayBuffer = new SharedArrayBuffer(4 * (4 + MAX_STEPS))) {
    this.#numbers = new Uint32Array(shared);
  }

  /** Traces that have begun. */
  get begun(): number {
    return Atomics.load(this.#numbers, 0);
  }

  /** The trace that has begun last. */
  get trace(): Trace {
    const [, length = 0, setup = 0, faults = 0, ...steps] = this.#numbers;
    return { setup, faults, steps: steps.slice(0, length) };
  }

  /** A trace begins. */
  begin({ setup, faults, steps }: Trace): void {
    this.#numbers.set([steps.length, setup, faults, ...steps.slice(0, MAX_STEPS)], 1);
    Atomics.add(this.#numbers, 0, 1);
  }
}

/** A worker under a watchdog. It runs one request at a time. */
export class WatchedWorker implements Disposable {
  readonly #worker: Worker;
  readonly #timeout: number;

  /**
   * Starts the thread.
   *
   * @param timeout Milliseconds that one trace may take.
   * @param module Its module.
   */
  constructor(timeout: number = TRACE_TIMEOUT_MS, module: string = import.meta.resolve("./worker.ts")) {
    this.#worker = new Worker(module, { type: "module" });
    this.#timeout = timeout;
  }

  /** Runs a number of traces of a seed, until one violates an invariant or does not end. */
  search(seed: number, traces: number, shrinks: boolean = true): Promise<Result> {
    return this.#ask({ seed, traces, shrinks });
  }

  /** Runs one trace. Calls back with a line for each event. */
  replay(trace: Trace, onLine: (line: string) => void): Promise<Result> {
    return this.#ask({ seed: 0, traces: 1, shrinks: false, trace }, onLine);
  }

  [Symbol.dispose](): void {
    this.#worker.terminate();
  }

  async #ask(request: Omit<Request, "shared">, onLine?: (line: string) => void): Promise<Result> {
    const { promise, resolve, reject } = Promise.withResolvers<Result>();
    this.#worker.onmessage = ({ data }: MessageEvent<Reply>) => "line" in data ? onLine?.(data.line) : resolve(data);
    this.#worker.onerror = ({ message }) => reject(new Error(message));
    const progress = new Progress();
    let [seen, seenAt] = [0, 0];
    const watchdog = setInterval(() => {
      const { begun, trace } = progress;
      if (begun !== seen) [seen, seenAt] = [begun, performance.now()];
      if (begun === 0 || performance.now() - seenAt < this.#timeout) return;
      this.#worker.terminate();
      const violation = `the trace does not end within ${this.#timeout / 1000} s`;
      resolve({ counts: new Map(), failure: { trace, violation, after: begun } });
    }, Math.min(WATCH_INTERVAL_MS, this.#timeout / 2));
    this.#worker.postMessage({ ...request, shared: progress.shared } satisfies Request);
    try {
      return await promise;
    } finally {
      clearInterval(watchdog);
    }
  }
}

/**
 * Describes a trace.
 *
 * @param trace The trace.
 * @returns A line for each event, the violation, and the command that replays it.
 */
export async function describe(trace: Trace): Promise<string> {
  const lines: string[] = [];
  using worker = new WatchedWorker();
  const { failure } = await worker.replay(trace, (line) => void lines.push(`  ${line}\n`));
  lines.push(failure === undefined ? "  no invariant is violated\n" : `  violated: ${failure.violation}\n`);
  return `${lines.join("")}Replay: deno task simulate --trace=${formatTrace(trace)}`;
}
