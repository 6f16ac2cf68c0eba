/** What the server is to reach, as ratios to its peers in the same run. */
import type { Figures } from "./measure.ts";
import { BARE_START, figure, LIMIT, type Results, SUBJECT } from "./results.ts";
import { SERIES } from "./workloads.ts";

/** One target and what became of it. */
export interface Verdict {
  workload: string;
  target: string;
  /** What was measured, in the words of the target; undefined if it was not. */
  measured?: string;
  met?: boolean;
}

const MIB = 1024 ** 2;

/** At most so many times the CPU of each of these servers. */
const CPU: Record<string, Record<string, number>> = {
  "64 B x 64": { "C epoll": 1.4, Go: 0.8, Node: 0.5, "plain Deno": 0.42 },
  "64 B x 1000": { "C epoll": 1.4, Go: 0.8, Node: 0.5, "plain Deno": 0.42 },
  "4 KiB x 64": { "C epoll": 1.4, Go: 0.8 },
  "4 MB x 16": { "C epoll": 1.25, Go: 0.4, Node: 0.7 },
};

/** At most so much, by itself. */
const ABSOLUTE: {
  workload: string;
  figure: keyof Omit<Figures, "cpuRange">;
  name: string;
  unit: string;
  per: number;
  limit: number;
}[] = [
  { workload: "4 MB x 16", figure: "peak", name: "peak memory", unit: "MiB", per: MIB, limit: 1.5 * 64e6 / MIB + 45 },
  { workload: "10000 idle", figure: "perIdleClient", name: "an idle client", unit: "KiB", per: 1024, limit: 6 },
  { workload: "10000 idle", figure: "p99", name: "p99 beside them", unit: "ms", per: 1, limit: 5 },
  { workload: "one-byte sends", figure: "peakOverIdle", name: "peak over idle", unit: "MiB", per: MIB, limit: 12 },
];

const START = 2.2;
const WORST_TO_BEST = 1.3;

/** Holds the results against all targets. */
export function judge(results: Results): Verdict[] {
  const verdicts: Verdict[] = [];
  const ratio = (workload: string, name: string, limit: number, ours?: number, theirs?: number, note = "") => {
    const target = `${name} <= ${limit} x`;
    if (ours === undefined || theirs === undefined) verdicts.push({ workload, target });
    else verdicts.push({ workload, target, measured: (ours / theirs).toFixed(2) + note, met: ours <= limit * theirs });
  };

  for (const [workload, limits] of Object.entries(CPU)) {
    const of = (server: string, name: "cpuPerClient" | "p99") => figure(results, workload, server, name);
    for (const [server, limit] of Object.entries(limits)) {
      ratio(workload, `CPU / ${server}`, limit, of(SUBJECT, "cpuPerClient"), of(server, "cpuPerClient"));
    }
    if (workload.startsWith("64 B")) ratio(workload, "p99 / Go", 1, of(SUBJECT, "p99"), of("Go", "p99"));
  }
  for (const { workload, figure: name, name: label, unit, per, limit } of ABSOLUTE) {
    const value = figure(results, workload, SUBJECT, name);
    verdicts.push({
      workload,
      target: `${label} <= ${+limit.toFixed(1)} ${unit}`,
      ...value === undefined ? {} : { measured: `${(value / per).toFixed(1)} ${unit}`, met: value <= limit * per },
    });
  }
  ratio("start to listening", `time / ${BARE_START}`, START, results.startTime[SUBJECT], results.startTime[BARE_START]);
  const [worst, best] = seriesRange(results, SUBJECT);
  const [worstLimit = NaN, bestLimit = NaN] = seriesRange(results, LIMIT);
  const note = worstLimit ? ` (${LIMIT}: ${(worstLimit / bestLimit).toFixed(2)})` : "";
  ratio("1 to 10000 at a time", "worst CPU / best", WORST_TO_BEST, worst, best, note);
  return verdicts;
}

/** The most and the least CPU a client of a server over the series, if all of it was measured. */
function seriesRange(results: Results, server: string): [worst?: number, best?: number] {
  const cpu = SERIES.flatMap(({ name }) => figure(results, name, server, "cpuPerClient") ?? []);
  return cpu.length === SERIES.length ? [Math.max(...cpu), Math.min(...cpu)] : [];
}
