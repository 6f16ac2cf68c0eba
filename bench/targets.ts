/** The targets, most of them ratios to other servers in the same run. */
import { BARE_START, figure, type Figures, FLOOR, LIMIT, type Results, SUBJECT } from "./results.ts";
import { FLOODS } from "./workloads.ts";

/** One target, and whether it was met. */
export interface Verdict {
  workload: string;
  target: string;
  /** What was measured, in the target's unit; undefined if it was not measured. */
  measured?: string;
  met?: boolean;
}

const MIB = 1024 ** 2;

/** The maximum ratio of CPU to each of these servers. */
const CPU: Record<string, Record<string, number>> = {
  "64 B x 64": { [FLOOR]: 1.06, Node: 0.55, "plain Deno": 0.42 },
  "64 B x 1000": { [FLOOR]: 1.06, Node: 0.55, "plain Deno": 0.42 },
  "4 KiB x 64": { [FLOOR]: 1.06, Go: 0.9, Node: 0.55, "plain Deno": 0.42 },
  "64 KiB x 64": { Go: 0.35, Node: 0.5, [LIMIT]: 2.2 },
  "4 MB x 16": { Go: 0.25, Node: 0.65 },
};

/** The maximum ratio of p99 to the floor, in every workload that has a target for CPU. */
const P99 = 1.1;

/** The maximum p99 of an ordinary client beside a flood, in milliseconds, or that of the lower bound if it is higher. */
const FLOOD_P99_MS = 100;

/** The maximum ratio of the start to that of a bare script. */
const START = 1.9;

/** Maximum absolute values. */
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

/** Checks the results against all targets. */
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
  for (const { name: workload } of FLOODS) {
    const [ours, lowerBound] = [SUBJECT, LIMIT].map((server) => results.floods?.[workload]?.[server]?.p99);
    const limit = Math.max(FLOOD_P99_MS, lowerBound ?? 0);
    verdicts.push({
      workload,
      target: `p99 <= ${limit.toFixed(0)} ms${limit > FLOOD_P99_MS ? `, as ${LIMIT}` : ""}`,
      ...ours === undefined ? {} : { measured: `${ours.toFixed(1)} ms`, met: ours <= limit },
    });
  }
  ratio("start to listening", `time / ${BARE_START}`, START, results.startTime[SUBJECT], results.startTime[BARE_START]);
  return verdicts;
}
