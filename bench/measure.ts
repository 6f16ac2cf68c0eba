/** One measurement: a fresh server under one workload. */
import type { Load, LoadResult } from "./load.ts";
import type { Peer } from "./peers.ts";
import { cpuMicroseconds, memory, openDescriptors, resetPeak } from "./process.ts";
import { start } from "./server.ts";

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
  /** The most memory that was resident under load, and how much of it was not yet before the load, in bytes. */
  peak: number;
  peakOverIdle: number;
  /** Memory of each idle client, in bytes; only where there were some. */
  perIdleClient?: number;
}

/** How long the load may take, in milliseconds. */
const TIMEOUT = 120_000;

/**
 * Starts a server, warms it up, puts the load on it and ends it.
 *
 * @throws {Error} if an echo was wrong, the load did not end, or the log does not hold one line for each client.
 */
export async function measure(peer: Peer, scratch: string, load: Load): Promise<Figures> {
  await using server = await start(peer, scratch);
  await using child = new Deno.Command(Deno.execPath(), {
    args: [
      "run",
      "--no-prompt",
      "--allow-net=127.0.0.0/8",
      `${import.meta.dirname}/load.ts`,
      `${server.port}`,
      JSON.stringify(load),
    ],
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
    if (done) throw new Error("the load ended before its time, see above");
    return value;
  };

  await next(); // warm
  const before = await memory(server.pid);
  await resetPeak(server.pid);
  let perIdleClient: number | undefined;
  if (load.idle) {
    await goOn();
    await next(); // held
    await accepted(server.pid, load.idle);
    perIdleClient = ((await memory(server.pid)).resident - before.resident) / load.idle;
  }
  const cpuBefore = await cpuMicroseconds(server.pid);
  await goOn();
  const result: LoadResult = JSON.parse(await next());
  const cpu = await cpuMicroseconds(server.pid) - cpuBefore;
  const { peak } = await memory(server.pid);
  await writer.close();
  await child.status;
  if (!peer.floor) await logged(server.log, load);

  const cpuPerClient = cpu / load.clients;
  return {
    cpuPerClient,
    cpuRange: [cpuPerClient, cpuPerClient],
    clientsPerSecond: 1000 * load.clients / result.elapsed,
    p50: result.p50,
    p99: result.p99,
    peak,
    peakOverIdle: peak - before.resident,
    ...perIdleClient === undefined ? {} : { perIdleClient },
  };
}

/** A connect succeeds before the server accepts: waits until it has. */
async function accepted(pid: number, clients: number): Promise<void> {
  await until(async () => await openDescriptors(pid) > clients, "the idle clients were not all accepted");
}

/** Waits until the log holds a line for each client that sent something: not every peer writes it before it closes. */
async function logged(log: string, { bytes, warmUp, clients }: Load): Promise<void> {
  const expected = warmUp + clients;
  await until(async () => {
    const text = await Deno.readTextFile(log);
    return text.split(`]: received ${bytes} bytes\n`).length - 1 === expected;
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
