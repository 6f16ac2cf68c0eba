/**
 * Searches many histories for one in which a promise is broken.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import fc from "fast-check";
import { histories, type History } from "./history.ts";
import { type Counts, World } from "./world.ts";

/** A history in which a promise is broken. */
export interface Found {
  /** The shortest such history that was found. */
  history: History;
  /** Which promise, and how. */
  how: string;
  /** How many histories were lived through until the first. */
  after: number;
}

/** While a history is lived through: what promises were rejected with that nobody waits for. */
let unhandled: unknown[] | undefined;
addEventListener("unhandledrejection", (event) => {
  if (unhandled === undefined) return;
  event.preventDefault();
  unhandled.push(event.reason);
});

/**
 * Lives through a history.
 *
 * @param history The history.
 * @param counts Where what happens is counted.
 * @param trace Called with a line for each thing that happens.
 * @throws {Error} If a promise is broken.
 */
export async function live(history: History, counts?: Counts, trace?: (line: string) => void): Promise<void> {
  const rejections = unhandled = [] as unknown[];
  try {
    await new World(counts, trace).run(history);
    await new Promise((resolve) => setImmediate(resolve)); // only a turn of the real event loop tells of rejections
    if (rejections.length > 0) throw new Error(`nobody handles a rejection: ${rejections[0]}`);
  } finally {
    unhandled = undefined;
  }
}

/**
 * Lives through histories until one breaks a promise, and looks for the shortest that does so too.
 *
 * @param seed Where the histories come from: the same seed, the same histories.
 * @param count How many there are.
 * @param counts Where what happens is counted.
 * @returns What was found, if anything was.
 */
export async function search(seed: number, count: number, counts?: Counts): Promise<Found | undefined> {
  const property = fc.asyncProperty(histories, (history) => live(history, counts));
  const { failed, counterexample, errorInstance, numRuns } = await fc.check(property, { seed, numRuns: count });
  const [history] = counterexample ?? [];
  if (!failed || history === undefined) return undefined;
  return { history, how: errorInstance instanceof Error ? errorInstance.message : `${errorInstance}`, after: numRuns };
}

/**
 * Tells a history for people.
 *
 * @param history The history.
 * @returns What happens in it, a line each, and what it breaks; the command that tells it again.
 */
export async function tell(history: History): Promise<string> {
  const lines: string[] = [];
  try {
    await live(history, new Map(), (line) => void lines.push(line));
    lines.push("every promise is kept");
  } catch (error) {
    lines.push(`broken: ${error instanceof Error ? error.message : error}`);
  }
  return `${lines.map((line) => `  ${line}\n`).join("")}Again: deno task simulate --history=${write(history)}`;
}

/** Writes a history as a flag has it. */
export function write({ setup, faults, steps }: History): string {
  return [setup, faults, ...steps].join();
}

/** Reads what {@linkcode write} has written; `undefined` if it has not. */
export function read(text: string): History | undefined {
  if (!/^\d{1,10}(,\d{1,10})+$/.test(text)) return undefined;
  const [setup = 0, faults = 0, ...steps] = text.split(",").map(Number);
  return { setup, faults, steps };
}
