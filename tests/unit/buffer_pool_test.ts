import { assert, assertEquals, assertNotStrictEquals, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { type Chunk, ChunkPool } from "../../lib/chunk_pool.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Lends a chunk that the limit is known to allow. */
function lend(pool: ChunkPool, index: number): Chunk {
  const chunk = pool.lend(index);
  if (chunk === undefined) throw new Error(`chunk ${index} was refused`);
  return chunk;
}

Deno.test("ChunkPool.lend() starts small and grows to 1 MiB", () => {
  const pool = new ChunkPool();
  const sizes = [0, 1, 2, 3, 4, 5, 1000].map((index) => lend(pool, index).length);
  assertEquals(sizes, [4 * KiB, 16 * KiB, 64 * KiB, 256 * KiB, MiB, MiB, MiB]);
  assertEquals(pool.lent, 340 * KiB + 3 * MiB);
});

Deno.test("ChunkPool.lend() lends up to its limit exactly, and no byte more", () => {
  const pool = new ChunkPool(20 * KiB);
  lend(pool, 0);
  lend(pool, 1);
  assertEquals(pool.lent, pool.limit);

  const tight = new ChunkPool(20 * KiB - 1);
  lend(tight, 0);
  assertEquals(tight.lend(1), undefined);
  assertEquals(tight.lent, 4 * KiB, "what is refused is not counted");
});

Deno.test("ChunkPool.lend() never refuses a first chunk", () => {
  const pool = new ChunkPool(0);
  for (let i = 1; i <= 1000; i++) {
    lend(pool, 0);
    assertEquals(pool.lent, i * 4 * KiB);
  }
  assertEquals(pool.lend(1), undefined);
});

Deno.test("ChunkPool.giveBack() makes room under the limit", () => {
  const pool = new ChunkPool(MiB);
  const chunk = lend(pool, 4);
  assertEquals(pool.lend(4), undefined);
  pool.giveBack(chunk);
  assertEquals(pool.lent, 0);
  lend(pool, 4);
});

Deno.test("ChunkPool.lend() lends again what came back last", () => {
  const pool = new ChunkPool();
  for (const index of [0, 1, 2, 3, 4]) {
    const [one, other] = [lend(pool, index), lend(pool, index)];
    assertNotStrictEquals(one, other);
    pool.giveBack(one);
    pool.giveBack(other);
    assertStrictEquals(lend(pool, index), other);
    assertStrictEquals(lend(pool, index), one);
  }
});

Deno.test("ChunkPool.giveBack() keeps 64 MiB for later and frees the rest at once", () => {
  const pool = new ChunkPool();
  const chunks = Array.from({ length: 70 }, () => lend(pool, 4));
  for (const chunk of chunks) pool.giveBack(chunk);
  assertEquals(pool.lent, 0);
  assertEquals(chunks.map(({ buffer }) => buffer.detached), chunks.map((_, i) => i >= 64));

  // What is lent from the shelf makes room on it.
  pool.giveBack(lend(pool, 4));
  assertEquals(chunks.filter(({ buffer }) => buffer.detached).length, 6);
  const kept = lend(pool, 4);
  const small = lend(pool, 1);
  pool.giveBack(small);
  assert(!small.buffer.detached);
  pool.giveBack(kept);
  assert(kept.buffer.detached, "with 16 KiB on the shelves, 1 MiB more would pass 64 MiB");
});

Deno.test("ChunkPool.giveBack() keeps every first chunk, since they share their slabs", () => {
  const pool = new ChunkPool();
  const chunks = Array.from({ length: 20_000 }, () => lend(pool, 0)); // 78 MiB
  for (const chunk of chunks) pool.giveBack(chunk);
  const again = new Set(Array.from({ length: 20_000 }, () => lend(pool, 0)));
  assertEquals(again, new Set(chunks));
});

Deno.test("ChunkPool never lends a byte twice, and counts what is lent", () => {
  const step = fc.record({ lend: fc.boolean(), which: fc.nat(9) });
  fc.assert(fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
    const pool = new ChunkPool(3 * MiB);
    const lent: { chunk: Chunk; mark: number }[] = [];
    steps.forEach((step, mark) => {
      if (step.lend) {
        const chunk = pool.lend(step.which % 6);
        if (chunk === undefined) return;
        chunk[0] = chunk[chunk.length - 1] = mark;
        lent.push({ chunk, mark });
      } else {
        const [back] = lent.splice(step.which % Math.max(lent.length, 1), 1);
        if (back !== undefined) pool.giveBack(back.chunk);
      }
      assertEquals(pool.lent, lent.reduce((sum, { chunk }) => sum + chunk.length, 0));
      for (const { chunk, mark } of lent) assertEquals([chunk[0], chunk.at(-1)], [mark, mark]);
    });
  }));
});
