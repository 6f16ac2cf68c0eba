import { assert, assertEquals, assertLess } from "@std/assert";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { equal, pattern, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { until } from "../support/wait.ts";

const missing = cannotRun;

const ROUNDS = 10;

/** Clients that end in each way in a round; more of them are served. */
const COUNT = 40;

/** Bytes that one of them holds. If one way to end leaked, a round would leak `COUNT` times as much. */
const HELD = 200_000;

/**
 * Bytes by which resident memory may differ between early and late rounds, since the collector and the allocator free
 * some of it later. One way to end that leaks leaves `COUNT * HELD` bytes in each of four rounds: half as much again.
 */
const LEVEL = 20 * 1024 ** 2;

/** With a larger heap garbage may stay as long as there is memory, and could not be told from a leak. */
const SMALL_HEAP = { DENO_V8_FLAGS: "--max-heap-size=24" };

/** On a busy machine, a client that is to be served may do nothing for a second. */
const FLAGS = ["--max-message=200000", "--max-buffered=32M", "--idle-timeout=1.5"];

/** Calls back so many times at once. */
const times = <T>(count: number, callback: () => Promise<T>) => Promise.all(Array.from({ length: count }, callback));

const message = pattern(HELD);

async function served(program: Program, size: number): Promise<void> {
  const part = message.subarray(0, size);
  assert(equal(await roundTrip(program.address, part), part), "other bytes came back");
}

/** Sends and stops. Returns once the server has dropped it. */
async function stuck(program: Program, bytes: Uint8Array): Promise<void> {
  using conn = await Deno.connect(program.address);
  await writeAll(conn, bytes).catch(() => {}); // the server may drop it before all is sent
  await waitForClose(conn);
}

/** Has clients end in every way but at the drain. */
async function round(program: Program): Promise<void> {
  const idle = times(COUNT, () => stuck(program, message));
  for (let i = 0; i < 5; i++) await times(COUNT, () => served(program, 10_000));
  await times(COUNT, () => served(program, HELD));
  await times(COUNT, () => stuck(program, pattern(HELD + 1)));
  await times(COUNT, async () => {
    const client = await ResettingClient.connect(program.address);
    await client.write(message);
    await client.reset();
  });
  await times(COUNT, async () => { // closes with its reply unread
    using conn = await Deno.connect(program.address);
    await writeAll(conn, message);
    await conn.closeWrite();
  });
  await idle;

  // More than --max-buffered lets them hold: clients are added until one is dropped, however many are idle by then.
  const { dropped_buffers: before } = await program.status();
  const tooMany: ResettingClient[] = [];
  await until(async () => {
    tooMany.push(
      ...await times(COUNT, async () => {
        const client = await ResettingClient.connect(program.address);
        await client.write(message);
        return client;
      }),
    );
    return (await program.status()).dropped_buffers > before;
  });
  await Promise.all(tooMany.map((client) => client.reset()));
}

Deno.test(ignoreIf(missing, "main.ts frees all memory, in whichever way its clients end"), async () => {
  await using program = await Program.start({ flags: FLAGS, env: SMALL_HEAP });
  const resident: number[] = [];
  const descriptors: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await round(program);
    const { active, buffered } = await program.statusWhen(({ active }) => active === 0);
    assertEquals({ active, buffered }, { active: 0, buffered: 0 });
    const statistics = await program.statistics();
    resident.push(statistics.resident);
    descriptors.push(statistics.descriptors);
  }
  const { dropped_reset, dropped_idle, dropped_message, dropped_buffers, dropped_failed } = await program.status();
  for (const [name, count] of Object.entries({ dropped_reset, dropped_idle, dropped_message, dropped_buffers })) {
    assert(count >= ROUNDS, `only ${name}=${count}`);
  }
  assertEquals(dropped_failed, 0);
  assertEquals(descriptors.at(-1), descriptors[0]);
  const growth = Math.min(...resident.slice(-3)) - Math.max(...resident.slice(1, 4));
  assertLess(growth, LEVEL, `resident after each round: ${resident}`);
});
