/**
 * Echo servers that are wrong on purpose, each in one way. They use `node:net`, since a `Deno.Conn` cannot reset.
 *
 * @module
 */

import { once } from "node:events";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import type { Address } from "./program.ts";
import { delay } from "./wait.ts";

/** Milliseconds that a server takes to answer, if that matters: long enough for all clients that are there at once. */
const THINKING_MS = 100;

/** Bytes of the buffers of the servers that have some. */
const BUFFER_BYTES = 65_536;

/** What a server does with a client. */
type Serve = (socket: Socket) => Promise<unknown>;

/** What is wrong, and what a server with that fault does with a client. */
export const FAULTS = {
  "drops the last byte": async (socket) => socket.end((await message(socket)).subarray(0, -1)),

  "repeats the last byte of a buffer": async (socket) => {
    const whole = await message(socket);
    for (let at = 0; at < whole.length; at += BUFFER_BYTES) {
      socket.write(whole.subarray(Math.max(0, at - 1), at + BUFFER_BYTES));
    }
    socket.end();
  },

  "echoes at once": (socket) => once(socket.pipe(socket), "close"),

  "closes both directions at the half-close": async (socket) => {
    await message(socket);
    socket.destroy();
  },

  "answers all clients from one buffer": async (socket) => {
    sharedBuffer = await message(socket);
    await delay(THINKING_MS);
    socket.end(sharedBuffer);
  },

  "resets instead of closing": async (socket) => {
    const whole = await message(socket);
    if (whole.length > 0) await new Promise((resolve) => socket.write(whole, resolve));
    await delay(THINKING_MS); // a reset discards what was not sent yet
    socket.resetAndDestroy();
  },

  "stops reading when its buffer is full": async (socket) => socket.end(await message(socket, BUFFER_BYTES)),

  "never answers": (socket) => message(socket),
} as const satisfies Record<string, Serve>;

/** What is wrong with a server. */
export type Fault = keyof typeof FAULTS;

/** What "answers all clients from one buffer" answers from. */
let sharedBuffer: Uint8Array = new Uint8Array();

/** A server that is wrong. */
export class WrongServer implements AsyncDisposable {
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();

  private constructor(serve: Serve) {
    this.#server = createServer({ allowHalfOpen: true }, (socket) => {
      this.#sockets.add(socket);
      socket.on("error", () => {}); // a client that has seen enough closes
      serve(socket).catch(() => socket.destroy());
    });
  }

  /** Starts it. */
  static async start(fault: Fault): Promise<WrongServer> {
    const server = new WrongServer(FAULTS[fault]);
    server.#server.listen(0, "127.0.0.1");
    await once(server.#server, "listening");
    return server;
  }

  /** Where clients connect to. */
  get address(): Address {
    const { address, port } = this.#server.address() as AddressInfo;
    return { hostname: address, port };
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
    await once(this.#server, "close");
  }
}

/** Receives a message until the half-close. With more bytes than `max` it does not read on. */
async function message(socket: Socket, max: number = Infinity): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const part of socket.iterator({ destroyOnReturn: false })) {
    parts.push(part);
    length += part.length;
    if (length > max) await once(socket, "close");
  }
  return concatenate(parts, length);
}

function concatenate(parts: Uint8Array[], length: number): Uint8Array {
  const whole = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
