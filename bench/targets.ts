/** What the server is to reach, most of it as ratios to its peers in the same run. */
import { BARE_START, figure, type Figures, FLOOR, LIMIT, type Results, SUBJECT } from "./results.ts";

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
  "64 B x 64": { [FLOOR]: 1.06, Node: 0.55, "plain Deno": 0.42 },
  "64 B x 1000": { [FLOOR]: 1.06, Node: 0.55, "plain Deno": 0.42 },
  "4 KiB x 64": { [FLOOR]: 1.06, Go: 0.9, Node: 0.55, "plain Deno": 0.42 },
  "64 KiB x 64": { Go: 0.35, Node: 0.5, [LIMIT]: 2.2 },
  "4 MB x 16": { Go: 0.25, Node: 0.65 },
};

/** At most so many times the p99 of the floor, wherever CPU is judged. */
const P99 = 1.1;

/** At most so many times the start of a bare script. */
const START = 1.9;

/** At most so much, by itself. */
const ABSOLUTE: {
  workload: string;
  figure: keyof Omit<Figures, "cpuRange">;
  name: string;
  unit: string;
  per: number;
  limit: number;
}[] = [
  { workload: "4 MB x 16", figure: "peak", name: "peak memory", unit: "MiB", per: MIB, limit: 115 },
  { workload: "10000 idle", figure: "perIdleClient", name: "an idle client", unit: "KiB", per: 1024, limit: 6.2 },
];

/** Holds the results against all targets. */
export function judge(results: Results): Verdict[] {
  const verdicts: Verdict[] = [];
  const ratio = (workload: string, name: string, limit: number, ours?: number, theirs?: number) => {
    const target = `${name} <= ${limit} x`;
    if (ours === undefined || theirs === undefined) verdicts.push({ workload, target });
    else verdicts.push({ workload, target, measured: (ours / theirs).toFixed(2), met: ours <= limit * theirs });
  };

  for (const [workload, limits] of Object.entries(CPU)) {
    const of = (server: string, name: "cpuPerClient" | "p99") => figure(results, workload, server, name);
    for (const [server, limit] of Object.entries(limits)) {
      ratio(workload, `CPU / ${server}`, limit, of(SUBJECT, "cpuPerClient"), of(server, "cpuPerClient"));
    }
    ratio(workload, `p99 / ${FLOOR}`, P99, of(SUBJECT, "p99"), of(FLOOR, "p99"));
  }
  for (const { workload, figure: name, name: label, unit, per, limit } of ABSOLUTE) {
    const value = figure(results, workload, SUBJECT, name);
    verdicts.push({
      workload,
      target: `${label} <= ${limit} ${unit}`,
      ...value === undefined ? {} : { measured: `${(value / per).toFixed(1)} ${unit}`, met: value <= limit * per },
    });
  }
  ratio("start to listening", `time / ${BARE_START}`, START, results.startTime[SUBJECT], results.startTime[BARE_START]);
  return verdicts;
}
