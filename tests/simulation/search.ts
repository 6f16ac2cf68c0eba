/**
 * Searches for a trace that violates an invariant.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import fc from "fast-check";
import { type Counts, Simulator } from "./simulator.ts";
import { type Trace, traces } from "./trace.ts";

/** A trace that violates an invariant. */
export interface Failure {
  /** The trace: the shortest that was found. */
  trace: Trace;
  /** Which invariant, and how. */
  violation: string;
  /** Traces that were run up to the first that violates it. */
  after: number;
}

Error.stackTraceLimit = 0; // to capture stacks takes a tenth of the time

/** While a trace is run: what promises were rejected with that no code handles. */
let unhandled: unknown[] | undefined;
addEventListener("unhandledrejection", (event) => {
  if (unhandled === undefined) return;
  event.preventDefault();
  unhandled.push(event.reason);
});

/**
 * Runs a trace.
 *
 * @param trace The trace.
 * @param counts Where events are counted.
 * @param onNote Called with a line for each event.
 * @throws {Error} If an invariant is violated.
 */
export async function runTrace(trace: Trace, counts?: Counts, onNote?: (line: string) => void): Promise<void> {
  const rejections = unhandled = [] as unknown[];
  try {
    await new Simulator(counts, onNote).run(trace);
    // Rejections are reported at the end of an iteration of the real event loop only.
    await new Promise((resolve) => setImmediate(resolve));
    if (rejections.length > 0) throw new Error(`a rejection is not handled: ${rejections[0]}`);
  } finally {
    unhandled = undefined;
  }
}

/**
 * Runs traces until one violates an invariant, and then looks for the shortest that does.
 *
 * @param seed Where the traces come from: the same seed, the same traces.
 * @param count How many.
 * @param counts Where events are counted.
 * @param onRun Called with each trace before it is run.
 * @param shrinks Whether a shorter trace is looked for that violates an invariant as well.
 * @returns What was found, if anything was.
 */
export async function search(
  seed: number,
  count: number,
  counts?: Counts,
  onRun?: (trace: Trace) => void,
  shrinks: boolean = true,
): Promise<Failure | undefined> {
  const property = fc.asyncProperty(traces, (trace) => {
    onRun?.(trace);
    return runTrace(trace, counts);
  });
  const { failed, counterexample, errorInstance, numRuns } = await fc.check(property, {
    seed,
    numRuns: count,
    endOnFailure: !shrinks,
  });
  const [trace] = counterexample ?? [];
  if (!failed || trace === undefined) return undefined;
  const violation = errorInstance instanceof Error ? errorInstance.message : `${errorInstance}`;
  return { trace, violation, after: numRuns };
}
