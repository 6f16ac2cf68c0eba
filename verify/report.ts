/**
 * The report: a table and the times as a histogram, or JSON; and what is shown meanwhile.
 *
 * @module
 */

import { NAMES, type Row, type Verification } from "./checks.ts";
import type { Statistics } from "./statistics.ts";

/** The columns of a terminal. */
const COLUMNS = 80;

/** The columns of the names, with the space after them. */
const INDENT = Math.max(...NAMES.map((name) => name.length)) + 2;

const PROGRESS_INTERVAL_MS = 100;

/** Formats a row of the table, in one line, or in more if it points to something. */
export function formatRow({ name, result, seconds, seen = "", pointsTo }: Row): string {
  const row = `${name.padEnd(INDENT)}${result.padEnd(7)} ${seconds.toFixed(3).padStart(7)} s  ${seen}`.trimEnd();
  if (pointsTo === undefined) return row;
  const lines = `points to: ${pointsTo}`.match(new RegExp(`\\S.{0,${COLUMNS - INDENT - 1}}(?= |$)`, "g")) ?? [];
  return [row, ...lines.map((line) => " ".repeat(INDENT) + line)].join("\n");
}

/** Formats the times as numbers and as bars. */
export function formatTimes(times: Statistics): string {
  const [p50, p90, p99] = times.percentiles(0.5, 0.9, 0.99).map((ms) => `${ms.toFixed(1)} ms`);
  const bins = times.bins();
  const most = Math.max(...bins.map(({ count }) => count));
  const bars = bins.map(({ fromMs, toMs, count }) => {
    const label = `${fromMs} to ${toMs} ms`.padStart(20) + count.toLocaleString("en-US").padStart(10);
    return `${label}  ${"#".repeat(Math.ceil(count / most * (COLUMNS - label.length - 2)))}`.trimEnd();
  });
  const rate = Math.round(times.count / times.seconds).toLocaleString("en-US");
  return [`${rate} clients/s, p50 ${p50}, p90 ${p90}, p99 ${p99}`, ...bars].join("\n");
}

/** Formats what was found, in a line. */
export function formatSummary(address: string, { rows, echoesEarly }: Verification): string {
  const failed = rows.filter(({ result }) => result === "failed").map(({ name }) => name);
  if (failed.length > 0) return `${address} failed: ${failed.join(", ")}`;
  const hasSkipped = rows.some(({ result }) => result === "skipped");
  const early = `, but echoes before the half-close${hasSkipped ? ": what depends on silence was skipped" : ""}`;
  return `${address} passed${echoesEarly ? early : ""}`;
}

/** Formats the whole report on an address as JSON, in a line. */
export function formatJson(address: string, { passed, echoesEarly, rows, times }: Verification): string {
  const [p50Ms, p90Ms, p99Ms] = times.percentiles(0.5, 0.9, 0.99);
  const { count: clients, seconds } = times;
  const load = { clients, seconds, clientsPerSecond: clients / seconds, p50Ms, p90Ms, p99Ms };
  return JSON.stringify({ address, passed, echoesEarly, checks: rows, ...(clients > 0 ? { load } : {}) });
}

/** Shows what is running on stderr, if that is a terminal, until it is disposed of. */
export class Progress implements Disposable {
  readonly #isShown = Deno.stderr.isTerminal();
  readonly #timer: ReturnType<typeof setInterval>;
  #start = performance.now();

  /** @param running Says what is running. */
  constructor(running: () => string) {
    const show = () => this.#show(`${running()} … ${((performance.now() - this.#start) / 1000).toFixed(1)} s`);
    this.#timer = setInterval(show, PROGRESS_INTERVAL_MS);
  }

  /** Clears the line, so that something else can be printed. */
  clear(): void {
    this.#start = performance.now();
    this.#show("");
  }

  /** Ends it. */
  [Symbol.dispose](): void {
    clearInterval(this.#timer);
    this.clear();
  }

  #show(text: string): void {
    if (this.#isShown) Deno.stderr.writeSync(new TextEncoder().encode(`\r\x1b[K${text}`));
  }
}
