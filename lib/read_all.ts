/**
 * Reads one message to EOF.
 *
 * @module
 */

import type { BufferPool, Bytes } from "./buffer_pool.ts";

/** What a message is read from: `read` resolves with the number of bytes that it has put into the buffer, or `null` at EOF. */
export type Reader = Pick<Deno.Conn, "read">;

/** Thrown when a message exceeds a limit. */
export class LimitError extends Error {
  /** `limit` says which: `message` for the length of one message, `buffers` for the memory of all. */
  constructor(readonly limit: "message" | "buffers", message: string) {
    super(message);
  }
}

/**
 * The bytes of one message, in buffers from a pool.
 *
 * A buffer is filled before the next one is acquired: memory follows the bytes received, not the packets that they came
 * in. Disposing of the message releases the buffers that it still holds.
 */
export class Message implements Disposable {
  #buffers: Bytes[] = [];
  #lastFilled = 0; // bytes received into the last buffer
  #length = 0;

  constructor(private readonly pool: BufferPool) {}

  /** Bytes received so far. */
  get length(): number {
    return this.#length;
  }

  /**
   * The writable slice: the rest of the last buffer, or a new buffer if that is full. At least one byte.
   *
   * @throws {LimitError} If a buffer is needed that the pool refuses.
   */
  writable(): Bytes {
    const last = this.#buffers.at(-1);
    if (last !== undefined && this.#lastFilled < last.length) return last.subarray(this.#lastFilled);
    const buffer = this.pool.acquire(this.#buffers.length);
    if (buffer === undefined) {
      throw new LimitError("buffers", `the limit is ${this.pool.limit} bytes of memory for all messages`);
    }
    if (this.#buffers.length === 0) this.#buffers = [buffer]; // push() would reserve 17 places, for every idle client
    else this.#buffers.push(buffer);
    this.#lastFilled = 0;
    return buffer;
  }

  /** Counts bytes that were read into {@linkcode Message.writable}. */
  advance(bytes: number): void {
    this.#lastFilled += bytes;
    this.#length += bytes;
  }

  /** The bytes received, buffer by buffer. Each buffer is released when the next chunk is asked for. */
  *chunks(): Generator<Bytes, void, void> {
    for (let buffer = this.#buffers[0]; buffer !== undefined; buffer = this.#buffers[0]) {
      yield this.#buffers.length > 1 ? buffer : buffer.subarray(0, this.#lastFilled);
      this.#buffers.shift();
      this.pool.release(buffer);
    }
  }

  /** Releases every buffer that is left. No read or write may be pending on one. */
  [Symbol.dispose](): void {
    for (const buffer of this.#buffers.splice(0)) this.pool.release(buffer);
  }
}

/**
 * Reads until EOF: one message, byte for byte. If it throws, `message` holds what was received before.
 *
 * @param reader Where the bytes come from.
 * @param message Where they go.
 * @param maxLength Bytes that the message may have; a message of exactly this length passes.
 * @throws {LimitError} If the message is longer, or needs a buffer that the pool refuses.
 * @throws What `reader.read` rejects with.
 *
 * @example Read what a reader delivers
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BufferPool } from "./buffer_pool.ts";
 * import { Message, readAll } from "./read_all.ts";
 *
 * const parts = ["hel", "lo"];
 * const reader = {
 *   read(buffer: Uint8Array): Promise<number | null> {
 *     const part = parts.shift();
 *     return Promise.resolve(part === undefined ? null : new TextEncoder().encodeInto(part, buffer).written);
 *   },
 * };
 * using message = new Message(new BufferPool());
 * await readAll(reader, message);
 * assertEquals(message.length, 5);
 * for (const chunk of message.chunks()) assertEquals(new TextDecoder().decode(chunk), "hello");
 * ```
 */
export async function readAll(reader: Reader, message: Message, maxLength: number = Infinity): Promise<void> {
  for (;;) {
    const bytes = await reader.read(message.writable());
    if (bytes === null) return;
    message.advance(bytes);
    if (message.length > maxLength) throw new LimitError("message", `the limit is ${maxLength} bytes`);
  }
}
