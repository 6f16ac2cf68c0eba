import { assert, assertEquals, assertLess } from "@std/assert";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { equal, pattern, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";

const missing = canRun ? "" : "permissions are missing";

const ROUNDS = 10;

/** Clients that take each way out in a round; those who are served are more. */
const COUNT = 40;

/** What one of them holds, in bytes: what a round would leak if one way out leaked is `COUNT` times as much. */
const HELD = 200_000;

/**
 * Bytes by which resident memory may differ between early and late rounds: what the collector and the allocator do at
 * their leisure. One way out that leaks leaves `COUNT * HELD` bytes in each of six rounds: over twice as much.
 */
const LEVEL = 20 * 1024 ** 2;

/** Keeps the heap small, so that what is there was not left to be collected later. It takes no more than it needs. */
const SMALL_HEAP = { DENO_V8_FLAGS: "--max-heap-size=24" };

const FLAGS = ["--max-message=200000", "--max-buffered=32M", "--idle-timeout=0.5", "--drain-timeout=0.2"];

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

/** All ways out but the drain. */
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
  await times(COUNT, async () => { // leaves with its reply unread
    using conn = await Deno.connect(program.address);
    await writeAll(conn, message);
    await conn.closeWrite();
  });
  await idle;
  const { buffers: before } = await program.status();
  const tooMany = await times(3 * COUNT, () => ResettingClient.connect(program.address));
  await Promise.all(tooMany.map((client) => client.write(message))); // more than --max-buffered lets them hold
  await program.statusWhen(({ buffers }) => buffers > before);
  await Promise.all(tooMany.map((client) => client.reset()));
}

Deno.test(ignoreIf(missing, "main.ts gives back all memory, whichever way its clients go"), async () => {
  await using program = await Program.start({ flags: FLAGS, env: SMALL_HEAP });
  const resident: number[] = [];
  const descriptors: number[] = [];
  for (let i = 0; i < ROUNDS; i++) {
    await round(program);
    const { active, buffered } = await program.statusWhen(({ active }) => active === 0);
    assertEquals({ active, buffered }, { active: 0, buffered: 0 });
    const figures = await program.statistics();
    resident.push(figures.resident);
    descriptors.push(figures.descriptors);
  }
  const { reset, idle, message: tooLarge, buffers, failed } = await program.status();
  for (const [way, count] of Object.entries({ reset, idle, tooLarge, buffers })) {
    assert(count >= ROUNDS, `only ${count} went by the way: ${way}`);
  }
  assertEquals(failed, 0);
  assertEquals(descriptors.at(-1), descriptors[0]);
  const growth = Math.min(...resident.slice(-3)) - Math.max(...resident.slice(1, 4));
  assertLess(growth, LEVEL, `resident after each round: ${resident}`);

  const last = times(COUNT, () => stuck(program, message.subarray(0, 1000)));
  await program.statusWhen(({ active }) => active === COUNT);
  program.kill("SIGTERM");
  assertEquals(await program.exit(), 0);
  await last;
  assertEquals(program.matches(/dropped after 1000 bytes: drain: /).length, COUNT);
});
