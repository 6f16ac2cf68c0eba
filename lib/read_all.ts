/**
 * Reads one message to its end.
 *
 * @module
 */

import type { Chunk, ChunkPool } from "./chunk_pool.ts";

/** What a message is read from. `Deno.Conn` is one. */
export interface Reader {
  /**
   * Reads some bytes into `buffer`.
   *
   * @param buffer Where the bytes go.
   * @returns How many bytes were read, or `null` at the end.
   */
  read(buffer: Uint8Array): Promise<number | null>;
}

/** Thrown when a message grows past the largest that is allowed. */
export class MessageTooLarge extends Error {
  /** Tells it from other errors. */
  override readonly name = "MessageTooLarge";
}

/** Thrown when a message's next chunk would pass what all messages together may hold. */
export class BuffersFull extends Error {
  /** Tells it from other errors. */
  override readonly name = "BuffersFull";
}

/**
 * The bytes of one message, in chunks on loan from a pool.
 *
 * A chunk is filled to the brim before the next is borrowed: memory follows the bytes received, not the packets that
 * they came in. Disposing of the message gives back what it still holds.
 */
export class Message implements Disposable {
  /** Bytes received so far. */
  length = 0;

  readonly #pool: ChunkPool;
  #chunks: Chunk[] = [];
  #filled = 0; // bytes received into the last chunk
  #first = 0; // chunks before this one have been given back

  /**
   * Makes an empty message.
   *
   * @param pool Where the chunks come from and go back to.
   */
  constructor(pool: ChunkPool) {
    this.#pool = pool;
  }

  /**
   * The room behind the bytes received: the rest of the last chunk, or a new one.
   *
   * @returns At least one byte of room.
   * @throws {BuffersFull} When a chunk is needed that the pool does not lend.
   */
  room(): Chunk {
    const last = this.#chunks.at(-1);
    if (last !== undefined && this.#filled < last.length) return last.subarray(this.#filled);
    const chunk = this.#pool.lend(this.#chunks.length);
    if (chunk === undefined) throw new BuffersFull(`all messages together may hold ${this.#pool.limit} bytes`);
    if (this.#chunks.length === 0) this.#chunks = [chunk]; // push would make room for 17, in every idle client
    else this.#chunks.push(chunk);
    this.#filled = 0;
    return chunk;
  }

  /**
   * Counts bytes that were read into {@linkcode Message.room}.
   *
   * @param bytes How many; no more than there was room for.
   */
  grow(bytes: number): void {
    this.#filled += bytes;
    this.length += bytes;
  }

  /**
   * The received bytes of the first chunk that has not been dropped.
   *
   * @returns The bytes, or `undefined` when there are none left.
   */
  front(): Chunk | undefined {
    const chunk = this.#chunks[this.#first];
    const isLast = this.#first === this.#chunks.length - 1;
    if (!isLast) return chunk; // full, or there is none
    return this.#filled > 0 ? chunk?.subarray(0, this.#filled) : undefined;
  }

  /** Gives back the chunk that {@linkcode Message.front} is in. */
  giveBackFront(): void {
    const chunk = this.#chunks[this.#first];
    if (chunk === undefined) return;
    this.#first++;
    this.#pool.giveBack(chunk);
  }

  /** Gives back every chunk that is left. Nothing may be reading into one. */
  [Symbol.dispose](): void {
    while (this.#first < this.#chunks.length) this.giveBackFront();
  }
}

/**
 * Reads until the end: one message, byte for byte.
 *
 * If it throws, `message` holds what had been received until then.
 *
 * @param reader Where the bytes come from.
 * @param message Where they go.
 * @param maxLength Bytes that the message may have; exactly as many still pass.
 * @throws {MessageTooLarge} When more bytes come.
 * @throws {BuffersFull} When the message's next chunk would pass the pool's limit.
 * @throws What `reader.read` rejects with.
 *
 * @example Read what a reader brings
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ChunkPool } from "./chunk_pool.ts";
 * import { Message, readAll } from "./read_all.ts";
 *
 * const parts = ["hel", "lo"];
 * const reader = {
 *   read(buffer: Uint8Array): Promise<number | null> {
 *     const part = parts.shift();
 *     return Promise.resolve(part === undefined ? null : new TextEncoder().encodeInto(part, buffer).written);
 *   },
 * };
 * using message = new Message(new ChunkPool());
 * await readAll(reader, message);
 * assertEquals(message.length, 5);
 * assertEquals(new TextDecoder().decode(message.front()), "hello");
 * ```
 */
export async function readAll(reader: Reader, message: Message, maxLength: number = Infinity): Promise<void> {
  for (;;) {
    const bytes = await reader.read(message.room());
    if (bytes === null) return;
    message.grow(bytes);
    if (message.length > maxLength) throw new MessageTooLarge(`a message may have ${maxLength} bytes`);
  }
}
