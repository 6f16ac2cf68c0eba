/**
 * Lives through histories on all cores until the time is over or a promise is broken.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { CannotBreak, tryBreaks } from "./breaks.ts";
import { read, tell } from "./search.ts";
import type { Batch, Outcome } from "./worker.ts";
import type { Counts } from "./world.ts";

const HELP = `\
Lives through histories of the server in a simulated world, on all cores, until the time is over or a promise is broken.

Usage: deno task simulate [flags]

  --seconds=N        for so long (60)
  --histories=N      until so many, however long they take
  --seed=N           the first seed (random); each stands for 1000 histories
  --history=N,N,...  tell this one, as it was printed when it was found
  --breaks           break the server on purpose in each way that is in breaks/, and tell how many
                     histories it takes to find out
  --help             print this
`;

/** Histories of one seed. */
const BATCH = 1000;

/** Histories in which each way to break the server must be found. */
const ENOUGH = 20_000;

/** Milliseconds between two progress lines. */
const PROGRESS = 5000;

/** Thrown when the command line is wrong. */
class WrongUsage extends Error {
  constructor(message: string) {
    super(`${message}; see --help`);
  }
}

function count(flag: string, value: string): number {
  if (/^\d{1,9}$/.test(value)) return Number(value);
  throw new WrongUsage(`--${flag} takes a whole number below a billion, not "${value}"`);
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      options: {
        seconds: { type: "string", default: "60" },
        histories: { type: "string" },
        seed: { type: "string", default: `${crypto.getRandomValues(new Uint16Array(1))[0]}` },
        history: { type: "string" },
        breaks: { type: "boolean", default: false },
        help: { type: "boolean", default: false },
      },
    }).values;
  } catch (error) {
    throw new WrongUsage(error instanceof Error ? error.message.replace(/\. .*$/s, "") : `${error}`);
  }
}

/** Tells what has been lived through. */
function summary(histories: number, counts: Counts, ms: number): string {
  const { steps = 0, "virtual seconds": seconds = 0, ...things } = Object.fromEntries(counts);
  const sorted = Object.entries(things).sort(([a], [b]) => a < b ? -1 : 1).map(([what, often]) => `${what} ${often}`);
  return `${Math.round(ms / 1000)} s: ${histories} histories (${Math.round(histories / ms * 1000)} a second), ` +
    `${steps} steps, ${(seconds / 3600).toFixed(1)} virtual hours; ${sorted.join(", ")}`;
}

/** Searches with one worker for each core. */
async function simulate(first: number, ms: number, limit: number): Promise<number> {
  const start = performance.now();
  const counts: Counts = new Map();
  let [seed, asked, done, told] = [first, 0, 0, start];
  const outcomes: Outcome[] = [];
  const work = async () => {
    const worker = new Worker(import.meta.resolve("./worker.ts"), { type: "module" });
    while (asked < limit && performance.now() - start < ms && outcomes.every(({ found }) => found === undefined)) {
      const batch: Batch = { seed: seed++, histories: Math.min(BATCH, limit - asked) };
      asked += batch.histories;
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>();
      worker.onmessage = ({ data }) => resolve(data);
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage(batch);
      const outcome = await promise;
      for (const [what, often] of outcome.counts) counts.set(what, (counts.get(what) ?? 0) + often);
      outcomes.push(outcome);
      done += outcome.found?.after ?? outcome.histories;
      if (performance.now() - told < PROGRESS) continue;
      told = performance.now();
      console.log(summary(done, counts, told - start));
    }
    worker.terminate();
  };
  await Promise.all(Array.from({ length: navigator.hardwareConcurrency }, work));
  console.log(summary(done, counts, performance.now() - start));
  const failed = outcomes.filter(({ found }) => found !== undefined).sort((a, b) => a.seed - b.seed)[0];
  if (failed?.found === undefined) return 0;
  const { found } = failed;
  const after = (failed.seed - first) * BATCH + found.after;
  console.log(`BROKEN in history ${after} (--seed=${failed.seed}): ${found.how}\n${await tell(found.history)}`);
  return 1;
}

async function main(args: string[]): Promise<number> {
  const { seconds, histories, seed, history, breaks, help } = parse(args);
  if (help) {
    console.log(HELP.trimEnd());
    return 0;
  }
  if (history !== undefined) {
    const numbers = read(history);
    if (numbers === undefined) throw new WrongUsage(`--history takes numbers with commas between, not "${history}"`);
    console.log(await tell(numbers));
    return 0;
  }
  const first = count("seed", seed);
  const limit = histories === undefined ? undefined : count("histories", histories);
  const ms = limit === undefined ? count("seconds", seconds) * 1000 : Infinity;
  if (breaks) return await tryBreaks(first, limit ?? ENOUGH);
  console.log(`simulate --seed=${seed}`);
  return await simulate(first, ms, limit ?? Infinity);
}

try {
  Deno.exitCode = await main(Deno.args);
} catch (error) {
  if (!(error instanceof WrongUsage || error instanceof CannotBreak)) throw error;
  console.error(`simulate: ${error.message}`);
  Deno.exitCode = error instanceof WrongUsage ? 2 : 1;
}
