import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { AccessLog } from "../../lib/access_log.ts";
import { ChunkPool } from "../../lib/chunk_pool.ts";
import { Client, type Drop } from "../../lib/client.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn } from "../support/fake_conn.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { recorder } from "../support/recorder.ts";
import { nextIteration } from "../support/wait.ts";

const KiB = 1024;
const RESET = new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)");

/** A client number 1 whose other end is the test, and all that it works with. */
function setUp(conn: FakeConn = new FakeConn(), limit?: number) {
  const pool = new ChunkPool(limit);
  const file = new FakeLogFile();
  const log = new AccessLog({ open: () => file, diagnostics: recorder().diagnostics, clock: new FakeClock() });
  const client = new Client(1, conn, pool);
  const serve = (max = Infinity) =>
    new Promise<Drop | undefined>((resolve) => client.serve(log, max, (_, dropped) => resolve(dropped)));
  return { conn, pool, file, log, client, serve };
}

/** What must be so when a client has been dropped: nothing is held, nothing is open, no line. */
function assertGone({ conn, pool, file }: ReturnType<typeof setUp>): void {
  assertEquals(pool.lent, 0);
  assert(conn.closed);
  assertEquals(file.text, "");
}

Deno.test("Client.serve() sends nothing before the half-close, then every byte, then logs, then closes", async () => {
  const { conn, file, pool, client, serve } = setUp();
  file.writeSync = ((write) => (bytes) => {
    conn.events.push("log");
    return write.call(file, bytes);
  })(file.writeSync);
  const served = serve();
  conn.send("hel");
  await nextIteration();
  conn.send("lo");
  await nextIteration();
  assertEquals(conn.events, ["read", "read", "read"]);
  conn.halfClose();
  assertEquals(await served, undefined);
  assertEquals(conn.events, ["read", "read", "read", "write 5", "log", "close"]);
  assertEquals([conn.echoed, file.text], ["hello", "[client 1]: received 5 bytes\n"]);
  assertEquals([client.received, pool.lent], [5, 0]);
});

Deno.test("Client.serve() serves an empty message", async () => {
  const { conn, file, serve } = setUp(new FakeConn().halfClose());
  assertEquals(await serve(), undefined);
  assertEquals([conn.echoed, conn.closed, file.text], ["", true, "[client 1]: received 0 bytes\n"]);
});

Deno.test("Client.serve() goes on where a short write stopped, and gives each chunk back as it is sent", async () => {
  const { conn, pool, client, serve } = setUp();
  conn.packet = 7000;
  conn.window = 0;
  const message = "0123456789".repeat(3000); // 4, 16 and part of 64 KiB
  const served = serve();
  conn.send(message).halfClose();
  await nextIteration();
  const lent = [pool.lent];
  for (const bytes of [4095, 1, 16 * KiB - 1, 1]) {
    conn.take(bytes);
    await nextIteration();
    lent.push(pool.lent);
  }
  assertEquals(lent, [84, 84, 80, 80, 64].map((size) => size * KiB));
  conn.take(Infinity);
  assertEquals(await served, undefined);
  assertEquals(conn.echoed, message);
  assertEquals(client.received, message.length);
});

Deno.test("Client.serve() echoes any message, however it comes and goes", async () => {
  const digits = "0123456789".repeat(5000);
  const sizes = fc.array(fc.nat(9000), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 5000 }), fc.nat(9), async (sizes, packet, from) => {
      const { conn, pool, file, serve } = setUp();
      conn.packet = packet;
      let length = 0;
      for (const size of sizes) conn.send(digits.slice(from + length, from + (length += size)));
      conn.halfClose();
      assertEquals(await serve(), undefined);
      assertEquals(conn.echoed, digits.slice(from, from + length));
      assertEquals([pool.lent, file.text], [0, `[client 1]: received ${length} bytes\n`]);
    }),
  );
});

Deno.test("Client.serve() waits for no disk that fails", async () => {
  const { conn, file, log, serve } = setUp(new FakeConn().send("x").halfClose());
  file.failure = new Error("No space left on device (os error 28)");
  assertEquals(await serve(), undefined);
  assertEquals([conn.echoed, conn.closed, log.queuedLines], ["x", true, 1]);
  log.close();
});

Deno.test("Client.serve() tells that the client reset the connection, while it sends or is answered", async () => {
  for (const error of [RESET, new Deno.errors.BrokenPipe("Broken pipe (os error 32)")]) {
    const sending = setUp(new FakeConn().send("abc"));
    const one = sending.serve();
    await nextIteration();
    sending.conn.break(error);
    assertEquals(await one, { reason: "reset", detail: error.message });
    assertEquals(sending.client.received, 3);
    assertGone(sending);

    const answered = setUp(new FakeConn().send("abc").halfClose());
    answered.conn.window = 2;
    const other = answered.serve();
    await nextIteration();
    answered.conn.break(error);
    assertEquals(await other, { reason: "reset", detail: error.message });
    assertEquals(answered.conn.echoed, "ab");
    assertGone(answered);
  }
});

Deno.test("Client.serve() tells what failed when the client is not to blame", async () => {
  const all = setUp(new FakeConn().break(new Error("No buffer space available (os error 105)")));
  assertEquals(await all.serve(), { reason: "failed", detail: "No buffer space available (os error 105)" });
  assertGone(all);
});

Deno.test("Client.serve() drops a message over its limit, and serves one of exactly the limit", async () => {
  const exact = setUp(new FakeConn().send("12345").halfClose());
  assertEquals(await exact.serve(5), undefined);
  assertEquals(exact.conn.echoed, "12345");

  const over = setUp(new FakeConn().send("123456"));
  const dropped = await over.serve(5);
  assertEquals(dropped?.reason, "message");
  assertStringIncludes(dropped?.detail ?? "", "5 bytes");
  assertEquals([over.conn.echoed, over.client.received], ["", 6]);
  assertGone(over);
});

Deno.test("Client.serve() drops a message that needs more than all messages may hold", async () => {
  const all = setUp(new FakeConn().send("x".repeat(5000)), 5000);
  const dropped = await all.serve();
  assertEquals(dropped?.reason, "buffers");
  assertStringIncludes(dropped?.detail ?? "", "5000 bytes");
  assertEquals(all.client.received, 4096);
  assertGone(all);
});

Deno.test("Client.drop() ends a client that is sending", async () => {
  const all = setUp(new FakeConn().send("abc"));
  const served = all.serve();
  await nextIteration();
  all.client.drop("idle", "no byte for 60 s");
  assert(all.conn.closed);
  assertEquals(await served, { reason: "idle", detail: "no byte for 60 s" });
  assertGone(all);
});

Deno.test("Client.drop() ends a client that is being answered", async () => {
  const all = setUp(new FakeConn().send("abc").halfClose());
  all.conn.window = 1;
  const served = all.serve();
  await nextIteration();
  all.client.drop("drain", "too late");
  assertEquals(await served, { reason: "drain", detail: "too late" });
  assertEquals(all.conn.echoed, "a");
  assertGone(all);
});

Deno.test("Client.drop() lets the first reason stand", async () => {
  const all = setUp();
  const served = all.serve();
  all.client.drop("idle", "first");
  all.client.drop("drain", "second");
  assertEquals(await served, { reason: "idle", detail: "first" });
});

Deno.test("Client.drop() does nothing once the reply is sent in full, and the client gets its line", async () => {
  const { conn, client, file, serve } = setUp(new FakeConn().send("x").halfClose());
  // Late in the turn in which the last byte is sent: the line is appended, its write is to come.
  const append = Promise.withResolvers<void>();
  file.writeSync = ((write) => (bytes) => {
    client.drop("idle", "too late");
    append.resolve();
    return write.call(file, bytes);
  })(file.writeSync);
  const served = serve();
  await append.promise;
  assertEquals(await served, undefined);
  assertEquals([conn.echoed, file.text], ["x", "[client 1]: received 1 bytes\n"]);
});

Deno.test("Client.drop() in the turn in which the last read or write ends: dropped, and no line", async () => {
  for (const message of ["", "x"]) {
    const reading = setUp(new FakeConn().send(message));
    const one = reading.serve();
    await nextIteration();
    reading.conn.halfClose(); // the read has ended, but its continuation has not run
    reading.client.drop("idle", "just so");
    assertEquals((await one)?.reason, "idle");
    assertGone(reading);
  }
  const writing = setUp(new FakeConn().send("x").halfClose());
  writing.conn.window = 0;
  const other = writing.serve();
  await nextIteration();
  writing.conn.take(1);
  writing.client.drop("drain", "just so");
  assertEquals((await other)?.reason, "drain");
  assertGone(writing);
});

Deno.test("Client.address is as a flag or a URL has it", () => {
  assertEquals(setUp(new FakeConn("10.0.0.1")).client.address, "10.0.0.1:50000");
  assertEquals(setUp(new FakeConn("::1")).client.address, "[::1]:50000");
});

Deno.test("Client.idleTicks() counts ticks without a byte, from either side, since the accept too", async () => {
  const { conn, client, serve } = setUp();
  conn.window = 0;
  const served = serve();
  const ticks = (): number[] => [client.idleTicks(), client.idleTicks(), client.idleTicks()];
  assertEquals(ticks(), [0, 1, 2], "it may have been accepted just before the first tick");
  conn.send("abc");
  await nextIteration();
  assertEquals(ticks(), [0, 1, 2]);
  conn.halfClose();
  await nextIteration();
  assertEquals(client.idleTicks(), 3, "a half-close is no byte");
  conn.take(1);
  await nextIteration();
  assertEquals(ticks(), [0, 1, 2]);
  conn.take(2);
  assertEquals(await served, undefined);
});
