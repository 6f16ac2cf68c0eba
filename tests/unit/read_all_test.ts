import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { ChunkPool } from "../../lib/chunk_pool.ts";
import { BuffersFull, Message, MessageTooLarge, readAll, type Reader } from "../../lib/read_all.ts";
import { pattern } from "../support/tcp_client.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Bytes of chunks that a message of so many bytes has borrowed when it asks for more room. */
function chunksFor(received: number): number {
  let sum = 0;
  for (let size = 4 * KiB; sum <= received; size = Math.min(4 * size, MiB)) sum += size;
  return sum;
}

/** Reads bytes in pieces of the given sizes, over and over. It never brings more than there is room for. */
class PiecesReader implements Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #sizes: number[];
  #next = 0;

  constructor(bytes: Uint8Array, sizes: number[]) {
    this.#bytes = bytes;
    this.#sizes = sizes;
  }

  read(room: Uint8Array): Promise<number | null> {
    const size = this.#sizes[this.#next++ % this.#sizes.length] ?? Infinity;
    const piece = this.#bytes.subarray(this.at, this.at + Math.min(size, room.length));
    if (piece.length === 0) return Promise.resolve(null);
    room.set(piece);
    this.at += piece.length;
    return Promise.resolve(piece.length);
  }
}

/** Takes a message out of its chunks, as its echo does. */
function takeOut(message: Message): Uint8Array {
  const bytes = new Uint8Array(message.length);
  let at = 0;
  for (let front = message.front(); front !== undefined; front = message.front()) {
    bytes.set(front, at);
    at += front.length;
    message.giveBackFront();
  }
  assertEquals(at, message.length);
  return bytes;
}

/** Compares long runs of bytes; `assertEquals` would take its time over them. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  const differs = actual.findIndex((byte, i) => byte !== expected[i]);
  assertEquals(differs, -1, "the first byte that differs");
}

Deno.test("readAll() gives back any bytes in order, however they are split into reads", async () => {
  const bytes = fc.uint8Array({ maxLength: 40_000, size: "max" });
  const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 20 });
  await fc.assert(fc.asyncProperty(bytes, sizes, async (bytes, sizes) => {
    const pool = new ChunkPool();
    using message = new Message(pool);
    await readAll(new PiecesReader(bytes, sizes), message);
    assertEquals(message.length, bytes.length);
    assertSameBytes(takeOut(message), bytes);
  }));
});

Deno.test("readAll() gives back long messages, split around the ends of chunks", async () => {
  const bytes = pattern(5 * MiB + 7);
  const ends = [4, 20, 84, 340, 1364, 2388].map((end) => end * KiB);
  for (const length of [...ends.flatMap((end) => [end - 1, end, end + 1]), bytes.length]) {
    for (const sizes of [[Infinity], [1_000_003], [4095, 4097, 1]]) {
      const pool = new ChunkPool();
      const message = new Message(pool);
      await readAll(new PiecesReader(bytes.subarray(0, length), sizes), message);
      assertSameBytes(takeOut(message), bytes.subarray(0, length));
      message[Symbol.dispose]();
      assertEquals(pool.lent, 0);
    }
  }
});

Deno.test("readAll() fills a chunk to the brim before it borrows the next", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 20 });
  await fc.assert(fc.asyncProperty(fc.nat(200_000), sizes, async (length, sizes) => {
    const pool = new ChunkPool();
    using message = new Message(pool);
    const pieces = new PiecesReader(new Uint8Array(length), sizes);
    const reader = {
      read(room: Uint8Array) {
        // The room is all that is left of the chunks, and how many there are depends on no split.
        assertEquals(room.length, chunksFor(pieces.at) - pieces.at);
        assertEquals(pool.lent, chunksFor(pieces.at));
        return pieces.read(room);
      },
    };
    await readAll(reader, message);
    assertEquals(message.length, length);
  }));
});

Deno.test("readAll() borrows at most 5 times what it received, and at most 1 MiB more, at every byte", async () => {
  for (const sizes of [[1], [1460], [65_536], [Infinity], [1, Infinity, 17]]) {
    const pool = new ChunkPool();
    using message = new Message(pool);
    const pieces = new PiecesReader(new Uint8Array(sizes[0] === 1 ? 400 * KiB : 6 * MiB), sizes);
    const reader = {
      read(room: Uint8Array) {
        const bound = Math.max(4 * KiB, Math.min(5 * pieces.at, pieces.at + MiB));
        assert(pool.lent <= bound, `${pool.lent} bytes borrowed for ${pieces.at} received`);
        return pieces.read(room);
      },
    };
    await readAll(reader, message);
  }
});

Deno.test("readAll() takes a read of 0 bytes for no end", async () => {
  const pool = new ChunkPool();
  using message = new Message(pool);
  const results = [0, 1, 0, 0, 2, 0, null];
  await readAll({ read: () => Promise.resolve(results.shift() ?? null) }, message);
  assertEquals(message.length, 3);
  assertEquals(results, []);
});

Deno.test("readAll() passes a message of maxLength bytes, and throws MessageTooLarge at one more", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.nat(30_000), fc.integer({ min: 1, max: 30_000 }), sizes, async (max, more, sizes) => {
      const pool = new ChunkPool();
      {
        using message = new Message(pool);
        await readAll(new PiecesReader(new Uint8Array(max), sizes), message, max);
        assertEquals(message.length, max);
      }
      for (const extra of [1, more]) {
        using message = new Message(pool);
        const reader = new PiecesReader(new Uint8Array(max + extra), sizes);
        await assertRejects(() => readAll(reader, message, max), MessageTooLarge, `${max} bytes`);
        assert(message.length > max);
        assertEquals(message.length, reader.at, "received counts the bytes that were too many");
      }
      assertEquals(pool.lent, 0);
    }),
  );
});

Deno.test("readAll() throws BuffersFull when the pool is on loan, and holds what it received", async () => {
  const pool = new ChunkPool(20 * KiB);
  const bytes = pattern(64 * KiB);
  const message = new Message(pool);
  await assertRejects(() => readAll(new PiecesReader(bytes, [1000]), message), BuffersFull, `${20 * KiB} bytes`);
  assertEquals(message.length, 20 * KiB);
  assertEquals(pool.lent, 20 * KiB);
  assertSameBytes(takeOut(message), bytes.subarray(0, 20 * KiB));
  assertEquals(pool.lent, 0);
});

Deno.test("readAll() passes on what a read rejects with, and holds what it received", async () => {
  const pool = new ChunkPool();
  const bytes = pattern(5000);
  const pieces = new PiecesReader(bytes, [700]);
  const gone = new Deno.errors.ConnectionReset("gone");
  const reader = { read: (room: Uint8Array) => pieces.at < 5000 ? pieces.read(room) : Promise.reject(gone) };
  const message = new Message(pool);
  assertStrictEquals(await assertRejects(() => readAll(reader, message)), gone);
  assertSameBytes(takeOut(message), bytes);
  message[Symbol.dispose]();
  assertEquals(pool.lent, 0);
});

Deno.test("Message.front() is undefined when nothing was received", async () => {
  const pool = new ChunkPool();
  const message = new Message(pool);
  assertEquals(message.front(), undefined);
  await readAll(new PiecesReader(new Uint8Array(0), []), message);
  assertEquals(message.front(), undefined);
  assertEquals(pool.lent, 4 * KiB);
  message[Symbol.dispose]();
  assertEquals(pool.lent, 0);
});

Deno.test("Message.front() shows the bytes received, and no byte of the message before", async () => {
  const pool = new ChunkPool();
  {
    using before = new Message(pool);
    await readAll(new PiecesReader(new Uint8Array(20 * KiB).fill(1), []), before);
  }
  for (const length of [1, 4095, 4096, 4097, 20 * KiB]) {
    using message = new Message(pool);
    await readAll(new PiecesReader(new Uint8Array(length).fill(2), []), message);
    assertSameBytes(takeOut(message), new Uint8Array(length).fill(2));
  }
});

Deno.test("Message.giveBackFront() gives back each chunk as soon as it is done with", async () => {
  const pool = new ChunkPool();
  const message = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(100 * KiB), []), message);
  const lent = [pool.lent];
  while (message.front() !== undefined) {
    message.giveBackFront();
    lent.push(pool.lent);
  }
  assertEquals(lent, [340, 336, 320, 256, 0].map((size) => size * KiB));
  message.giveBackFront();
  assertEquals(pool.lent, 0);
});

Deno.test("Message gives back each chunk once, also when it is disposed of twice", async () => {
  const pool = new ChunkPool();
  using other = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(1), []), other);
  const message = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(30 * KiB), []), message);
  message.giveBackFront();
  message[Symbol.dispose]();
  message[Symbol.dispose]();
  assertEquals(pool.lent, 4 * KiB, "the other's");
});

Deno.test("ChunkPool.lent returns to 0 after many messages at once, in any order, however they end", async () => {
  const end = fc.constantFrom("whole", "rejected", "left"); // left: disposed of with its echo half done
  const plan = fc.record({ length: fc.nat(120_000), piece: fc.integer({ min: 2000, max: 40_000 }), end });
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 8 }), fc.scheduler(), async (plans, scheduler) => {
      const pool = new ChunkPool(200_000);
      const outcomes: string[] = [];
      const run = async ({ length, piece, end }: typeof plans[number], id: number) => {
        using message = new Message(pool);
        const bytes = pattern(length, id);
        const pieces = new PiecesReader(bytes, [piece]);
        const reader = {
          async read(room: Uint8Array) {
            await scheduler.schedule(Promise.resolve(), `read ${id}`);
            if (end === "rejected" && pieces.at > length / 2) throw new Deno.errors.ConnectionReset("gone");
            return await pieces.read(room);
          },
        };
        try {
          await readAll(reader, message, 100_000);
        } catch (error) {
          if (!(error instanceof Error)) throw error;
          outcomes.push(error.name);
          return;
        }
        let at = 0;
        for (let front = message.front(); front !== undefined; front = message.front()) {
          await scheduler.schedule(Promise.resolve(), `write ${id}`);
          assertSameBytes(front, bytes.subarray(at, at + front.length));
          at += front.length;
          if (end === "left") break;
          message.giveBackFront();
        }
        if (end !== "left") assertEquals(at, length);
        outcomes.push(end);
      };
      const all = Promise.all(plans.map(run));
      await scheduler.waitFor(all);
      assertEquals(outcomes.length, plans.length);
      assertEquals(pool.lent, 0);
    }),
    { numRuns: 60 },
  );
});
