/**
 * What a client of a TCP server does, well-behaved and not.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { Client } from "../../verify/client.ts";
import { type Content, Pattern } from "../../verify/content.ts";
import { describe } from "../../verify/diagnosis.ts";
import type { Address } from "./program.ts";

/**
 * Writes all bytes.
 *
 * @param conn Where they go.
 * @param bytes The bytes.
 */
export async function writeAll(conn: Deno.Conn, bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await conn.write(rest));
}

/**
 * Reads until EOF.
 *
 * @param conn Where from.
 * @returns The bytes.
 */
export async function readToEof(conn: Deno.Conn): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for (let buffer = new Uint8Array(65_536);;) {
    const bytes = await conn.read(buffer);
    if (bytes === null) break;
    parts.push(buffer.subarray(0, bytes));
    length += bytes;
    buffer = buffer.subarray(bytes);
    if (buffer.length === 0) buffer = new Uint8Array(1_048_576);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** The bytes of a message that is given. */
export class Bytes implements Content {
  #rest: Uint8Array;

  /** @param message The message. */
  constructor(message: Uint8Array) {
    this.#rest = message;
  }

  /** Fills a buffer with the next bytes, and returns it. */
  fill(buffer: Uint8Array): Uint8Array {
    buffer.set(this.#rest.subarray(0, buffer.length));
    this.#rest = this.#rest.subarray(buffer.length);
    return buffer;
  }
}

/**
 * Sends a message whole, half-closes, and only then reads until EOF.
 *
 * @param address The server's.
 * @param message What is sent.
 * @returns What came back: the message, or its beginning.
 * @throws {Error} If other bytes come back, or the connection breaks.
 */
export async function roundTrip(address: Address, message: Uint8Array): Promise<Uint8Array> {
  using client = await Client.connect(address);
  const content = () => new Bytes(message);
  const outcome = await client.exchange({ size: message.length, content, readAfterMs: 0 });
  if (outcome.end !== "eof") throw outcome.error ?? new Error(describe(outcome, 0));
  return message.subarray(0, outcome.received);
}

/**
 * Waits until the server has closed or reset the connection. What it sent is discarded.
 *
 * @param conn The connection.
 * @returns Whether it was closed or reset.
 */
export async function waitForClose(conn: Deno.Conn): Promise<"closed" | "reset"> {
  try {
    await readToEof(conn);
    return "closed";
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionReset) return "reset";
    throw error;
  }
}

/** The first bytes of a {@linkcode Pattern}. */
export function pattern(length: number, seed: number = 0): Uint8Array<ArrayBuffer> {
  return new Pattern(seed).fill(new Uint8Array(length));
}

/** Whether both have the same bytes: `assertEquals` for messages too large to be printed. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** A client that can end with a reset (RST). It uses `node:net`, since a `Deno.Conn` cannot do it. */
export class ResettingClient {
  readonly #socket: Socket;
  readonly #closed: Promise<void>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#closed = new Promise((resolve) => socket.once("close", () => resolve()));
    socket.on("error", () => {}); // the server may reset it, too
  }

  /** Connects. */
  static async connect(address: Address): Promise<ResettingClient> {
    const socket = connect({ host: address.hostname, port: address.port, allowHalfOpen: true });
    await new Promise((resolve, reject) => socket.once("connect", resolve).once("error", reject));
    return new ResettingClient(socket);
  }

  /** Sends bytes; resolves when the kernel has taken them. */
  write(bytes: Uint8Array): Promise<void> {
    return new Promise((resolve) => this.#socket.write(bytes, () => resolve()));
  }

  /** Half-closes. */
  end(): Promise<void> {
    return new Promise((resolve) => this.#socket.end(() => resolve()));
  }

  /** Resolves when the first bytes have come. No more is read after them. */
  firstBytes(): Promise<void> {
    return new Promise((resolve) => this.#socket.once("data", () => resolve(void this.#socket.pause())));
  }

  /** Ends the connection with a reset. */
  reset(): Promise<void> {
    this.#socket.resetAndDestroy();
    return this.#closed;
  }
}
