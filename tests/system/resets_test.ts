import { assert, assertEquals, assertGreaterOrEqual } from "@std/assert";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, ResettingClient, roundTrip, writeAll } from "../support/tcp_client.ts";

const missing = cannotRun;

/** One of the lines that report a client that was dropped. */
const DROPPED = /warning: client (\d+) \(127\.0\.0\.1:\d+\) dropped after (\d+) bytes: reset: /;

/** More than the kernel's buffers at both ends hold: the server cannot finish the reply before the client reads it. */
const LARGE = pattern(12 * 1024 ** 2);

/** Connects so many clients and waits until the program has them all in flight. */
async function inFlight(program: Program, count: number, first: Uint8Array): Promise<ResettingClient[]> {
  const clients = await Promise.all(Array.from({ length: count }, () => ResettingClient.connect(program.address)));
  await Promise.all(clients.map((client) => client.write(first)));
  await program.statusWhen(({ active }) => active === count);
  return clients;
}

const phases: Record<
  string,
  { count: number; reported: boolean; run: (program: Program, n: number) => Promise<void> }
> = {
  "before they are accepted": {
    count: 200,
    reported: false,
    run: (program, count) =>
      program.whileStopped(async () => {
        const clients = await Promise.all(
          Array.from({ length: count }, () => ResettingClient.connect(program.address)),
        );
        await Promise.all(clients.map((client) => client.reset()));
      }),
  },
  "while sending": {
    count: 200,
    reported: true,
    async run(program, count) {
      const clients = await inFlight(program, count, pattern(1000));
      await Promise.all(clients.map((client) => client.reset()));
    },
  },
  "after the half-close": {
    count: 200,
    reported: true,
    async run(program, count) {
      const clients = await inFlight(program, count, pattern(1000));
      await program.whileStopped(async () => {
        await Promise.all(clients.map((client) => client.end()));
        await Promise.all(clients.map((client) => client.reset()));
      });
    },
  },
  "while the reply is being sent": {
    count: 10,
    reported: true,
    async run(program, count) {
      const clients = await inFlight(program, count, LARGE);
      await Promise.all(clients.map(async (client) => {
        const answered = client.firstBytes();
        await client.end();
        await answered;
        await client.reset();
      }));
    },
  },
  "by closing without reading the reply": {
    count: 10,
    reported: true,
    async run(program, count) {
      await Promise.all(Array.from({ length: count }, async () => {
        using conn = await Deno.connect(program.address);
        await writeAll(conn, LARGE);
        await conn.closeWrite();
      })); // closed with a reply unread, or on its way: the kernel resets it
    },
  },
};

for (const [phase, { count, reported, run }] of Object.entries(phases)) {
  Deno.test(ignoreIf(missing, `main.ts serves on after ${count} clients reset ${phase}`), async () => {
    await using program = await Program.start();
    await run(program, count);
    const status = await program.statusWhen(({ active, served, dropped_reset, dropped_before_accept }) =>
      active === 0 && dropped_reset + dropped_before_accept + served >= count
    );
    const { active, served, buffered, dropped_reset, dropped_before_accept } = status;
    assertEquals({ active, served, buffered }, { active: 0, served: 0, buffered: 0 });
    assertEquals([dropped_reset, dropped_before_accept], reported ? [count, 0] : [0, count]);

    // Each one that was in flight is reported in one line, and nothing else is.
    const numbers = program.matches(DROPPED).map(([, client]) => Number(client)).sort((a, b) => a - b);
    assertEquals(numbers, reported ? Array.from({ length: count }, (_, i) => i + 1) : []);
    const others = program.stderr.filter((line) => !DROPPED.test(line) && !/ (listening on|status) /.test(line));
    assertEquals(others, []);

    const message = pattern(10_000);
    assertEquals(await roundTrip(program.address, message), message);
    assertEquals(program.log(), `[client ${numbers.length + 1}]: received 10000 bytes\n`);
    assert(!program.stdout);
  });
}

Deno.test(ignoreIf(missing, "main.ts reports no health check that connects and resets, and counts it"), async () => {
  await using program = await Program.start({ flags: ["--log-level=info"] });
  const checks = await Promise.all(Array.from({ length: 10 }, () => ResettingClient.connect(program.address)));
  await program.statusWhen(({ active }) => active === 10);
  await Promise.all(checks.map((check) => check.reset()));
  for (let i = 0; i < 10; i++) await (await ResettingClient.connect(program.address)).reset(); // perhaps before its accept
  const { served, dropped_reset } = await program.statusWhen(({ active, dropped_reset, dropped_before_accept }) =>
    active === 0 && dropped_reset + dropped_before_accept === 20
  );
  assertEquals(served, 0);
  assertGreaterOrEqual(dropped_reset, 10);
  assertEquals(program.stderr.filter((line) => !/ (listening on|status) /.test(line)), []);
  assertEquals(program.log(), "");
});
