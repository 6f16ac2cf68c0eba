/** One measurement: a fresh server under one workload or flood. */
import type { Peer } from "./peers.ts";
import { memory, openDescriptors, resetPeak, run } from "./process.ts";
import type { Figures, FloodFigures } from "./results.ts";
import { start } from "./server.ts";
import type { Flood, Workload } from "./workloads.ts";

/** What both load programs print at their end, in milliseconds. */
interface LoadResult {
  /** Wall time from the first connect to the last end. */
  elapsed: number;
  /** CPU time meanwhile: of the server, of the load, of everything else on the machine. */
  serverCpu: number;
  loadCpu: number;
  othersCpu: number;
  /** Latency from a client's connect to its end: the median and the 99th percentile of all clients. */
  p50: number;
  p99: number;
}

/** What the flood prints besides. */
interface FloodResult extends LoadResult {
  /** The highest latency. */
  worst: number;
  /** Ordinary clients: those served before anything was measured, and those measured. */
  warmUp: number;
  clients: number;
  /** Bytes that the flood has sent. */
  sent: number;
  /** Connections of the flood that the server dropped. */
  dropped: number;
}

/** Bytes that an ordinary client beside a flood sends. */
const GREETING_BYTES = 5;

/** Milliseconds that the load may take. */
const TIMEOUT_MS = 120_000;

/** Compiles the load programs into a folder. */
export async function buildLoad(folder: string): Promise<void> {
  for (const program of ["load", "flood"]) {
    await run("gcc", ["-O2", "-pthread", "-o", `${folder}/${program}`, `${import.meta.dirname}/${program}.c`]);
  }
}

/**
 * Starts a server, warms it up, puts the load on it and stops it.
 *
 * @param scratch A folder for what the server writes, where `built` holds what was built.
 * @throws {Error} if an echo was wrong, the load did not end, or the log does not hold one line for each client.
 */
export async function measure(peer: Peer, scratch: string, load: Workload): Promise<Figures> {
  await using server = await start(peer, scratch);
  const { bytes, atATime, clients, warmUp, idle = 0, oneByteSends } = load;
  const args = [server.port, bytes, atATime, clients, warmUp, idle, oneByteSends ? 1 : bytes, ...server.pids];
  await using program = new LoadProgram(peer, `${scratch}/built/load`, args);

  await program.nextLine(); // warm
  const before = await sum(server.pids, "resident");
  for (const pid of server.pids) await resetPeak(pid);
  let perIdleClient: number | undefined;
  if (idle > 0) {
    await program.goOn();
    await program.nextLine(); // held
    await accepted(server.pids, idle);
    perIdleClient = (await sum(server.pids, "resident") - before) / idle;
  }
  await program.goOn();
  const result: LoadResult = JSON.parse(await program.nextLine());
  const peak = await sum(server.pids, "peak");
  await program.end();
  if (!peer.noLog) await logged(server.logs, bytes, warmUp + clients);

  const cpuPerClient = 1000 * result.serverCpu / clients;
  return {
    cpuPerClient,
    cpuRange: [cpuPerClient, cpuPerClient],
    clientsPerSecond: 1000 * clients / result.elapsed,
    p50: result.p50,
    p99: result.p99,
    ...cores(result),
    peak,
    peakOverIdle: peak - before,
    ...perIdleClient === undefined ? {} : { perIdleClient },
  };
}

/**
 * Starts a server, floods it, measures ordinary clients beside the flood and stops it.
 *
 * @param scratch A folder for what the server writes, where `built` holds what was built.
 * @throws {Error} if an echo was wrong, a client was not served, or the log does not hold one line for each ordinary client.
 */
export async function measureFlood(peer: Peer, scratch: string, flood: Flood): Promise<FloodFigures> {
  const server = await start(peer, scratch);
  const { connections, bytes, seconds } = flood;
  const args = [server.port, connections, bytes, seconds, ...server.pids];
  await using program = new LoadProgram(peer, `${scratch}/built/flood`, args);
  // The server is stopped first: otherwise it would echo the whole flood to closed sockets, and report each of them.
  await using _ = server;

  const result: FloodResult = JSON.parse(await program.nextLine());
  const peak = await sum(server.pids, "peak");
  if (!peer.noLog) await logged(server.logs, GREETING_BYTES, result.warmUp + result.clients);
  const { clients, p50, p99, worst, dropped } = result;
  return {
    clients,
    p50,
    p99,
    worst,
    bytesPerSecond: 1000 * result.sent / result.elapsed,
    dropped,
    ...cores(result),
    peak,
  };
}

/** The cores that were used while the load ran. */
function cores({ elapsed, serverCpu, loadCpu, othersCpu }: LoadResult) {
  return {
    serverCores: serverCpu / elapsed,
    loadCores: loadCpu / elapsed,
    othersCores: Math.max(0, othersCpu / elapsed),
  };
}

/** A running load program, which is killed after a time. */
class LoadProgram implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #timer: ReturnType<typeof setTimeout>;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #lines: AsyncGenerator<string, void>;

  constructor(private readonly peer: Peer, path: string, args: number[]) {
    const options = { args: args.map(String), stdin: "piped", stdout: "piped", stderr: "inherit" } as const;
    this.#child = new Deno.Command(path, options).spawn();
    this.#timer = setTimeout(() => this.#child.kill("SIGKILL"), TIMEOUT_MS);
    this.#stdin = this.#child.stdin.getWriter();
    this.#lines = readLines(this.#child.stdout);
  }

  /** The next line that it prints. */
  async nextLine(): Promise<string> {
    const { value, done } = await this.#lines.next();
    if (done) throw new Error(`the load generator for ${this.peer.name} exited early, see above`);
    return value;
  }

  /** Lets it go on after a line. */
  goOn(): Promise<void> {
    return this.#stdin.write(new TextEncoder().encode("\n"));
  }

  /** Lets it exit, and waits until it has. */
  async end(): Promise<void> {
    await this.#stdin.close();
    await this.#child.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearTimeout(this.#timer);
    await this.#child[Symbol.asyncDispose]();
  }
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

/** Waits until the logs hold that many lines for messages of that size: not every peer writes it before it closes. */
async function logged(logs: string[], bytes: number, expected: number): Promise<void> {
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

/** The median of each value over several rounds. */
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

/** The median of each value over several rounds beside a flood. */
export function floodMedians(rounds: FloodFigures[]): FloodFigures {
  const of = (figure: keyof FloodFigures) => median(rounds.map((round) => round[figure]));
  return {
    clients: of("clients"),
    p50: of("p50"),
    p99: of("p99"),
    worst: of("worst"),
    bytesPerSecond: of("bytesPerSecond"),
    dropped: of("dropped"),
    serverCores: of("serverCores"),
    loadCores: of("loadCores"),
    othersCores: of("othersCores"),
    peak: of("peak"),
  };
}

/** The middle of some numbers; of an even count, the mean of the two in the middle. */
export function median(numbers: number[]): number {
  const sorted = numbers.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? NaN) + (sorted[Math.floor(middle)] ?? NaN)) / 2;
}
