/**
 * Memory for messages: chunks on loan, under one ceiling for all clients.
 *
 * @module
 */

/** Bytes in the first chunk of a message. */
const FIRST_SIZE = 4096;

/** Bytes in each chunk after the first, up to the largest. */
const LATER_SIZES = [16_384, 65_536, 262_144];

/** Bytes in every chunk after those. */
const LARGEST_SIZE = 1_048_576;

/** First chunks are cut from slabs of this many bytes: a page of a slab costs nothing until a byte is received into it. */
const SLAB_SIZE = 1_048_576;

/**
 * Bytes of returned chunks kept for the next message. What is returned beyond them is freed. glibc gives it back to the
 * system if it had asked for it by mmap: after 9,000 clients of 60 kB 831 MiB stayed resident, and 451 with
 * `MALLOC_MMAP_THRESHOLD_=65536` in the environment (mallopt(3)).
 */
const KEPT_LIMIT = 67_108_864;

/** A piece of memory on loan. */
export type Chunk = Uint8Array<ArrayBuffer>;

/**
 * Lends chunks of memory to messages and takes them back.
 *
 * A message's first chunk is small and never refused, so a client that says little is served however much the others
 * hold. Later chunks grow with the message, and are lent only while all chunks on loan stay under the limit.
 *
 * @example Borrow and return
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { ChunkPool } from "./chunk_pool.ts";
 *
 * const pool = new ChunkPool(8192);
 * const first = pool.lend(0);
 * assertEquals(first?.length, 4096);
 * assertEquals(pool.lend(1), undefined); // 4 KiB + 16 KiB would pass 8 KiB
 * if (first) pool.giveBack(first);
 * assertEquals(pool.lent, 0);
 * ```
 */
export class ChunkPool {
  /** Bytes on loan at this moment, over all messages. */
  lent = 0;

  /** Bytes that all chunks on loan may come to. */
  readonly limit: number;

  readonly #first = new Shelf(FIRST_SIZE);
  readonly #largest = new Shelf(LARGEST_SIZE);
  readonly #shelves = [this.#first, ...LATER_SIZES.map((size) => new Shelf(size)), this.#largest];
  #keptBytes = 0; // on all shelves but the first

  /**
   * Makes a pool that has nothing on loan.
   *
   * @param limit Bytes that all chunks on loan may come to. Without one: no limit.
   */
  constructor(limit: number = Infinity) {
    this.limit = limit;
  }

  /**
   * Lends a message's chunk number `index`, counted from 0.
   *
   * @param index How many chunks the message holds already.
   * @returns The chunk, its bytes being whatever was there before; or `undefined` if lending it would pass the limit.
   */
  lend(index: number): Chunk | undefined {
    const shelf = this.#shelves[index] ?? this.#largest;
    if (shelf !== this.#first && this.lent + shelf.size > this.limit) return undefined;
    const kept = shelf.chunks.pop();
    const chunk = kept ?? (shelf === this.#first ? this.#cutSlab() : new Uint8Array(shelf.size));
    if (kept !== undefined && shelf !== this.#first) this.#keptBytes -= shelf.size;
    this.lent += shelf.size; // only now: an allocation may throw
    return chunk;
  }

  /**
   * Takes a chunk back. The caller must not touch it any more.
   *
   * @param chunk A chunk that this pool has lent.
   */
  giveBack(chunk: Chunk): void {
    this.lent -= chunk.length;
    if (chunk.length === FIRST_SIZE) {
      this.#first.chunks.push(chunk);
      return;
    }
    const shelf = this.#shelves.find(({ size }) => size === chunk.length);
    if (shelf !== undefined && this.#keptBytes + chunk.length <= KEPT_LIMIT) {
      this.#keptBytes += chunk.length;
      shelf.chunks.push(chunk);
    } else {
      chunk.buffer.transfer(0); // freed now: the collector would find it later than the next is needed
    }
  }

  /** Cuts a slab into first chunks: shelves all but one and returns that one. */
  #cutSlab(): Chunk {
    const slab = new ArrayBuffer(SLAB_SIZE);
    for (let at = SLAB_SIZE - FIRST_SIZE; at > 0; at -= FIRST_SIZE) {
      this.#first.chunks.push(new Uint8Array(slab, at, FIRST_SIZE));
    }
    return new Uint8Array(slab, 0, FIRST_SIZE);
  }
}

/** Chunks of one size that nobody borrows. The last returned is the first lent: its pages are in memory already. */
class Shelf {
  readonly chunks: Chunk[] = [];
  constructor(readonly size: number) {}
}
