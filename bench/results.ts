/** The results of a run, as they stand in `results.json`. */

/** What one measurement, or the median of several, brought. */
export interface Figures {
  /** CPU time of the server for each client, in microseconds. */
  cpuPerClient: number;
  /** The least and the most of it in any round: how far the figure can be trusted. */
  cpuRange: [least: number, most: number];
  clientsPerSecond: number;
  /** Milliseconds from connect to end. */
  p50: number;
  p99: number;
  /** Cores that the server, the load and everything else on the machine used meanwhile. */
  serverCores: number;
  loadCores: number;
  othersCores: number;
  /** The most memory that was resident under load, and how much of it was not yet before the load, in bytes. */
  peak: number;
  peakOverIdle: number;
  /** Memory of each idle client, in bytes; only where there were some. */
  perIdleClient?: number;
}

/** All that one run of the benchmark brought. */
export interface Results {
  date: string;
  /** With the average number of processes that ran or waited in the minute before. */
  machine: { cpu: string; cores: number; memory: string; kernel: string; loadBefore: number };
  /** Version by tool. */
  versions: Record<string, string>;
  /** Rounds of which the figures are the medians, and whether each was cut short. */
  rounds: number;
  quick: boolean;
  /** What was not measured, and why. */
  notMeasured: Record<string, string>;
  /** From the spawn to the first connect that succeeds, in milliseconds, by server. */
  startTime: Record<string, number>;
  /** By workload, then by server. */
  figures: Record<string, Record<string, Figures>>;
}

/** The server under test. */
export const SUBJECT = "echo-server";

/** Two instances of it on one port. */
export const TWO_SUBJECTS = "2 x echo-server";

/** The server that shows what the kernel lets anyone reach. */
export const LIMIT = "C epoll";

/** The server that shows what Deno lets a script reach. */
export const FLOOR = "Deno floor";

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

/** What had no core left, and so set the clients per second. A server with more than one thread may fill the machine. */
export function full({ serverCores, loadCores }: Figures, cores: number): "server" | "load" | "machine" | "neither" {
  if (loadCores >= 0.9 && loadCores > serverCores) return "load";
  if (serverCores > 1.1 && serverCores + loadCores > 0.9 * cores) return "machine";
  return serverCores >= 0.9 ? "server" : "neither";
}

/** Cores that others may use on a machine that counts as quiet: the kernel's own threads take some. */
const QUIET = 0.3;

/** The workloads during which others used the machine, so that nothing can be told from the figures. */
export function disturbed({ figures }: Results): { workload: string; othersCores: number }[] {
  return Object.entries(figures).flatMap(([workload, servers]) => {
    const othersCores = Math.max(...Object.values(servers).map((each) => each.othersCores));
    return othersCores > QUIET ? [{ workload, othersCores }] : [];
  });
}
