/**
 * Memory for messages, under one limit for all clients.
 *
 * @module
 */

/** Bytes of a message's first buffer. */
const FIRST_SIZE = 4096;

/** Bytes of every buffer from the fifth on. */
const LARGEST_SIZE = 1_048_576;

/** Bytes of a message's first buffers; the others are of the largest size. */
const SIZES = [FIRST_SIZE, 16_384, 65_536, 262_144, LARGEST_SIZE];

/** First buffers are cut from slabs of this many bytes, whose pages become resident only when they are written to. */
const SLAB_SIZE = 1_048_576;

/**
 * Bytes of released buffers that are kept for the next message, not counting first buffers, which are always kept. What
 * is released beyond that is freed. glibc returns it to the system if it came from mmap: after 9,000 clients of 60 kB 831 MiB stayed resident, and 451 with
 * `MALLOC_MMAP_THRESHOLD_=65536` in the environment (mallopt(3)).
 */
const MAX_FREE_BYTES = 67_108_864;

/** A buffer that owns its memory, or a slice of one. */
export type Bytes = Uint8Array<ArrayBuffer>;

/**
 * Hands out buffers to messages and takes them back.
 *
 * A message's first buffer is small and never refused, so a small message is served however much memory others hold.
 * Later ones grow with the message, and are refused when all acquired buffers together would exceed the limit.
 *
 * @example Acquire and release
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { BufferPool } from "./buffer_pool.ts";
 *
 * const pool = new BufferPool(8192);
 * const first = pool.acquire(0);
 * assertEquals(first?.length, 4096);
 * assertEquals(pool.acquire(1), undefined); // 4 KiB + 16 KiB would exceed 8 KiB
 * if (first) pool.release(first);
 * assertEquals(pool.acquiredBytes, 0);
 * ```
 */
export class BufferPool {
  readonly #free = new Map<number, Bytes[]>(SIZES.map((size) => [size, []]));
  #freeBytes = 0;
  #acquiredBytes = 0;

  /**
   * Makes a pool with all buffers free.
   *
   * @param limit Bytes that all acquired buffers together may have.
   * @param maxFreeBytes Bytes of released buffers that are kept.
   */
  constructor(readonly limit: number = Infinity, private readonly maxFreeBytes: number = MAX_FREE_BYTES) {}

  /** Bytes of all buffers that are acquired at this moment. */
  get acquiredBytes(): number {
    return this.#acquiredBytes;
  }

  /**
   * Acquires a message's next buffer.
   *
   * @param index How many buffers the message has acquired before.
   * @returns The buffer, with arbitrary content; `undefined` if it would exceed the limit.
   */
  acquire(index: number): Bytes | undefined {
    const size = SIZES[index] ?? LARGEST_SIZE;
    if (size !== FIRST_SIZE && this.#acquiredBytes + size > this.limit) return undefined;
    const free = this.#free.get(size);
    if (size === FIRST_SIZE && free?.length === 0) this.#cutSlab(free);
    const reused = free?.pop();
    if (reused !== undefined && size !== FIRST_SIZE) this.#freeBytes -= size;
    const buffer = reused ?? new Uint8Array(size);
    this.#acquiredBytes += size; // after the allocation, which may throw
    return buffer;
  }

  /**
   * Takes back a buffer that {@linkcode BufferPool.acquire} has returned. The caller must not touch it any more.
   */
  release(buffer: Bytes): void {
    this.#acquiredBytes -= buffer.length;
    const isFirst = buffer.length === FIRST_SIZE;
    if (isFirst || this.#freeBytes + buffer.length <= this.maxFreeBytes) {
      this.#free.get(buffer.length)?.push(buffer); // the last released is acquired first: its pages are resident
      if (!isFirst) this.#freeBytes += buffer.length;
    } else {
      buffer.buffer.transfer(0); // freed at once: the garbage collector would take longer than the next allocation
    }
  }

  #cutSlab(free: Bytes[]): void {
    const slab = new ArrayBuffer(SLAB_SIZE);
    for (let at = SLAB_SIZE - FIRST_SIZE; at >= 0; at -= FIRST_SIZE) free.push(new Uint8Array(slab, at, FIRST_SIZE));
  }
}
