/** One measurement: a fresh server under one workload. */
import type { Peer } from "./peers.ts";
import { memory, openDescriptors, resetPeak, run } from "./process.ts";
import type { Figures } from "./results.ts";
import { start } from "./server.ts";
import type { Workload } from "./workloads.ts";

/** What the load program prints at its end, in milliseconds. */
interface LoadResult {
  /** Wall time from the first connect to the last end. */
  elapsed: number;
  /** CPU time meanwhile: of the server, of the load, of everything else on the machine. */
  serverCpu: number;
  loadCpu: number;
  othersCpu: number;
  /** From a client's connect to its end: the median and the 99th percentile of all clients. */
  p50: number;
  p99: number;
}

/** How long the load may take, in milliseconds. */
const TIMEOUT = 120_000;

/** Compiles the load program into a folder. */
export async function buildLoad(folder: string): Promise<void> {
  await run("gcc", ["-O2", "-o", `${folder}/load`, `${import.meta.dirname}/load.c`]);
}

/**
 * Starts a server, warms it up, puts the load on it and ends it.
 *
 * @param scratch A folder for what the server writes, where `built` holds what was built.
 * @throws {Error} if an echo was wrong, the load did not end, or the log does not hold one line for each client.
 */
export async function measure(peer: Peer, scratch: string, load: Workload): Promise<Figures> {
  await using server = await start(peer, scratch);
  const { bytes, atATime, clients, warmUp, idle = 0, oneByteSends } = load;
  await using child = new Deno.Command(`${scratch}/built/load`, {
    args: [server.port, bytes, atATime, clients, warmUp, idle, oneByteSends ? 1 : bytes, ...server.pids].map(String),
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const timer = setTimeout(() => child.kill("SIGKILL"), TIMEOUT);
  using _ = { [Symbol.dispose]: () => clearTimeout(timer) };
  const writer = child.stdin.getWriter();
  const goOn = () => writer.write(new TextEncoder().encode("\n"));
  const lines = readLines(child.stdout);
  const next = async () => {
    const { value, done } = await lines.next();
    if (done) throw new Error(`the load on ${peer.name} ended before its time, see above`);
    return value;
  };

  await next(); // warm
  const before = await sum(server.pids, "resident");
  for (const pid of server.pids) await resetPeak(pid);
  let perIdleClient: number | undefined;
  if (idle > 0) {
    await goOn();
    await next(); // held
    await accepted(server.pids, idle);
    perIdleClient = (await sum(server.pids, "resident") - before) / idle;
  }
  await goOn();
  const result: LoadResult = JSON.parse(await next());
  const peak = await sum(server.pids, "peak");
  await writer.close();
  await child.status;
  if (!peer.noLog) await logged(server.logs, load);

  const cpuPerClient = 1000 * result.serverCpu / clients;
  return {
    cpuPerClient,
    cpuRange: [cpuPerClient, cpuPerClient],
    clientsPerSecond: 1000 * clients / result.elapsed,
    p50: result.p50,
    p99: result.p99,
    serverCores: result.serverCpu / result.elapsed,
    loadCores: result.loadCpu / result.elapsed,
    othersCores: Math.max(0, result.othersCpu / result.elapsed),
    peak,
    peakOverIdle: peak - before,
    ...perIdleClient === undefined ? {} : { perIdleClient },
  };
}

async function sum(pids: number[], what: "resident" | "peak"): Promise<number> {
  let bytes = 0;
  for (const pid of pids) bytes += (await memory(pid))[what];
  return bytes;
}

/** A connect succeeds before the server accepts: waits until it has. */
async function accepted(pids: number[], clients: number): Promise<void> {
  await until(async () => {
    let open = 0;
    for (const pid of pids) open += await openDescriptors(pid);
    return open > clients;
  }, "the idle clients were not all accepted");
}

/** Waits until the logs hold a line for each client that sent something: not every peer writes it before it closes. */
async function logged(logs: string[], { bytes, warmUp, clients }: Workload): Promise<void> {
  const expected = warmUp + clients;
  await until(async () => {
    let lines = 0;
    for (const log of logs) lines += (await Deno.readTextFile(log)).split(`]: received ${bytes} bytes\n`).length - 1;
    return lines === expected;
  }, `the log does not hold ${expected} lines`);
}

async function until(condition: () => Promise<boolean>, otherwise: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!await condition()) {
    if (performance.now() > deadline) throw new Error(otherwise);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function* readLines(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  let rest = "";
  for await (const text of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

/** The median of each figure over several rounds. */
export function medians(rounds: Figures[]): Figures {
  const cpu = rounds.map(({ cpuPerClient }) => cpuPerClient);
  const of = (figure: Exclude<keyof Figures, "cpuRange">) => median(rounds.map((round) => round[figure] ?? NaN));
  return {
    cpuPerClient: of("cpuPerClient"),
    cpuRange: [Math.min(...cpu), Math.max(...cpu)],
    clientsPerSecond: of("clientsPerSecond"),
    p50: of("p50"),
    p99: of("p99"),
    serverCores: of("serverCores"),
    loadCores: of("loadCores"),
    othersCores: of("othersCores"),
    peak: of("peak"),
    peakOverIdle: of("peakOverIdle"),
    ...rounds[0]?.perIdleClient === undefined ? {} : { perIdleClient: of("perIdleClient") },
  };
}

/** The middle of some numbers; of an even count, the mean of the two in the middle. */
export function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}
