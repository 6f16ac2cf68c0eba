/** The workloads that each server is measured under. */

/** One kind of load. */
export interface Workload {
  /** Its name on the command line, in the table and in the results. */
  name: string;
  /** Bytes of each client's message. */
  bytes: number;
  /** Clients at a time: as soon as one has ended, the next one connects. */
  atATime: number;
  /** Clients in all. */
  clients: number;
  /** Clients served before anything is measured. */
  warmUp: number;
  /** Clients that connect first and send nothing while the others are served. */
  idle?: number;
  /** Each byte is sent by its own write, with TCP_NODELAY. */
  oneByteSends?: true;
}

const KB = 1000, MB = 1000 * KB;

/** All workloads, in the order in which they are measured and shown. */
export const WORKLOADS: readonly Workload[] = [
  { name: "64 B x 64", bytes: 64, atATime: 64, clients: 30_000, warmUp: 8_000 },
  { name: "64 B x 1000", bytes: 64, atATime: 1000, clients: 30_000, warmUp: 8_000 },
  { name: "4 KiB x 64", bytes: 4096, atATime: 64, clients: 30_000, warmUp: 8_000 },
  { name: "64 KiB x 64", bytes: 65_536, atATime: 64, clients: 8_000, warmUp: 2_000 },
  { name: "4 MB x 16", bytes: 4 * MB, atATime: 16, clients: 240, warmUp: 48 },
  { name: "10000 idle", bytes: 64, atATime: 1, clients: 4_000, warmUp: 1_000, idle: 10_000 },
  { name: "one-byte sends", bytes: 200 * KB, atATime: 1, clients: 1, warmUp: 0, oneByteSends: true },
  { name: "64 B x 1", bytes: 64, atATime: 1, clients: 8_000, warmUp: 4_000 },
  { name: "64 B x 10", bytes: 64, atATime: 10, clients: 20_000, warmUp: 5_000 },
  { name: "64 B x 100", bytes: 64, atATime: 100, clients: 20_000, warmUp: 5_000 },
  { name: "64 B x 10000", bytes: 64, atATime: 10_000, clients: 30_000, warmUp: 10_000 },
];

/** The workloads that differ only in the clients at a time. */
export const SERIES: readonly Workload[] = WORKLOADS
  .filter(({ name }) => name.startsWith("64 B x "))
  .toSorted((a, b) => a.atATime - b.atATime);

/** Connections that send without pause and never half-close, and beside them one ordinary client at a time. */
export interface Flood {
  /** Its name on the command line, in the table and in the results. */
  name: string;
  /** Connections that send without pause. */
  connections: number;
  /** Bytes that each sends at a time. */
  bytes: number;
  /** How long the ordinary clients are measured. */
  seconds: number;
}

/** All floods, in the order in which they are measured and shown. They come after the workloads. */
export const FLOODS: readonly Flood[] = [
  { name: "flood 200 x 1000 B", connections: 200, bytes: 1000, seconds: 4 },
  { name: "flood 1000 x 1000 B", connections: 1000, bytes: 1000, seconds: 4 },
  { name: "flood 3000 x 1 B", connections: 3000, bytes: 1, seconds: 4 },
];

/** The same workload with a fifth of the clients. */
export function quick(workload: Workload): Workload {
  return {
    ...workload,
    clients: Math.max(workload.atATime, Math.ceil(workload.clients / 5)),
    warmUp: Math.ceil(workload.warmUp / 5),
  };
}

/** The same flood for a fourth of the time. */
export function quickFlood(flood: Flood): Flood {
  return { ...flood, seconds: flood.seconds / 4 };
}
