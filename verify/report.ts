/**
 * The report: rows, progress and histogram, or JSON.
 *
 * @module
 */

import { NAMES, type Row, type Verification } from "./checks.ts";
import type { Statistics } from "./statistics.ts";

/** Columns of a terminal. */
const COLUMNS = 80;

const NAME_COLUMNS = Math.max(...NAMES.map((name) => name.length));
const PROGRESS_INTERVAL_MS = 100;

/** A row of the table, in one line or, with what was seen and what that points to, a few. */
export function formatRow({ name, result, seconds, seen, pointsTo }: Row): string {
  const head = `${name.padEnd(NAME_COLUMNS)}  ${result.padEnd(7)} ${seconds.toFixed(3).padStart(8)} s`;
  const lines = [seen === undefined ? head : `${head}  ${seen}`];
  if (pointsTo !== undefined) lines.push(...wrap(`points to: ${pointsTo}`, NAME_COLUMNS + 2));
  return lines.join("\n");
}

/** The distribution of the times as bars. */
export function formatHistogram(statistics: Statistics): string {
  const bins = statistics.bins();
  const most = Math.max(...bins.map(({ count }) => count));
  const rows = bins.map(({ fromMs, toMs, count }) => {
    const label = `${milliseconds(fromMs)} to ${milliseconds(toMs)} ms`.padStart(22);
    const number = count.toLocaleString("en-US").padStart(9);
    const bar = "#".repeat(Math.ceil(count / most * (COLUMNS - label.length - number.length - 4)));
    return `${label} ${number}  ${bar}`.trimEnd();
  });
  const [p50 = 0, p90 = 0, p99 = 0] = statistics.percentiles(0.5, 0.9, 0.99);
  return [
    `${Math.round(statistics.count / statistics.seconds).toLocaleString("en-US")} clients/s, ` +
    `p50 ${p50.toFixed(1)} ms, p90 ${p90.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
    ...rows,
  ].join("\n");
}

/** What was found, in a line. */
export function formatSummary(address: string, verification: Verification): string {
  const failed = verification.rows.filter(({ result }) => result === "failed").map(({ name }) => name);
  if (failed.length > 0) return `${address}: FAILED in ${failed.join(", ")}`;
  return verification.echoesEarly
    ? `${address}: every byte came back, from a server that echoes before the half-close`
    : `${address}: every byte came back`;
}

/** The report on an address for other programs, in one line. */
export function formatJson(address: string, verification: Verification): string {
  const { passed, echoesEarly, rows, statistics } = verification;
  const [p50Ms, p90Ms, p99Ms] = statistics.percentiles(0.5, 0.9, 0.99);
  const { count: clients, seconds } = statistics;
  const load = clients === 0
    ? {}
    : { load: { clients, seconds, clientsPerSecond: clients / seconds, p50Ms, p90Ms, p99Ms } };
  return JSON.stringify({
    address,
    passed,
    echoesEarly,
    checks: rows.map(({ name, result, seconds, seen, pointsTo }) => ({ name, result, seconds, seen, pointsTo })),
    ...load,
  });
}

/** Shows on stderr what is running, if that is a terminal, until it is disposed of. */
export class Progress implements Disposable {
  readonly #timer: ReturnType<typeof setInterval> | undefined;
  #since = performance.now();
  #name: string | undefined;

  /** @param running Returns the name of what is running. */
  constructor(running: () => string | undefined) {
    if (!Deno.stderr.isTerminal()) return;
    this.#timer = setInterval(() => {
      const name = running();
      if (name !== this.#name) this.#since = performance.now();
      this.#name = name;
      show(name === undefined ? "" : `${name} … ${((performance.now() - this.#since) / 1000).toFixed(1)} s`);
    }, PROGRESS_INTERVAL_MS);
  }

  /** Clears it, so that something else can be printed. */
  clear(): void {
    if (this.#timer !== undefined) show("");
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.clear();
  }
}

function show(text: string): void {
  Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
}

function milliseconds(ms: number): string {
  return ms >= 1 ? `${ms}` : ms.toFixed(2);
}

/** Breaks a text into indented lines that fit a terminal. */
function wrap(text: string, indent: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && indent + line.length + 1 + word.length > COLUMNS) {
      lines.push(line);
      line = "";
    }
    line += line === "" ? word : ` ${word}`;
  }
  return [...lines, line].map((line) => " ".repeat(indent) + line);
}
