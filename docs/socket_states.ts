/**
 * The states of both ends of a connection, taken by ss(8) while the server serves one client and drops another.
 *
 * @module
 */

import { output } from "../tests/support/commands.ts";
import { Program } from "../tests/support/program.ts";
import { readToEof } from "../tests/support/tcp_client.ts";
import { until } from "../tests/support/wait.ts";

/** The state of the client's end, that of the server's end, and the number of connections in the backlog. */
type States = [client: string, server: string, backlog: number];

/** The states at this moment. An end that the kernel keeps nothing of is in the state `none`. */
async function states(port: number, clientPort: number): Promise<States> {
  const found: States = ["none", "none", 0];
  for (const line of (await output("ss", "-tanH", `sport = :${port} or dport = :${port}`)).trim().split("\n")) {
    const [state = "", received = "", , local = "", peer = ""] = line.split(/\s+/);
    if (state === "LISTEN") found[2] = Number(received); // for a listener this column counts connections
    else if (local.endsWith(`:${clientPort}`)) found[0] = state;
    else if (peer.endsWith(`:${clientPort}`)) found[1] = state;
  }
  return found;
}

/**
 * Runs the server and two clients, and reads the states after each step.
 *
 * @returns A table in Markdown.
 * @throws {Error} If a state does not become what it is expected to be.
 */
export async function stateTable(): Promise<string> {
  const rows: string[] = [];
  await using program = await Program.start({ flags: ["--idle-timeout=0.2"] });
  const { port } = program.address;
  const expect = async (clientPort: number, step: string, expected: States) => {
    let found: States | undefined;
    await until(
      async () => `${found = await states(port, clientPort)}` === `${expected}`,
      () => `the states ${expected} when ${step}, not ${found}`,
    );
    rows.push(`| ${step} | ${expected.join(" | ")} |`);
  };

  {
    using conn = await program.whileStopped(async () => {
      const conn = await Deno.connect({ port });
      const { port: client } = conn.localAddr;
      await expect(client, "The client has connected, the server has not called `accept` yet", ["ESTAB", "ESTAB", 1]);
      await conn.closeWrite();
      await expect(client, "The client has half-closed", ["FIN-WAIT-2", "CLOSE-WAIT", 1]);
      return conn;
    });
    await readToEof(conn);
    await expect(conn.localAddr.port, "The server has accepted, echoed and closed", ["TIME-WAIT", "none", 0]);
  }
  const conn = await Deno.connect({ port });
  const { port: client } = conn.localAddr;
  await expect(client, "Another client is dropped at `--idle-timeout`", ["CLOSE-WAIT", "FIN-WAIT-2", 0]);
  conn.close();
  await expect(client, "It closes", ["none", "TIME-WAIT", 0]);
  return `| step | client's end | server's end | backlog |\n| --- | --- | --- | ---: |\n${rows.join("\n")}`;
}
