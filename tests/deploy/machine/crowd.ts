/**
 * Many clients, run inside a machine: `crowd.ts HOSTNAME KIND COUNT [BYTES]`. The kinds:
 *
 * - `unread`: COUNT clients send BYTES bytes, half-close, and read nothing, until the program is killed.
 * - `idle`: COUNT clients connect, and do nothing, until the program is killed.
 * - `short`: COUNT clients send a few bytes and wait until the server closes or resets the connection.
 * - `good`: a client every 100 ms for COUNT seconds. Prints the outcome as JSON.
 * - `steady`: COUNT clients at a time, until the file `/run/enough` exists. Prints the outcome as JSON.
 *
 * @module
 */

// The clients that get their bytes back are those of `echo`. The others break off in the middle, which a client that
// half-closes and compares does not.
import { pattern, readToEof, writeAll } from "../../support/tcp_client.ts";
import { echo, Load } from "../load.ts";

/** Connections that are opened at a time. */
const AT_A_TIME = 50;

/** What happened to clients that expect their bytes back. */
export interface Outcome {
  /** How many got their bytes back. */
  served: number;
  /** What went wrong with the others. */
  failures: string[];
}

/** Clients that send a message, half-close, and read nothing. Resolves when all have half-closed or were dropped. */
async function unread(hostname: string, count: number, bytes: number): Promise<Deno.Conn[]> {
  const message = new Uint8Array(bytes);
  return await open(hostname, count, async (conn) => {
    await writeAll(conn, message);
    await conn.closeWrite();
  });
}

/** Opens connections, and calls a function with each. */
async function open(
  hostname: string,
  count: number,
  each: (conn: Deno.Conn) => Promise<void> = () => Promise.resolve(),
): Promise<Deno.Conn[]> {
  const conns: Deno.Conn[] = [];
  let opened = 0;
  await Promise.all(Array.from({ length: AT_A_TIME }, async () => {
    while (opened++ < count) {
      try {
        const conn = await Deno.connect({ hostname, port: 4000 });
        conns.push(conn);
        await each(conn);
      } catch {
        // It was dropped because of a limit.
      }
    }
  }));
  return conns;
}

/** A client every 100 ms, each with a few bytes. */
async function good(hostname: string, seconds: number): Promise<Outcome> {
  const clients: ReturnType<typeof echo>[] = [];
  for (let i = 0; i < seconds * 10; i++) {
    clients.push(echo({ hostname, port: 4000 }, pattern(i % 5 * 100, i)));
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const failures = (await Promise.all(clients)).filter((failure) => failure !== undefined);
  return { served: clients.length - failures.length, failures: failures.map(({ reason }) => reason) };
}

/** Clients that send a few bytes and wait until the server closes or resets the connection. */
async function short(hostname: string, count: number): Promise<void> {
  const conns = await open(hostname, count, async (conn) => {
    await writeAll(conn, pattern(3));
    await readToEof(conn);
  });
  for (const conn of conns) conn.close();
}

/** Clients that connect one after the other, several at a time. */
async function steady(hostname: string, count: number): Promise<Outcome> {
  const load = new Load({ hostname, port: 4000 }, count, 4096);
  console.log("running");
  while (!await exists("/run/enough")) await new Promise((resolve) => setTimeout(resolve, 20));
  await load.stop();
  return { served: load.served.length, failures: load.failures.map(({ reason }) => reason) };
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}

async function hold(conns: Deno.Conn[]): Promise<void> {
  console.log(`holding ${conns.length}`);
  await new Promise(() => setInterval(() => conns.length, 60_000));
}

if (import.meta.main) {
  const [hostname = "", kind, ...numbers] = Deno.args;
  const [count = 0, bytes = 0] = numbers.map(Number);
  if (kind === "unread") await hold(await unread(hostname, count, bytes));
  else if (kind === "idle") await hold(await open(hostname, count));
  else if (kind === "short") await short(hostname, count);
  else console.log(JSON.stringify(await (kind === "good" ? good : steady)(hostname, count)));
}
