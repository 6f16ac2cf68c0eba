/**
 * The load: clients that send a message, half-close, read to the end and compare every byte. A process of its own, so
 * that its CPU and memory are not the server's:
 *
 *     deno run --allow-net=127.0.0.0/8 bench/load.ts PORT '{"bytes":64,"atATime":64,"clients":12000,"warmUp":3000}'
 *
 * After the warm-up, and again once the idle clients are open, it prints a line and waits for one on stdin: the moment
 * to measure the server. Its last line is the {@linkcode LoadResult} in JSON.
 */
import type { Workload } from "./workloads.ts";

/** What the clients saw. */
export interface LoadResult {
  /** Wall time from the first connect to the last end, in milliseconds. */
  elapsed: number;
  /**
   * The time for a client's connect, and from its first byte to the end of its echo, in milliseconds: the median and
   * the 99th percentile of all clients. How long it waited, connected, for the others of its wave is not in it.
   */
  p50: number;
  p99: number;
}

/** What is known of a workload here. */
export type Load = Pick<Workload, "bytes" | "atATime" | "clients" | "warmUp" | "idle" | "oneByteSends">;

/** So many clients in a row send different stretches of the random bytes, so that an echo to the wrong client is seen. */
const SHIFTS = 251;

/** A connection has four numbers; more addresses to connect to means more ports to connect from. */
const ADDRESSES = 200;

/**
 * How many connects may be under way. All at once would overflow the server's backlog, and what was measured then would
 * be the second after which the kernel tries again.
 */
let connectsLeft = 100;
const waiting: (() => void)[] = [];
let connected = 0;

async function connect(port: number): Promise<Connected> {
  if (connectsLeft > 0) connectsLeft--;
  else await new Promise<void>((resolve) => waiting.push(resolve));
  try {
    const begin = performance.now();
    const conn = await Deno.connect({ hostname: `127.0.0.${1 + connected++ % ADDRESSES}`, port });
    return { conn, took: performance.now() - begin };
  } finally {
    const next = waiting.shift();
    if (next) next();
    else connectsLeft++;
  }
}

async function exchange(conn: Deno.TcpConn, message: Uint8Array, oneByteSends: boolean): Promise<void> {
  if (oneByteSends) conn.setNoDelay(true);
  const step = oneByteSends ? 1 : message.length;
  for (let sent = 0; sent < message.length;) sent += await conn.write(message.subarray(sent, sent + step));
  await conn.closeWrite();

  const chunk = new Uint8Array(Math.min(message.length + 1, 256 * 1024));
  let received = 0;
  for (;;) {
    const n = await conn.read(chunk);
    if (n === null) break;
    for (let i = 0; i < n; i++) {
      if (chunk[i] !== message[received + i]) throw new Error(`byte ${received + i} of the echo is wrong`);
    }
    received += n;
  }
  if (received < message.length) throw new Error(`the echo ended after ${received} of ${message.length} bytes`);
}

interface Connected {
  conn: Deno.TcpConn;
  /** How long its connect took, in milliseconds. */
  took: number;
}

/** Sends `clients` clients in waves: all of a wave connect, then all send. Returns the milliseconds that each took. */
async function serveAll(port: number, clients: number, load: Load): Promise<Float64Array> {
  const pool = randomBytes(load.bytes + SHIFTS);
  const latencies = new Float64Array(clients);
  for (let done = 0; done < clients; done += load.atATime) {
    const size = Math.min(load.atATime, clients - done);
    const wave = await Promise.all(Array.from({ length: size }, () => connect(port)));
    await Promise.all(wave.map(async ({ conn, took }, i) => {
      using _ = conn;
      const shift = (done + i) % SHIFTS;
      const begin = performance.now();
      await exchange(conn, pool.subarray(shift, shift + load.bytes), load.oneByteSends ?? false);
      latencies[done + i] = took + performance.now() - begin;
    }));
  }
  return latencies;
}

function randomBytes(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const most = 65_536; // of getRandomValues
  for (let i = 0; i < length; i += most) crypto.getRandomValues(bytes.subarray(i, i + most));
  return bytes;
}

async function pause(reached: string): Promise<void> {
  console.log(reached);
  if (await Deno.stdin.read(new Uint8Array(16)) === null) Deno.exit(1); // the runner is gone
}

if (import.meta.main) {
  const [port, load]: [number, Load] = [Number(Deno.args[0]), JSON.parse(Deno.args[1] ?? "")];
  await serveAll(port, load.warmUp, load);
  await pause("warm");
  const held = await Promise.all(Array.from({ length: load.idle ?? 0 }, () => connect(port)));
  if (held.length > 0) await pause("held");
  const begin = performance.now();
  const latencies = (await serveAll(port, load.clients, load)).sort();
  const elapsed = performance.now() - begin;
  const percentile = (p: number) => latencies[Math.ceil(p * latencies.length) - 1] ?? 0;
  const result: LoadResult = { elapsed, p50: percentile(0.5), p99: percentile(0.99) };
  console.log(JSON.stringify(result));
  for (const { conn } of held) conn.close();
}
