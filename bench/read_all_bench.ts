import { BufferPool } from "../lib/buffer_pool.ts";
import { Message, readAll } from "../lib/read_all.ts";

/** A client that sends `length` bytes, of which a read returns at most `step`. A read costs no more than a promise. */
function sender(length: number, step: number) {
  return {
    read(buffer: Uint8Array): Promise<number | null> {
      if (length === 0) return Promise.resolve(null);
      const bytes = Math.min(length, step, buffer.length);
      length -= bytes;
      return Promise.resolve(bytes);
    },
  };
}

const pool = new BufferPool();

function bench(name: string, length: number, step: number): void {
  Deno.bench(`readAll() ${name}`, async () => {
    using message = new Message(pool);
    await readAll(sender(length, step), message);
  });
}

bench("64 B", 64, 64);
bench("4 KiB", 4096, 4096);
bench("4 MB in 256 KiB reads", 4_000_000, 256 * 1024);
bench("200 kB in one-byte sends", 200_000, 1);
