import { assert, assertEquals, assertRejects, assertStrictEquals } from "@std/assert";
import fc from "fast-check";
import { BufferPool } from "../../lib/buffer_pool.ts";
import { LimitError, Message, readAll, type Reader } from "../../lib/read_all.ts";
import { pattern } from "../support/tcp_client.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Bytes of all buffers that a message has acquired when it reads on after so many bytes. */
function buffersFor(received: number): number {
  let sum = 0;
  for (let size = 4 * KiB; sum <= received; size = Math.min(4 * size, MiB)) sum += size;
  return sum;
}

/** Reads bytes in pieces of the given sizes, again and again, and never more than the buffer has. */
class PiecesReader implements Reader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #sizes: number[];
  #next = 0;

  constructor(bytes: Uint8Array, sizes: number[]) {
    this.#bytes = bytes;
    this.#sizes = sizes;
  }

  read(buffer: Uint8Array): Promise<number | null> {
    const size = this.#sizes[this.#next++ % this.#sizes.length] ?? Infinity;
    const piece = this.#bytes.subarray(this.at, this.at + Math.min(size, buffer.length));
    if (piece.length === 0) return Promise.resolve(null);
    buffer.set(piece);
    this.at += piece.length;
    return Promise.resolve(piece.length);
  }
}

/** The bytes of a message, which releases its buffers as an echo does. */
function takeOut(message: Message): Uint8Array {
  const bytes = new Uint8Array(message.length);
  let at = 0;
  for (const chunk of message.chunks()) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  assertEquals(at, message.length);
  return bytes;
}

/** Compares long messages, for which `assertEquals` would take long. */
function assertSameBytes(actual: Uint8Array, expected: Uint8Array): void {
  assertEquals(actual.length, expected.length);
  const differs = actual.findIndex((byte, i) => byte !== expected[i]);
  assertEquals(differs, -1, "the first byte that differs");
}

Deno.test("readAll() keeps any bytes in order, however they are split into reads", async () => {
  const bytes = fc.uint8Array({ maxLength: 40_000, size: "max" });
  const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 20 });
  await fc.assert(fc.asyncProperty(bytes, sizes, async (bytes, sizes) => {
    const pool = new BufferPool();
    using message = new Message(pool);
    await readAll(new PiecesReader(bytes, sizes), message);
    assertEquals(message.length, bytes.length);
    assertSameBytes(takeOut(message), bytes);
  }));
});

Deno.test("readAll() keeps long messages in order, split around the ends of buffers", async () => {
  const bytes = pattern(5 * MiB + 7);
  const ends = [4, 20, 84, 340, 1364, 2388].map((end) => end * KiB);
  for (const length of [...ends.flatMap((end) => [end - 1, end, end + 1]), bytes.length]) {
    for (const sizes of [[Infinity], [1_000_003], [4095, 4097, 1]]) {
      const pool = new BufferPool();
      const message = new Message(pool);
      await readAll(new PiecesReader(bytes.subarray(0, length), sizes), message);
      assertSameBytes(takeOut(message), bytes.subarray(0, length));
      message[Symbol.dispose]();
      assertEquals(pool.acquiredBytes, 0);
    }
  }
});

Deno.test("readAll() fills a buffer before it acquires the next", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 30_000 }), { maxLength: 20 });
  await fc.assert(fc.asyncProperty(fc.nat(200_000), sizes, async (length, sizes) => {
    const pool = new BufferPool();
    using message = new Message(pool);
    const pieces = new PiecesReader(new Uint8Array(length), sizes);
    const reader = {
      read(buffer: Uint8Array) {
        // A read gets all that is left of the buffers, and the split into reads changes nothing about their number.
        assertEquals(buffer.length, buffersFor(pieces.at) - pieces.at);
        assertEquals(pool.acquiredBytes, buffersFor(pieces.at));
        return pieces.read(buffer);
      },
    };
    await readAll(reader, message);
    assertEquals(message.length, length);
  }));
});

Deno.test("readAll() does not take a read of 0 bytes for EOF", async () => {
  const pool = new BufferPool();
  using message = new Message(pool);
  const results = [0, 1, 0, 0, 2, 0, null];
  await readAll({ read: () => Promise.resolve(results.shift() ?? null) }, message);
  assertEquals(message.length, 3);
  assertEquals(results, []);
});

Deno.test("readAll() passes a message of maxLength bytes, and throws a LimitError at one more", async () => {
  const sizes = fc.array(fc.integer({ min: 1, max: 9000 }), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(fc.nat(30_000), fc.integer({ min: 1, max: 30_000 }), sizes, async (max, more, sizes) => {
      const pool = new BufferPool();
      {
        using message = new Message(pool);
        await readAll(new PiecesReader(new Uint8Array(max), sizes), message, max);
        assertEquals(message.length, max);
      }
      for (const extra of [1, more]) {
        using message = new Message(pool);
        const reader = new PiecesReader(new Uint8Array(max + extra), sizes);
        const error = await assertRejects(() => readAll(reader, message, max), LimitError, `${max} bytes`);
        assertEquals(error.limit, "message");
        assert(message.length > max);
        assertEquals(message.length, reader.at, "the length includes the bytes beyond the limit");
      }
      assertEquals(pool.acquiredBytes, 0);
    }),
  );
});

Deno.test("readAll() throws a LimitError when the pool refuses a buffer, and keeps what it received", async () => {
  const pool = new BufferPool(20 * KiB);
  const bytes = pattern(64 * KiB);
  const message = new Message(pool);
  const reader = new PiecesReader(bytes, [1000]);
  const error = await assertRejects(() => readAll(reader, message), LimitError, `${20 * KiB} bytes`);
  assertEquals(error.limit, "buffers");
  assertEquals(message.length, 20 * KiB);
  assertEquals(pool.acquiredBytes, 20 * KiB);
  assertSameBytes(takeOut(message), bytes.subarray(0, 20 * KiB));
  assertEquals(pool.acquiredBytes, 0);
});

Deno.test("readAll() throws what a read rejects with, and keeps what it received", async () => {
  const pool = new BufferPool();
  const bytes = pattern(5000);
  const pieces = new PiecesReader(bytes, [700]);
  const reset = new Deno.errors.ConnectionReset("reset");
  const reader = { read: (buffer: Uint8Array) => pieces.at < 5000 ? pieces.read(buffer) : Promise.reject(reset) };
  const message = new Message(pool);
  assertStrictEquals(await assertRejects(() => readAll(reader, message)), reset);
  assertSameBytes(takeOut(message), bytes);
  message[Symbol.dispose]();
  assertEquals(pool.acquiredBytes, 0);
});

Deno.test("Message.chunks() has no byte of an empty message, and releases its buffer", async () => {
  const pool = new BufferPool();
  const message = new Message(pool);
  assertEquals(takeOut(message).length, 0, "before the first read");
  await readAll(new PiecesReader(new Uint8Array(0), []), message);
  assertEquals(pool.acquiredBytes, 4 * KiB);
  assertEquals(takeOut(message).length, 0);
  assertEquals(pool.acquiredBytes, 0);
});

Deno.test("Message.chunks() has the bytes received, and no byte of an earlier message", async () => {
  const pool = new BufferPool();
  {
    using earlier = new Message(pool);
    await readAll(new PiecesReader(new Uint8Array(20 * KiB).fill(1), []), earlier);
  }
  for (const length of [1, 4095, 4096, 4097, 20 * KiB]) {
    using message = new Message(pool);
    await readAll(new PiecesReader(new Uint8Array(length).fill(2), []), message);
    assertSameBytes(takeOut(message), new Uint8Array(length).fill(2));
  }
});

Deno.test("Message.chunks() releases each buffer when the next chunk is asked for", async () => {
  const pool = new BufferPool();
  using message = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(100 * KiB), []), message);
  const acquired: number[] = [];
  for (const _ of message.chunks()) acquired.push(pool.acquiredBytes);
  acquired.push(pool.acquiredBytes);
  assertEquals(acquired, [340, 336, 320, 256, 0].map((size) => size * KiB));
});

Deno.test("Message releases each buffer once, also when it is disposed of twice", async () => {
  const pool = new BufferPool();
  using other = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(1), []), other);
  const message = new Message(pool);
  await readAll(new PiecesReader(new Uint8Array(30 * KiB), []), message);
  const chunks = message.chunks();
  chunks.next();
  chunks.next(); // the first buffer is released
  message[Symbol.dispose]();
  message[Symbol.dispose]();
  assertEquals(pool.acquiredBytes, 4 * KiB, "the other message's");
});

Deno.test("BufferPool.acquiredBytes returns to 0 after many messages at once, in any order, however they end", async () => {
  const end = fc.constantFrom("whole", "rejected", "left"); // left: disposed of with its echo unfinished
  const plan = fc.record({ length: fc.nat(120_000), piece: fc.integer({ min: 2000, max: 40_000 }), end });
  await fc.assert(
    fc.asyncProperty(fc.array(plan, { minLength: 1, maxLength: 8 }), fc.scheduler(), async (plans, scheduler) => {
      const pool = new BufferPool(200_000);
      const outcomes: string[] = [];
      const run = async ({ length, piece, end }: typeof plans[number], id: number) => {
        using message = new Message(pool);
        const bytes = pattern(length, id);
        const pieces = new PiecesReader(bytes, [piece]);
        const reader = {
          async read(buffer: Uint8Array) {
            await scheduler.schedule(Promise.resolve(), `read ${id}`);
            if (end === "rejected" && pieces.at > length / 2) throw new Deno.errors.ConnectionReset("reset");
            return await pieces.read(buffer);
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
        for (const chunk of message.chunks()) {
          await scheduler.schedule(Promise.resolve(), `write ${id}`);
          assertSameBytes(chunk, bytes.subarray(at, at + chunk.length));
          at += chunk.length;
          if (end === "left") break;
        }
        if (end !== "left") assertEquals(at, length);
        outcomes.push(end);
      };
      const all = Promise.all(plans.map(run));
      await scheduler.waitFor(all);
      assertEquals(outcomes.length, plans.length);
      assertEquals(pool.acquiredBytes, 0);
    }),
    { numRuns: 60 },
  );
});
