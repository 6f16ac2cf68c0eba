/** The results of a run, in the format of `results.json`. */

/** One measurement, or the medians of several. */
export interface Figures {
  /** CPU time of the server for each client, in microseconds. */
  cpuPerClient: number;
  /** The minimum and maximum in any round: how far the median can be trusted. */
  cpuRange: [min: number, max: number];
  clientsPerSecond: number;
  /** Milliseconds from a client's connect to its end: the median and the 99th percentile. */
  p50: number;
  p99: number;
  /** Cores that the server, the load and everything else on the machine used meanwhile. */
  serverCores: number;
  loadCores: number;
  othersCores: number;
  /** The peak of resident memory under load, and by how much it was above that before the load, in bytes. */
  peak: number;
  peakOverIdle: number;
  /** Memory of each idle client, in bytes; only in a workload that has some. */
  perIdleClient?: number;
}

/** One measurement of ordinary clients beside a flood, or the medians of several. */
export interface FloodFigures {
  /** Ordinary clients served. */
  clients: number;
  /** Milliseconds from the connect of an ordinary client to its end: the median, the 99th percentile and the maximum. */
  p50: number;
  p99: number;
  worst: number;
  /** Bytes that the flood has sent. */
  bytesPerSecond: number;
  /** Connections of the flood that the server dropped; each was replaced. */
  dropped: number;
  /** Cores that the server, the flood and everything else on the machine used meanwhile. */
  serverCores: number;
  loadCores: number;
  othersCores: number;
  /** The peak of resident memory, in bytes. */
  peak: number;
}

/** The results of one run of the benchmark. */
export interface Results {
  date: string;
  /** With the average number of processes that ran or waited in the minute before. */
  machine: { cpu: string; cores: number; memory: string; kernel: string; loadBefore: number };
  /** Version by tool. */
  versions: Record<string, string>;
  /** The number of rounds that the medians are of, and whether each was shortened by `--quick`. */
  rounds: number;
  quick: boolean;
  /** What was not measured, and why. */
  notMeasured: Record<string, string>;
  /** From the spawn to the first connect that succeeds, in milliseconds, by server. */
  startTime: Record<string, number>;
  /** By workload, then by server. */
  figures: Record<string, Record<string, Figures>>;
  /** By flood, then by server. Results of older runs have none. */
  floods?: Record<string, Record<string, FloodFigures>>;
}

/** The server under test. */
export const SUBJECT = "echo-server";

/** Two instances of it on one port. */
export const TWO_SUBJECTS = "2 x echo-server";

/** The server that shows the lower bound that the kernel sets. */
export const LIMIT = "C epoll";

/** The server that shows the lower bound for a script in Deno. */
export const FLOOR = "Deno floor";

/** The script that the start is compared with. */
export const BARE_START = "listen only";

/** A measured value, if that server was measured under that workload. */
export function figure(
  results: Results,
  workload: string,
  server: string,
  name: keyof Omit<Figures, "cpuRange">,
): number | undefined {
  return results.figures[workload]?.[server]?.[name];
}

/** What limited the clients per second by using up a core. A server with several threads may use up the machine. */
export function bottleneck(
  { serverCores, loadCores }: Figures,
  cores: number,
): "server" | "load" | "machine" | "neither" {
  if (loadCores >= 0.9 && loadCores > serverCores) return "load";
  if (serverCores > 1.1 && serverCores + loadCores > 0.9 * cores) return "machine";
  return serverCores >= 0.9 ? "server" : "neither";
}

/** Cores that other processes may use on a machine that counts as quiet: the kernel's own threads use some. */
const QUIET = 0.3;

/** The workloads during which other processes used the machine, so that the measurements are not reliable. */
export function disturbed({ figures, floods }: Results): { workload: string; othersCores: number }[] {
  return Object.entries<Record<string, { othersCores: number }>>({ ...figures, ...floods }).flatMap(
    ([workload, servers]) => {
      const othersCores = Math.max(...Object.values(servers).map((each) => each.othersCores));
      return othersCores > QUIET ? [{ workload, othersCores }] : [];
    },
  );
}
