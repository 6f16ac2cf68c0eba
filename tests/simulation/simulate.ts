/**
 * Runs traces on all cores until the time is over or an invariant is violated.
 *
 * @module
 */

import { parseArgs } from "node:util";
import type { Failure } from "./search.ts";
import type { Counts } from "./simulator.ts";
import { parseTrace } from "./trace.ts";
import { describe, WatchedWorker } from "./watched_worker.ts";

const HELP = `\
Runs the server in a simulated environment, trace by trace on all cores, until the time is over or an invariant is
violated.

Usage: deno task simulate [flags]

  --seconds=N      for so long (60)
  --traces=N       so many, however long they take
  --seed=N         the first seed (random); each stands for 250 traces
  --trace=N,N,...  replay this trace, as it was printed when it was found
  --no-shrink      do not look for a shorter trace when one is found
  --help           print this
`;

/** Traces of one seed. */
const BATCH = 250;

/** Milliseconds between two progress lines. */
const PROGRESS_INTERVAL_MS = 5000;

/** Thrown when the command line is wrong. */
class UsageError extends Error {}

function parseCount(flag: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw new UsageError(`--${flag} takes a whole number below a billion, not "${value}"`);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        seconds: { type: "string", default: "60" },
        traces: { type: "string" },
        seed: { type: "string", default: `${crypto.getRandomValues(new Uint16Array(1))[0]}` },
        trace: { type: "string" },
        "no-shrink": { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message.replace(/\. .*$/s, "") : `${error}`);
  }
}

/** Says how many traces were run, and how often what happened. */
function summary(traces: number, counts: Counts, ms: number): string {
  const { steps = 0, "virtual seconds": seconds = 0, ...events } = Object.fromEntries(counts);
  const sorted = Object.entries(events).sort(([a], [b]) => a < b ? -1 : 1).map(([name, count]) => `${name} ${count}`);
  return `${Math.round(ms / 1000)} s: ${traces} traces (${Math.round(traces / ms * 1000)} a second), ` +
    `${steps} steps, ${(seconds / 3600).toFixed(1)} virtual hours; ${sorted.join(", ")}`;
}

/** Searches with one worker for each core. Returns the exit status. */
async function simulate(firstSeed: number, ms: number, limit: number, shrinks: boolean): Promise<number> {
  const start = performance.now();
  const counts: Counts = new Map();
  const failures: { seed: number; failure: Failure }[] = [];
  let [nextSeed, asked, run, printedAt] = [firstSeed, 0, 0, start];
  const work = async () => {
    using worker = new WatchedWorker();
    while (asked < limit && performance.now() - start < ms && failures.length === 0) {
      const seed = nextSeed++;
      const traces = Math.min(BATCH, limit - asked);
      asked += traces;
      const result = await worker.search(seed, traces, shrinks);
      for (const [event, count] of result.counts) counts.set(event, (counts.get(event) ?? 0) + count);
      if (result.failure !== undefined) failures.push({ seed, failure: result.failure });
      run += result.failure?.after ?? traces;
      if (performance.now() - printedAt < PROGRESS_INTERVAL_MS) continue;
      printedAt = performance.now();
      console.log(summary(run, counts, printedAt - start));
    }
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  console.log(summary(run, counts, performance.now() - start));
  const [first] = failures.sort((a, b) => a.seed - b.seed); // the same, whichever worker was faster
  if (first === undefined) return 0;
  const { seed, failure: { trace, violation, after } } = first;
  console.log(`VIOLATION in trace ${(seed - firstSeed) * BATCH + after} (--seed=${seed}): ${violation}`);
  if (shrinks) console.log(await describe(trace));
  return 1;
}

async function main(args: string[]): Promise<number> {
  const { seconds, traces, seed, trace, "no-shrink": noShrink, help } = parse(args);
  if (help) {
    console.log(HELP.trimEnd());
    return 0;
  }
  if (trace !== undefined) {
    const numbers = parseTrace(trace);
    if (numbers === undefined) throw new UsageError(`--trace takes numbers with commas between, not "${trace}"`);
    console.log(await describe(numbers));
    return 0;
  }
  const first = parseCount("seed", seed);
  const limit = traces === undefined ? Infinity : parseCount("traces", traces);
  const ms = traces === undefined ? parseCount("seconds", seconds) * 1000 : Infinity;
  console.log(`simulate --seed=${seed}`);
  return await simulate(first, ms, limit, !noShrink);
}

let status: number;
try {
  status = await main(Deno.args);
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  console.error(`simulate: ${error.message}; see --help`);
  status = 2;
}
Deno.exit(status); // to terminate() a worker does not end it while its promise reactions loop
