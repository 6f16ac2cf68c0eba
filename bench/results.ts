/** The results of a run, as they stand in `results.json`. */
import type { Figures } from "./measure.ts";

/** All that one run of the benchmark brought. */
export interface Results {
  date: string;
  /** With the average number of processes that ran or waited in the minute before: others' work distorts the figures. */
  machine: { cpu: string; cores: number; memory: string; kernel: string; loadBefore: number };
  /** Version by tool. */
  versions: Record<string, string>;
  /** Rounds of which the figures are the medians, and whether each was cut short. */
  rounds: number;
  quick: boolean;
  /** What was not measured, and which Debian package brings it. */
  notMeasured: Record<string, string>;
  /** From the spawn to the first connect that succeeds, in milliseconds, by server. */
  startTime: Record<string, number>;
  /** By workload, then by server. */
  figures: Record<string, Record<string, Figures>>;
}

/** The server under test. */
export const SUBJECT = "echo-server";

/** The server that shows what the kernel lets anyone reach. */
export const LIMIT = "C epoll";

/** The script that the start is compared with. */
export const BARE_START = "listen only";

/** A figure, if that workload was put on that server. */
export function figure(
  results: Results,
  workload: string,
  server: string,
  name: keyof Omit<Figures, "cpuRange">,
): number | undefined {
  return results.figures[workload]?.[server]?.[name];
}
