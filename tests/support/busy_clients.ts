/**
 * Clients that send without pause and never half-close. They run in processes of their own: in the process of a test
 * they would delay what the test measures.
 *
 * @module
 */

import { ROOT } from "./commands.ts";
import type { Address } from "./program.ts";
import { StreamLines } from "./stream_lines.ts";
import { writeAll } from "./tcp_client.ts";

/** Processes that share the clients. With fewer the bottleneck would be the clients, and most would have to wait. */
const PROCESSES = 4;

/** Bytes of one write: few, so that the server has much to do and little to buffer. */
const WRITE_BYTES = 1;

/** Clients that keep a server busy. Disposing of them closes their connections. */
export class BusyClients implements AsyncDisposable {
  readonly #processes: { child: Deno.ChildProcess; stdout: StreamLines }[];

  private constructor(address: Address, count: number) {
    this.#processes = Array.from({ length: PROCESSES }, (_, i) => {
      const share = Math.floor((count + i) / PROCESSES);
      const script = `${ROOT}tests/support/busy_clients.ts`;
      const args = ["run", "--no-prompt", "--allow-net", script, address.hostname, `${address.port}`, `${share}`];
      const child = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, stdin: "null", stdout: "piped" }).spawn();
      return { child, stdout: new StreamLines(child.stdout) };
    });
  }

  /**
   * Starts them.
   *
   * @param address Where they connect to.
   * @param count How many there are.
   * @returns Resolves when all are connected and send.
   */
  static async start(address: Address, count: number): Promise<BusyClients> {
    const clients = new BusyClients(address, count);
    try {
      await Promise.all(clients.#processes.map(({ stdout }) => stdout.find(/^sending$/)));
      return clients;
    } catch (error) {
      await clients[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Ends them. */
  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#processes.map(async ({ child, stdout }) => {
      try {
        child.kill("SIGKILL");
      } catch {
        // It has ended.
      }
      await child.status;
      await stdout.ended;
    }));
  }
}

async function send(conn: Deno.Conn, bytes: Uint8Array): Promise<never> {
  for (;;) await writeAll(conn, bytes);
}

if (import.meta.main) {
  const [hostname = "", port, count] = Deno.args;
  const conns: Deno.Conn[] = [];
  for (let i = 0; i < Number(count); i++) conns.push(await Deno.connect({ hostname, port: Number(port) }));
  for (const conn of conns) send(conn, new Uint8Array(WRITE_BYTES)).catch(() => conn.close()); // the server has dropped it
  console.log("sending");
}
