import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import fc from "fast-check";
import { AccessLog } from "../../lib/access_log.ts";
import { BufferPool } from "../../lib/buffer_pool.ts";
import { Client, type Drop } from "../../lib/client.ts";
import { FairQueue } from "../../lib/fair_queue.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn, systemError } from "../support/fake_conn.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { recorder } from "../support/recorder.ts";
import { nextIteration, until } from "../support/wait.ts";

const KiB = 1024;

/** Client number 1, whose peer is the test, and all that it works with. */
function setUp(conn: FakeConn = new FakeConn(), limit?: number) {
  const pool = new BufferPool(limit);
  const file = new FakeLogFile();
  const clock = new FakeClock();
  const log = new AccessLog(() => file, recorder().logger, clock);
  const queue = new FairQueue(clock);
  const client = new Client(1, 0, conn, pool, queue);
  const serve = (max = Infinity) =>
    new Promise<Drop | undefined>((resolve) => client.serve(log, max, (_, dropped) => resolve(dropped)));
  return { conn, pool, file, clock, log, queue, client, serve };
}

/** After a drop no buffer is held, the connection is closed, and there is no line. */
function assertDropped({ conn, pool, file }: ReturnType<typeof setUp>): void {
  assertEquals(pool.acquiredBytes, 0);
  assert(conn.closed);
  assertEquals(file.text, "");
}

Deno.test("Client.serve() sends nothing before the half-close, then every byte, then logs, then closes", async () => {
  const { conn, file, pool, client, serve } = setUp();
  file.write = ((write) => (bytes) => {
    conn.events.push("log");
    return write.call(file, bytes);
  })(file.write);
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
  assertEquals([client.received, pool.acquiredBytes], [5, 0]);
});

Deno.test("Client.serve() serves an empty message", async () => {
  const { conn, file, serve } = setUp(new FakeConn().halfClose());
  assertEquals(await serve(), undefined);
  assertEquals([conn.echoed, conn.closed, file.text], ["", true, "[client 1]: received 0 bytes\n"]);
});

Deno.test("Client.serve() continues short writes, and releases each buffer when it is sent", async () => {
  const { conn, pool, client, serve } = setUp();
  conn.packet = 7000;
  conn.window = 0;
  const message = "0123456789".repeat(3000); // 4, 16 and part of 64 KiB
  const served = serve();
  conn.send(message).halfClose();
  await nextIteration();
  const acquired = [pool.acquiredBytes];
  for (const bytes of [4095, 1, 16 * KiB - 1, 1]) {
    conn.take(bytes);
    await nextIteration();
    acquired.push(pool.acquiredBytes);
  }
  assertEquals(acquired, [84, 84, 80, 80, 64].map((size) => size * KiB));
  conn.take(Infinity);
  assertEquals(await served, undefined);
  assertEquals(conn.echoed, message);
  assertEquals(client.received, message.length);
});

Deno.test("Client.serve() echoes any message, however it is split into reads and writes", async () => {
  const digits = "0123456789".repeat(5000);
  const sizes = fc.array(fc.nat(9000), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(sizes, fc.integer({ min: 1, max: 5000 }), fc.nat(9), async (sizes, packet, from) => {
      const { conn, clock, pool, file, serve } = setUp();
      conn.packet = packet;
      let length = 0;
      for (const size of sizes) conn.send(digits.slice(from + length, from + (length += size)));
      conn.halfClose();
      let dropped: Drop | undefined | null = null;
      serve().then((result) => dropped = result);
      for (; dropped === null; await new Promise((resolve) => setImmediate(resolve))) clock.advance(1); // a batch each
      assertEquals(dropped, undefined);
      assertEquals(conn.echoed, digits.slice(from, from + length));
      assertEquals([pool.acquiredBytes, file.text], [0, `[client 1]: received ${length} bytes\n`]);
    }),
  );
});

Deno.test("Client.serve() does not wait for a disk that fails", async () => {
  const { conn, file, log, serve } = setUp(new FakeConn().send("x").halfClose());
  file.failure = new Error("No space left on device (os error 28)");
  assertEquals(await serve(), undefined);
  assertEquals([conn.echoed, conn.closed, log.queuedLines], ["x", true, 1]);
  await log.close();
});

Deno.test("Client.serve() drops a client that resets the connection, before or after its half-close", async () => {
  for (const [code, message] of [["ECONNRESET", "Connection reset by peer"], ["EPIPE", "Broken pipe"]] as const) {
    const sending = setUp(new FakeConn().send("abc"));
    const one = sending.serve();
    await nextIteration();
    sending.conn.break(systemError(code, message));
    assertEquals(await one, { reason: "reset", detail: message });
    assertEquals(sending.client.received, 3);
    assertDropped(sending);

    const receiving = setUp(new FakeConn().send("abc").halfClose());
    receiving.conn.window = 2;
    const other = receiving.serve();
    await nextIteration();
    receiving.conn.break(systemError(code, message));
    assertEquals(await other, { reason: "reset", detail: message });
    assertEquals(receiving.conn.echoed, "ab");
    assertDropped(receiving);
  }
});

Deno.test("Client.serve() tells a failure of the system from a disconnect", async () => {
  const all = setUp(new FakeConn().break(systemError("ENOBUFS", "No buffer space available")));
  assertEquals(await all.serve(), { reason: "failed", detail: "No buffer space available" });
  assertDropped(all);
});

Deno.test("Client.serve() drops only the client for whose message no memory can be allocated", async () => {
  const all = setUp(new FakeConn().send("x".repeat(5000)));
  all.pool.acquire = (index) => {
    if (index > 0) throw new RangeError("Array buffer allocation failed");
    return BufferPool.prototype.acquire.call(all.pool, index);
  };
  assertEquals(await all.serve(), { reason: "failed", detail: "Array buffer allocation failed" });
  assertDropped(all);

  const conn = new FakeConn().send("abc").halfClose();
  const other = new Client(2, 0, conn, all.pool, all.queue);
  await other.serve(all.log, Infinity, (_, dropped) => assertEquals(dropped, undefined));
  assertEquals([conn.echoed, all.file.text], ["abc", "[client 2]: received 3 bytes\n"]);
});

Deno.test("Client.serve() drops a client whose message exceeds its limit, and serves one of exactly the limit", async () => {
  const exact = setUp(new FakeConn().send("12345").halfClose());
  assertEquals(await exact.serve(5), undefined);
  assertEquals(exact.conn.echoed, "12345");

  const over = setUp(new FakeConn().send("123456"));
  const dropped = await over.serve(5);
  assertEquals(dropped?.reason, "message");
  assertStringIncludes(dropped?.detail ?? "", "5 bytes");
  assertEquals([over.conn.echoed, over.client.received], ["", 6]);
  assertDropped(over);
});

Deno.test("Client.serve() drops a client whose message needs a buffer that the pool refuses", async () => {
  const all = setUp(new FakeConn().send("x".repeat(5000)), 5000);
  const dropped = await all.serve();
  assertEquals(dropped?.reason, "buffers");
  assertStringIncludes(dropped?.detail ?? "", "5000 bytes");
  assertEquals(all.client.received, 4096);
  assertDropped(all);
});

Deno.test("Client.drop() disconnects a client that is sending", async () => {
  const all = setUp(new FakeConn().send("abc"));
  const served = all.serve();
  await nextIteration();
  all.client.drop("idle", "no byte for 60 s");
  assert(all.conn.closed);
  assertEquals(await served, { reason: "idle", detail: "no byte for 60 s" });
  assertDropped(all);
});

Deno.test("Client.drop() disconnects a client that is receiving", async () => {
  const all = setUp(new FakeConn().send("abc").halfClose());
  all.conn.window = 1;
  const served = all.serve();
  await nextIteration();
  all.client.drop("drain", "too late");
  assertEquals(await served, { reason: "drain", detail: "too late" });
  assertEquals(all.conn.echoed, "a");
  assertDropped(all);
});

Deno.test("Client.drop() keeps the first reason", async () => {
  const all = setUp();
  const served = all.serve();
  all.client.drop("idle", "first");
  all.client.drop("drain", "second");
  assertEquals(await served, { reason: "idle", detail: "first" });
});

Deno.test("Client.drop() does nothing once the reply is sent in full, and the client gets its line", async () => {
  const { conn, client, file, serve } = setUp(new FakeConn().send("x").halfClose());
  // Late in the event-loop iteration in which the last byte is sent: the line is appended, but not yet written.
  const append = Promise.withResolvers<void>();
  file.write = ((write) => (bytes) => {
    client.drop("idle", "too late");
    append.resolve();
    return write.call(file, bytes);
  })(file.write);
  const served = serve();
  await append.promise;
  assertEquals(await served, undefined);
  assertEquals([conn.echoed, file.text], ["x", "[client 1]: received 1 bytes\n"]);
});

Deno.test("Client.drop() in the event-loop iteration in which the last read or write ends leaves no line", async () => {
  for (const message of ["", "x"]) {
    const reading = setUp(new FakeConn().send(message));
    const one = reading.serve();
    await nextIteration();
    reading.conn.halfClose(); // the read has completed, but its continuation has not run
    reading.client.drop("idle", "just in time");
    assertEquals((await one)?.reason, "idle");
    assertDropped(reading);
  }
  const writing = setUp(new FakeConn().send("x").halfClose());
  writing.conn.window = 0;
  const other = writing.serve();
  await nextIteration();
  writing.conn.take(1);
  writing.client.drop("drain", "just in time");
  assertEquals((await other)?.reason, "drain");
  assertDropped(writing);
});

Deno.test("Client.address is formatted as in a flag or a URL", () => {
  assertEquals(setUp(new FakeConn("10.0.0.1")).client.address, "10.0.0.1:50000");
  assertEquals(setUp(new FakeConn("::1")).client.address, "[::1]:50000");
});

Deno.test("Client.dropIfIdle() drops after so many sweeps in a row without a byte either way, from the accept on", async () => {
  for (const phase of ["sending", "receiving"]) {
    const all = setUp();
    const { conn, client, serve } = all;
    conn.window = 0;
    const served = serve();
    const sweep = (times: number) => {
      for (let i = 0; i < times; i++) client.dropIfIdle(4, "no byte for 60 s");
      assert(!conn.closed);
    };
    sweep(4); // it may have been accepted just before the first
    conn.send("abc");
    await nextIteration();
    sweep(3);
    if (phase === "receiving") {
      conn.halfClose();
      await nextIteration();
      conn.take(1);
      await nextIteration();
      sweep(4);
    } else {
      sweep(1);
    }
    client.dropIfIdle(4, "no byte for 60 s");
    assert(conn.closed, phase);
    assertEquals(await served, { reason: "idle", detail: "no byte for 60 s" });
    assertDropped(all);
  }
});

Deno.test("Client.dropIfIdle() takes a half-close for no byte", async () => {
  const { conn, client, serve } = setUp(new FakeConn().send("abc"));
  conn.window = 0;
  const served = serve();
  await nextIteration();
  for (let i = 0; i < 3; i++) client.dropIfIdle(3, "");
  conn.halfClose();
  await nextIteration();
  client.dropIfIdle(3, "");
  assertEquals((await served)?.reason, "idle");
});

Deno.test("Client.dropIfIdle() takes a write that ends a buffer for progress", async () => {
  const { conn, client, serve } = setUp(new FakeConn().send(new Uint8Array(3412 * KiB)).halfClose());
  conn.window = 340 * KiB; // the first four buffers
  const served = serve();
  await nextIteration();
  client.dropIfIdle(3, "");
  for (let buffer = 0; buffer < 3; buffer++) { // the others, of the same size: one in every three sweeps
    conn.take(1024 * KiB);
    await nextIteration();
    for (let i = 0; i < 3; i++) client.dropIfIdle(3, "");
    assertEquals(conn.closed, buffer === 2); // by the server, which has sent all
  }
  assertEquals(await served, undefined);
});

// Where it waits: at the queue.

/** A client of which each read receives one byte of `message`, and each write takes one. */
function slow(message: string): FakeConn {
  const conn = new FakeConn();
  conn.packet = 1;
  for (const byte of message) conn.send(byte);
  return conn.halfClose();
}

/** How many reads and writes have begun. */
function begun(conn: FakeConn): number {
  return conn.events.filter((event) => event !== "close").length;
}

Deno.test("Client.serve() enters the queue for every read and write, and begins none before its turn", async () => {
  const { conn, queue, serve } = setUp(slow("abcde"));
  const entered: number[] = [];
  let begin = () => {};
  queue.enter = (operation) => {
    entered.push(operation);
    return new Promise((resolve) => begin = resolve);
  };
  const served = serve();
  for (let operation = 1; operation <= 11; operation++) { // five bytes and EOF in, five bytes out
    await nextIteration();
    assertEquals([entered.length, begun(conn)], [operation, operation - 1]);
    begin();
  }
  assertEquals(await served, undefined);
  assertEquals(entered, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
  assertEquals(conn.echoed, "abcde");
});

Deno.test("Client.serve() does not wait for its first 8 reads and writes, and then behind those of other clients", async () => {
  for (const message of ["0123456789", "01234"]) { // the ninth is a read, or a write
    const { conn, clock, queue, serve } = setUp(slow(message));
    for (let i = 0; i < 65; i++) queue.enter(100); // others take the whole batch, and one more waits
    const served = serve();
    await nextIteration();
    await until(() => clock.pending > 0 && begun(conn) === 8);
    assertEquals(queue.length, 2);
    clock.advance(1);
    assertEquals(await served, undefined); // there is no one else, so that the rest fits into this batch
    assertEquals(conn.echoed, message);
  }
});

Deno.test("Client.drop() of a client that waits at the queue disconnects it, and it ends when it has its turn", async () => {
  for (const phase of ["sending", "receiving"]) {
    const all = setUp(new FakeConn().send("abc"));
    const { conn, clock, queue, client, serve } = all;
    const served = serve();
    await nextIteration(); // the second read is pending
    queue.hold();
    if (phase === "sending") conn.send("d");
    else conn.halfClose();
    await nextIteration();
    assertEquals([queue.length, conn.pending], [1, false], phase);
    client.drop("drain", "too late");
    client.drop("idle", "second");
    assert(conn.closed);
    queue.open();
    await until(() => clock.pending > 0);
    clock.advance(1);
    assertEquals(await served, { reason: "drain", detail: "too late" });
    assertDropped(all);
    assertEquals([conn.echoed, queue.length], ["", 0]);
  }
});

Deno.test("Client.serve() drops a client that resets while it waits at the queue", async () => {
  for (const phase of ["sending", "receiving"]) {
    const all = setUp(new FakeConn().send("abc"));
    const { conn, clock, queue, serve } = all;
    const served = serve();
    await nextIteration();
    queue.hold();
    if (phase === "sending") conn.send("d");
    else conn.halfClose();
    await nextIteration();
    conn.break(systemError("ECONNRESET", "Connection reset by peer"));
    queue.open();
    await until(() => clock.pending > 0);
    clock.advance(1);
    assertEquals(await served, { reason: "reset", detail: "Connection reset by peer" });
    assertDropped(all);
  }
});
