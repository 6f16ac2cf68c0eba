import { assert, assertEquals, assertGreaterOrEqual, assertLess, assertLessOrEqual } from "@std/assert";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { equal, pattern, readToEof, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { delay } from "../support/wait.ts";

const missing = cannotRun;

/** Connects so many clients, one by one, so that this is their accept order. */
async function connectAll(program: Program, count: number): Promise<Deno.TcpConn[]> {
  const conns: Deno.TcpConn[] = [];
  for (let i = 0; i < count; i++) conns.push(await Deno.connect(program.address));
  return conns;
}

/** Half-closes and reads the reply. */
async function finish(conn: Deno.TcpConn): Promise<Uint8Array> {
  using _ = conn;
  await conn.closeWrite();
  return await readToEof(conn);
}

const seconds = (since: number) => (performance.now() - since) / 1000;

Deno.test(
  ignoreIf(
    missing,
    "main.ts waits for descriptors without using CPU time, reports it once, and serves when they are free",
  ),
  async () => {
    const message = pattern(100);
    await using program = await Program.start({ launcher: ["sh", "-c", 'ulimit -n 64 && exec "$@"', "sh"] });
    const conns = await connectAll(program, 120);
    await Promise.all(conns.map((conn) => writeAll(conn, message)));
    await program.line(/error: cannot accept clients, .*too many open files/i);
    const { active } = await program.statusWhen(({ buffered }) => buffered > 0);
    assert(active > 20 && active < 64, `${active} clients in flight with 64 descriptors`);

    const [start, before] = [performance.now(), await program.statistics()];
    await delay(1500);
    const after = await program.statistics();
    assertLess((after.cpu - before.cpu) / seconds(start), 0.05);

    // A client that ends frees a descriptor, and the next one is accepted at once. If each were accepted only at a
    // retry, ten a second, all of these would take four seconds.
    const freed = performance.now();
    const replies = Promise.all(conns.slice(0, active).map(finish));
    const pending = await Promise.all(conns.slice(active, 2 * active).map(finish));
    assertLess(seconds(freed), 3);
    const rest = await Promise.all(conns.slice(2 * active).map(finish));
    for (const reply of [...await replies, ...pending, ...rest]) assertEquals(reply, message);
    assertEquals(program.matches(/cannot accept/).length, 1);
    assertEquals(program.matches(/dropped after/).length, 0);
    assertEquals(program.lines().length, 120);
  },
);

Deno.test(
  ignoreIf(missing, "main.ts --max-clients leaves more clients in the backlog, and serves them when one ends"),
  async () => {
    await using program = await Program.start({ flags: ["--max-clients=3"] });
    const [first, ...others] = [await Deno.connect(program.address), ...await connectAll(program, 2)];
    await program.statusWhen(({ active }) => active === 3);
    const fourth = roundTrip(program.address, pattern(4));
    await writeAll(first, pattern(1));
    // The fourth would be accepted within a few event-loop iterations; each status takes one at least.
    for (let i = 0; i < 5; i++) {
      const { active, served } = await program.status();
      assertEquals({ active, served }, { active: 3, served: 0 });
    }
    assertEquals(await finish(first), pattern(1));
    assertEquals(await fourth, pattern(4));
    for (const other of others) assertEquals((await finish(other)).length, 0);
    assertEquals(program.lines().map(({ client }) => client).toSorted(), [1, 2, 3, 4]);
    assertEquals(program.lines().slice(0, 2), [{ client: 1, bytes: 1 }, { client: 4, bytes: 4 }]);
  },
);

Deno.test(
  ignoreIf(missing, "main.ts --max-message serves a message of exactly so many bytes and drops a longer one"),
  async () => {
    await using program = await Program.start({ flags: ["--max-message=1M"] });
    const message = pattern(1_048_577);
    assert(equal(await roundTrip(program.address, message.subarray(1)), message.subarray(1)));

    using conn = await Deno.connect(program.address);
    await writeAll(conn, message).catch((error) => assert(error instanceof Deno.errors.ConnectionReset));
    await program.line(/warning: client 2 \(127\.0\.0\.1:\d+\) dropped after 1048577 bytes: message: .*1048576/);
    assertEquals((await readToEof(conn).catch(() => new Uint8Array())).length, 0); // nothing was echoed
    assertEquals((await program.statusWhen(({ active }) => active === 0)).buffered, 0);
    assertEquals(program.log(), "[client 1]: received 1048576 bytes\n");
  },
);

Deno.test(ignoreIf(missing, "main.ts --max-buffered bounds the memory of all clients together"), async () => {
  await using program = await Program.start({ flags: ["--max-buffered=8M"] });
  const message = pattern(1_000_000);
  const conns = await connectAll(program, 40);
  const reset = (error: unknown): undefined => {
    assert(error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe, String(error));
  };
  await Promise.all(conns.map((conn) => writeAll(conn, message).catch(reset)));
  const { dropped_buffers, buffered } = await program.statusWhen(({ active, dropped_buffers }) =>
    dropped_buffers >= 20 && active + dropped_buffers === 40
  );
  assertLessOrEqual(buffered, 8 * 1024 ** 2 + 40 * 4096); // a first buffer is never refused
  assertEquals(await roundTrip(program.address, pattern(1000)), pattern(1000));

  const replies = await Promise.all(conns.map((conn) => finish(conn).catch(reset)));
  const served = replies.filter((reply) => reply !== undefined && reply.length > 0);
  assertGreaterOrEqual(served.length, 1);
  assert(served.every((reply) => reply !== undefined && equal(reply, message)));
  const status = await program.statusWhen(({ active }) => active === 0);
  assertEquals(status.buffered, 0);
  assertEquals(status.served, served.length + 1);
  assertEquals(status.dropped_buffers, 40 - served.length);
  assertGreaterOrEqual(status.dropped_buffers, dropped_buffers);
  assertEquals(program.matches(/dropped after \d+ bytes: buffers: /).length, status.dropped_buffers);
  assertEquals(program.lines().length, served.length + 1);
  assertLess((await program.statistics()).residentPeak, 200 * 1024 ** 2);
});

Deno.test(
  ignoreIf(missing, "main.ts --idle-timeout drops a client that neither sends nor reads, and serves a slow one"),
  async () => {
    const timeout = 2;
    await using program = await Program.start({ flags: [`--idle-timeout=${timeout}`] });
    const dropped = async (client: number, since: number) => {
      await program.line(new RegExp(`client ${client} .* dropped after \\d+ bytes: idle: `));
      return seconds(since);
    };
    using silent = await Deno.connect(program.address);
    const silentSince = performance.now();
    using notReading = await Deno.connect(program.address);
    await writeAll(notReading, pattern(12 * 1024 ** 2));
    await notReading.closeWrite();
    const notReadingSince = performance.now();
    const ends = Promise.all([dropped(1, silentSince), dropped(2, notReadingSince)]);

    using slow = await Deno.connect(program.address);
    const message = pattern(8);
    for (const byte of message) { // for longer than the timeout in all, and far less than it between two bytes
      await writeAll(slow, Uint8Array.of(byte));
      await delay(timeout / 5 * 1000);
    }
    assertEquals(await finish(slow), message);
    for (const end of await ends) {
      // Promised is a quarter of the timeout; the rest is for a busy machine.
      assert(end >= 0.99 * timeout && end <= 1.25 * timeout + 4, `dropped after ${end} s`);
    }
    await waitForClose(silent);
    assertEquals(program.log(), "[client 3]: received 8 bytes\n");
    const { active, dropped_idle, buffered } = await program.status();
    assertEquals({ active, dropped_idle, buffered }, { active: 0, dropped_idle: 2, buffered: 0 });
  },
);

const faketime = findFaketime();
Deno.test(
  ignoreIf(
    faketime === undefined ? "needs Debian's libfaketime" : "",
    "main.ts keeps its timeouts when the wall clock jumps",
  ),
  async () => {
    const wallClock = Deno.makeTempFileSync();
    using _ = { [Symbol.dispose]: () => Deno.removeSync(wallClock) };
    const jumpTo = (year: number) => Deno.writeTextFileSync(wallClock, `@${year}-01-01 00:00:00\n`);
    jumpTo(2020);
    await using program = await Program.start({
      flags: ["--idle-timeout=2", "--drain-timeout=2"],
      env: {
        LD_PRELOAD: faketime ?? "",
        FAKETIME_TIMESTAMP_FILE: wallClock,
        FAKETIME_NO_CACHE: "1",
        DONT_FAKE_MONOTONIC: "1",
        TZ: "UTC",
      },
    });
    await program.line(/^2020-01-01T.* listening/);

    for (const [client, year] of [[1, 2031], [2, 2015]] as const) {
      using conn = await Deno.connect(program.address);
      const since = performance.now();
      await program.statusWhen(({ active }) => active === 1);
      jumpTo(year);
      // What is reported next shows that it jumped. A year that has just begun may look like the end of the one before.
      await program.line(new RegExp(`^(${year}|${year - 1})-.* client ${client} .* idle: `));
      assert(seconds(since) >= 1.98 && seconds(since) <= 8, `dropped after ${seconds(since)} s`);
      await waitForClose(conn);
    }

    using stuck = await Deno.connect(program.address);
    await program.statusWhen(({ active }) => active === 1);
    program.kill("SIGTERM");
    await program.line(/draining/);
    const since = performance.now();
    jumpTo(2040);
    await program.exit(); // with any status: libfaketime sometimes crashes Deno at exit
    assert(seconds(since) >= 1 && seconds(since) <= 8, `drained after ${seconds(since)} s`);
    await waitForClose(stuck);
  },
);

/** The path of the library that changes the wall clock. It differs between architectures. */
function findFaketime(): string | undefined {
  if (missing) return undefined;
  for (const machine of ["x86_64-linux-gnu", "aarch64-linux-gnu"]) {
    const path = `/usr/lib/${machine}/faketime/libfaketimeMT.so.1`;
    try {
      Deno.statSync(path);
      return path;
    } catch {
      // Not on this one.
    }
  }
  return undefined;
}
