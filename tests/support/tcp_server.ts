/**
 * A server that does with its clients what a test says.
 *
 * @module
 */

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Address } from "./program.ts";

/** A server on a free port of 127.0.0.1. Disposing of it closes its connections. */
export class TcpServer implements AsyncDisposable {
  readonly #listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  readonly #conns = new Set<Deno.TcpConn>();
  readonly #running: Promise<void>;

  /** @param serve What it does with each client. The connection is closed at its end, or when it rejects. */
  constructor(serve: (conn: Deno.TcpConn) => Promise<unknown>) {
    this.#running = this.#accept(serve);
  }

  /** Where clients connect to. */
  get address(): Address {
    const { hostname, port } = this.#listener.addr;
    return { hostname, port };
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    for (const conn of this.#conns) conn[Symbol.dispose]();
    await this.#running;
  }

  async #accept(serve: (conn: Deno.TcpConn) => Promise<unknown>): Promise<void> {
    for await (const conn of this.#listener) {
      this.#conns.add(conn);
      serve(conn).catch(() => {}).finally(() => conn[Symbol.dispose]()); // not awaited: it may wait for ever
    }
  }
}

/** A server that can end a connection with a reset (RST). It uses `node:net`, since a `Deno.Conn` cannot do it. */
export async function startResettingServer(
  serve: (socket: Socket) => void,
): Promise<AsyncDisposable & { address: Address }> {
  const server = createServer({ allowHalfOpen: true }, (socket) => serve(socket.on("error", () => {})));
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: { hostname: "127.0.0.1", port },
    [Symbol.asyncDispose]: async () => void await once(server.close(), "close"),
  };
}
