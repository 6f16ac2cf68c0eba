import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BufferPool, type Bytes } from "../../lib/buffer_pool.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Acquires a buffer that the limit is known to allow. */
function acquire(pool: BufferPool, index: number): Bytes {
  const buffer = pool.acquire(index);
  if (buffer === undefined) throw new Error(`buffer ${index} was refused`);
  return buffer;
}

/** Lets no memory be allocated until disposed of. */
function failAllocations(): Disposable {
  const { ArrayBuffer, Uint8Array } = globalThis;
  const construct = () => {
    throw new RangeError("Array buffer allocation failed");
  };
  globalThis.ArrayBuffer = new Proxy(ArrayBuffer, { construct });
  globalThis.Uint8Array = new Proxy(Uint8Array, { construct });
  return { [Symbol.dispose]: () => void Object.assign(globalThis, { ArrayBuffer, Uint8Array }) };
}

Deno.test("BufferPool.acquire() starts small and grows to 1 MiB", () => {
  const pool = new BufferPool();
  const sizes = [0, 1, 2, 3, 4, 5, 1000].map((index) => acquire(pool, index).length);
  assertEquals(sizes, [4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, MiB, MiB]);
  assertEquals(pool.acquiredBytes, 340 * KiB + 3 * MiB);
});

Deno.test("BufferPool.acquire() acquires up to its limit exactly, and no byte more", () => {
  const pool = new BufferPool(20 * KiB);
  acquire(pool, 0);
  acquire(pool, 1);
  assertEquals(pool.acquiredBytes, pool.limit);

  const tight = new BufferPool(20 * KiB - 1);
  acquire(tight, 0);
  assertEquals(tight.acquire(1), undefined);
  assertEquals(tight.acquiredBytes, 4 * KiB, "a refused buffer is not counted");
});

Deno.test("BufferPool.acquire() never refuses a first buffer", () => {
  const pool = new BufferPool(0);
  for (let i = 1; i <= 1000; i++) {
    acquire(pool, 0);
    assertEquals(pool.acquiredBytes, i * 4 * KiB);
  }
  assertEquals(pool.acquire(1), undefined);
});

Deno.test("BufferPool.acquire() counts nothing if the allocation fails", () => {
  const pool = new BufferPool(Infinity, 16 * KiB);
  {
    using _ = failAllocations();
    for (const index of [0, 1]) assertThrows(() => pool.acquire(index), RangeError, "allocation failed");
  }
  assertEquals(pool.acquiredBytes, 0);
  // The free bytes are right, too: one of two buffers is kept.
  const buffers = [acquire(pool, 1), acquire(pool, 1)];
  for (const buffer of buffers) pool.release(buffer);
  assertEquals(buffers.map(({ buffer }) => buffer.detached), [false, true]);
  assertEquals(acquire(pool, 0).length, 4 * KiB);
});

Deno.test("BufferPool.release() returns a buffer's bytes to the limit", () => {
  const pool = new BufferPool(MiB);
  const buffer = acquire(pool, 4);
  assertEquals(pool.acquire(4), undefined);
  pool.release(buffer);
  assertEquals(pool.acquiredBytes, 0);
  acquire(pool, 4);
});

Deno.test("BufferPool.acquire() reuses the buffer that was released last", () => {
  const pool = new BufferPool();
  for (const index of [0, 1, 2, 3, 4]) {
    const [one, other] = [acquire(pool, index), acquire(pool, index)];
    assertNotStrictEquals(one, other);
    pool.release(one);
    pool.release(other);
    assertStrictEquals(acquire(pool, index), other);
    assertStrictEquals(acquire(pool, index), one);
  }
});

Deno.test("BufferPool.release() keeps at most maxFreeBytes and frees the rest at once", () => {
  const pool = new BufferPool(Infinity, 4 * MiB);
  const buffers = Array.from({ length: 6 }, () => acquire(pool, 4));
  for (const buffer of buffers) pool.release(buffer);
  assertEquals(pool.acquiredBytes, 0);
  assertEquals(buffers.map(({ buffer }) => buffer.detached), [false, false, false, false, true, true]);

  // A buffer that is acquired again does not count as free.
  pool.release(acquire(pool, 4));
  assertEquals(buffers.filter(({ buffer }) => buffer.detached).length, 2);
  const large = acquire(pool, 4);
  const small = acquire(pool, 1);
  pool.release(small);
  assert(!small.buffer.detached);
  pool.release(large);
  assert(large.buffer.detached, "3 MiB, 16 KiB and 1 MiB are more than 4 MiB");
});

Deno.test("BufferPool.release() keeps every first buffer, and does not count them as free bytes", () => {
  const pool = new BufferPool(Infinity, 16 * KiB);
  const buffers = Array.from({ length: 1000 }, () => acquire(pool, 0));
  for (const buffer of buffers) pool.release(buffer);
  const [larger, another] = [acquire(pool, 1), acquire(pool, 1)];
  pool.release(larger);
  pool.release(another);
  assert(!larger.buffer.detached);
  assert(another.buffer.detached);
  assertEquals(new Set(buffers.map(() => acquire(pool, 0))), new Set(buffers));
  assertEquals(acquire(pool, 1), larger);
  assertEquals(pool.acquiredBytes, 1000 * 4 * KiB + 16 * KiB);
});

Deno.test("BufferPool never hands out a byte twice, and counts the acquired bytes", () => {
  const step = fc.record({ acquires: fc.boolean(), which: fc.nat(9) });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const pool = new BufferPool(3 * MiB);
    const acquired: { buffer: Bytes; mark: number }[] = [];
    steps.forEach((step, mark) => {
      if (step.acquires) {
        const buffer = pool.acquire(step.which % 6);
        if (buffer === undefined) return;
        buffer[0] = buffer[buffer.length - 1] = mark;
        acquired.push({ buffer, mark });
      } else {
        const [released] = acquired.splice(step.which % Math.max(acquired.length, 1), 1);
        if (released !== undefined) pool.release(released.buffer);
      }
      assertEquals(pool.acquiredBytes, acquired.reduce((sum, { buffer }) => sum + buffer.length, 0));
      for (const { buffer, mark } of acquired) assertEquals([buffer[0], buffer.at(-1)], [mark, mark]);
    });
  }));
});
