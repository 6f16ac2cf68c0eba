/**
 * Two servers that share port 4000, and clients of which they may lose none.
 *
 * It is a program (`shared_port.ts restart` or `kill`), to be run in a network namespace: what happens to the connections
 * in the backlog of a server that exits depends on a setting of the namespace. It prints the outcome as JSON.
 *
 * @module
 */

import { parseLines } from "../support/access_log_lines.ts";
import { output } from "../support/commands.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { until } from "../support/wait.ts";
import { Load, loggedSizes } from "./load.ts";

const ADDRESS = { hostname: "127.0.0.1", port: 4000 };

/** What happened to the clients. */
export interface Outcome {
  /** Bytes of each message that was echoed, in ascending order. */
  served: number[];
  /** Bytes in each line of both logs, in ascending order. */
  logged: number[];
  /** Clients that had connected, and did not get their bytes back. */
  lost: number;
  /** Clients that were reset while they connected. */
  notConnected: number;
}

/** Restarts the two in turn, several times, under load. */
async function restart(logs: string[], cleanup: AsyncDisposableStack): Promise<Outcome> {
  const programs = new Map<string, Program>();
  const start = async (log: string) => {
    const flags = ["--reuse-port"];
    programs.set(log, cleanup.use(await Program.start({ ...ADDRESS, accessLog: log, flags })));
  };
  for (const log of logs) await start(log);
  const load = cleanup.use(new Load(ADDRESS, 32, 20_000));
  for (const log of [...logs, ...logs, ...logs]) {
    await load.serves(200);
    programs.get(log)?.kill("SIGTERM");
    await programs.get(log)?.exit();
    await start(log);
  }
  await load.serves(200);
  await load.stop();
  return {
    served: load.served,
    logged: loggedSizes(logs.flatMap((log) => parseLines(Deno.readTextFileSync(log)))),
    lost: load.failures.filter(({ port }) => port !== 0).length,
    notConnected: load.failures.filter(({ port }) => port === 0).length,
  };
}

/** Kills one of the two while connections are in its backlog. */
async function kill(logs: string[], cleanup: AsyncDisposableStack): Promise<Outcome> {
  const [first, second] = await Promise.all(
    logs.map(async (accessLog) => cleanup.use(await Program.start({ ...ADDRESS, accessLog, flags: ["--reuse-port"] }))),
  );
  if (first === undefined || second === undefined) throw new Error("there must be two logs");
  first.kill("SIGSTOP"); // so that it accepts no client
  await until(async () => (await output("cat", `/proc/${first.pid}/stat`)).includes(") T "));
  const conns: Deno.TcpConn[] = [];
  while (conns.length < 64) conns.push(cleanup.use(await Deno.connect(ADDRESS)));
  first.kill("SIGKILL");
  await first.exit();
  const served: number[] = [];
  for (const [i, conn] of conns.entries()) {
    try {
      await writeAll(conn, pattern(i));
      await conn.closeWrite();
      served.push((await readToEof(conn)).length);
    } catch (error) {
      // Any error of the system counts as lost; others are defects of this program.
      if (!(error instanceof Error) || !("code" in error)) throw error;
    }
  }
  return { served, logged: loggedSizes(second.lines()), lost: conns.length - served.length, notConnected: 0 };
}

if (import.meta.main) {
  await using cleanup = new AsyncDisposableStack();
  const { path: folder } = cleanup.use(new TemporaryFolder("echo-shared-port-"));
  const logs = [`${folder}/1/access.log`, `${folder}/2/access.log`];
  console.log(JSON.stringify(await (Deno.args[0] === "kill" ? kill : restart)(logs, cleanup)));
}
