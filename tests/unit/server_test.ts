import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { AccessLog } from "../../lib/access_log.ts";
import { listen } from "../../lib/listen.ts";
import { type Limits, Server } from "../../lib/server.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn } from "../support/fake_conn.ts";
import { FakeListener } from "../support/fake_listener.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { recorder } from "../support/recorder.ts";
import { pattern, readToEof, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { nextIteration, until } from "../support/wait.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";

const LIMITS: Limits = {
  maxClients: 10_000,
  maxMessage: 1_000_000,
  maxBuffered: 100_000_000,
  idleTimeout: 60,
  drainTimeout: 10,
};

const NO_SPACE = new Error("No space left on device (os error 28)");

/** As accept(2) fails when the process may open no more descriptors. */
function shortage(): Error {
  return Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" });
}

/** A server that serves, over a log in memory and a clock that the test moves. */
function serving<L extends Deno.TcpListener>(
  listener: L,
  limits: Partial<Limits> = {},
  maxQueued?: number,
  maxAccepts?: number,
) {
  const clock = new FakeClock();
  const file = new FakeLogFile();
  const { diagnostics, reports } = recorder();
  const log = new AccessLog({
    open: () => file,
    diagnostics,
    clock,
    ...(maxQueued === undefined ? {} : { maxQueued }),
  });
  const server = new Server({
    listener,
    log,
    diagnostics,
    clock,
    limits: { ...LIMITS, ...limits },
    ...(maxAccepts === undefined ? {} : { maxAccepts }),
  });
  let ended = false;
  const served = server.serve().then(() => void (ended = true));
  return {
    listener,
    clock,
    file,
    log,
    diagnostics,
    reports,
    server,
    served,
    get ended() {
      return ended;
    },
    /** Drains a server that has no client left, and checks that nothing is held and nothing goes on. */
    async end(): Promise<void> {
      server.stop();
      await nextIteration();
      clock.advance(20);
      await served;
      assertEquals([server.status.active, server.status.buffered], [0, 0]);
      assertEquals(log.close(), "");
      assertEquals(clock.pending, 0);
    },
  };
}

/** A client that has sent all that it will. */
function sent(text: string): FakeConn {
  return new FakeConn().send(text).halfClose();
}

// Over a listener whose clients and errors come from the test.

Deno.test("Server.serve() numbers clients as it accepts them, and logs them as they finish", async () => {
  const all = serving(new FakeListener());
  const conns = [new FakeConn(), new FakeConn(), new FakeConn()];
  const gone = new Deno.errors.NotConnected("gone"); // uses up no number
  all.listener.push(...conns.slice(0, 1), gone, ...conns.slice(1));
  await nextIteration();
  assertEquals([all.server.status.active, all.server.status.goneBeforeAccept], [3, 1]);
  for (const i of [2, 0, 1]) {
    conns[i]?.send("x".repeat(i)).halfClose();
    await nextIteration();
  }
  assertEquals(
    all.file.text,
    "[client 3]: received 2 bytes\n[client 1]: received 0 bytes\n[client 2]: received 1 bytes\n",
  );
  assertEquals(all.reports, []);
  await all.end();
});

Deno.test("Server.serve() writes the lines of clients that finish in one turn in one write", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 500 }, () => new FakeConn().send("x"));
  all.listener.push(...conns);
  await until(() => all.server.status.active === 500, "500 clients in flight");
  for (const conn of conns) conn.halfClose();
  await until(() => all.server.status.served === 500, "500 clients served");
  assertEquals(all.file.writes, 1);
  await all.end();
});

Deno.test("Server.serve() does not let the accept run ahead of 64 clients in flight, and takes all that come", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 200 }, () => new FakeConn());
  all.listener.push(...conns);
  for (let i = 0; i < 10_000; i++) await Promise.resolve(); // as far as it comes in one turn
  assertEquals(all.server.status.active, 64);
  await until(() => all.server.status.active === 200, "200 clients in flight");
  for (const conn of conns) conn.halfClose();
  await all.end();
});

Deno.test("Server.serve() ends when its listener is closed under it", async () => {
  for (const closed of [new Deno.errors.BadResource("closed"), new Deno.errors.Interrupted("canceled")]) {
    const all = serving(new FakeListener());
    const conn = new FakeConn();
    all.listener.push(conn, closed);
    await nextIteration();
    assert(!all.ended, "a client is still in flight");
    conn.halfClose();
    await all.served;
    assertEquals(all.server.status.served, 1);
    all.server.stop(); // too late to do anything, and no error
    assertEquals(all.clock.pending, 0);
    all.log.close();
  }
});

Deno.test("Server.serve() accepts no more than maxClients, and the next when one has ended", async () => {
  const all = serving(new FakeListener(), { maxClients: 3 });
  const conns = Array.from({ length: 5 }, () => new FakeConn());
  all.listener.push(...conns);
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 3]);
  conns[1]?.halfClose(); // served
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 4]);
  conns[0]?.break(new Deno.errors.ConnectionReset("reset")); // dropped
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 5]);
  all.log.onRoom(); // says that there may be room: there is none
  await nextIteration();
  assertEquals(all.listener.accepts, 5);
  for (const conn of conns) conn.halfClose();
  await until(() => all.server.status.active === 0, "the rest to end");
  assertEquals(all.server.status.served, 4);
  await all.end();
});

Deno.test("Server.serve() accepts nobody while the log is full, and goes on when it has room", async () => {
  const all = serving(new FakeListener(), {}, 50);
  all.file.failure = NO_SPACE;
  const late = new FakeConn();
  all.listener.push(sent("1"), sent("2"));
  await until(() => all.server.status.served === 2, "two clients served without their lines");
  assert(all.log.full);
  all.listener.push(late);
  await nextIteration();
  all.clock.advance(5000);
  await nextIteration();
  // An accept was pending when the log became full; after that client there is none.
  const { accepts } = all.listener;
  all.listener.push(sent("4"));
  await nextIteration();
  assertEquals([all.listener.accepts, all.listener.accepting], [accepts, false]);
  assertEquals(all.server.status.queuedLines, 2);

  all.file.failure = undefined;
  all.clock.advance(1000);
  late.send("3").halfClose();
  await until(() => all.server.status.served === 4, "those who had to wait");
  assertEquals(all.file.text.split("\n").length, 5);
  await all.end();
});

Deno.test("Server drops a silent client after 1 to 1.25 times the idle timeout, and reports it once", async () => {
  for (const late of [0, 1, 249, 250, 499, 777, 1000]) { // milliseconds after the start at which it is accepted
    for (const message of ["", "abc"]) {
      const all = serving(new FakeListener(), { idleTimeout: 1 });
      all.clock.advance(late);
      const conn = new FakeConn().send(message);
      all.listener.push(conn);
      await nextIteration();
      all.clock.advance(999);
      await nextIteration();
      assert(!conn.closed, `dropped too early, accepted at ${late}`);
      all.clock.advance(251);
      await nextIteration();
      assert(conn.closed, `dropped too late, accepted at ${late}`);
      assertEquals(all.server.status.dropped.idle, 1);
      assertEquals(all.reports.map(({ level, properties }) => [level, properties]), [["WARN", {
        client: 1,
        address: "127.0.0.1:50000",
        received: message.length,
        reason: "idle",
        detail: "no byte either way for 1 s",
      }]]);
      assertEquals(all.file.text, "");
      await all.end();
    }
  }
});

Deno.test("Server drops a client that does not read its reply", async () => {
  const all = serving(new FakeListener(), { idleTimeout: 1 });
  const conn = sent("hello");
  conn.window = 0;
  all.listener.push(conn);
  await nextIteration();
  for (let i = 0; i < 5; i++) { // it takes a byte now and then
    all.clock.advance(990);
    conn.take(i % 2);
    await nextIteration();
    if (i % 2 === 0 && i > 0) break;
  }
  all.clock.advance(1250);
  await nextIteration();
  assert(conn.closed);
  assertEquals(all.server.status.dropped.idle, 1);
  await all.end();
});

Deno.test("Server keeps a client that drips, while it sends and while it is answered", async () => {
  const all = serving(new FakeListener(), { idleTimeout: 1 });
  const conn = new FakeConn();
  conn.window = 0;
  all.listener.push(conn);
  await nextIteration();
  for (let i = 0; i < 20; i++) {
    conn.send("x");
    await nextIteration();
    all.clock.advance(999);
  }
  conn.halfClose();
  for (let i = 0; i < 20; i++) {
    conn.take(1);
    await nextIteration();
    all.clock.advance(999);
  }
  await until(() => all.server.status.served === 1, "the dripping client");
  assertEquals(conn.echoed, "x".repeat(20));
  assertEquals(all.reports, []);
  await all.end();
});

Deno.test("Server drops nobody for idling when the timeout is 0", async () => {
  const all = serving(new FakeListener(), { idleTimeout: 0 });
  const conn = new FakeConn();
  all.listener.push(conn);
  await nextIteration();
  assertEquals(all.clock.pending, 0);
  all.clock.advance(1e9);
  conn.halfClose();
  await until(() => all.server.status.served === 1, "the patient client");
  await all.end();
});

Deno.test("Server.stop() lets clients in flight finish", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 20 }, () => new FakeConn().send("half "));
  all.listener.push(...conns);
  await nextIteration();
  all.server.stop();
  all.clock.advance(10);
  await nextIteration();
  assert(all.listener.closed);
  all.clock.advance(9000);
  for (const conn of conns) conn.send("and half").halfClose();
  await all.served;
  for (const conn of conns) assertEquals(conn.echoed, "half and half");
  assertEquals(all.server.status.served, 20);
  assertEquals(all.file.text.split("\n").length, 21);
  assertEquals(all.reports.map(({ message }) => message), ["stopping: clients in flight have 10 s to finish"]);
  assertEquals(all.clock.pending, 0);
  all.log.close();
});

Deno.test("Server.stop() drops stuck clients at the drain timeout, and reports each", async () => {
  const all = serving(new FakeListener(), { drainTimeout: 2.5, idleTimeout: 0 });
  const [sending, answered] = [new FakeConn().send("a"), sent("bc")];
  answered.window = 1;
  all.listener.push(sending, answered);
  await nextIteration();
  all.server.stop();
  all.clock.advance(2499);
  await nextIteration();
  assertEquals([all.ended, sending.closed, answered.closed], [false, false, false]);
  all.clock.advance(1);
  await all.served;
  assert(sending.closed && answered.closed);
  assertEquals(all.server.status.dropped.drain, 2);
  assertEquals(all.reports.map(({ properties }) => properties.reason), [undefined, "drain", "drain"]);
  assertStringIncludes(String(all.reports[1]?.properties.detail), "2.5 s after");
  assertEquals(all.file.text, "");
  assertEquals(all.clock.pending, 0);
  all.log.close();
});

Deno.test("Server.stop() with a timeout of 0 drops everybody", async () => {
  const all = serving(new FakeListener(), { drainTimeout: 0 });
  all.listener.push(new FakeConn(), new FakeConn());
  await nextIteration();
  all.server.stop();
  all.clock.advance(0);
  await all.served;
  assertEquals(all.server.status.dropped.drain, 2);
  all.log.close();
});

Deno.test("Server.stop() ends at the drain timeout also while a shortage lasts or the log is full", async () => {
  const short = serving(new FakeListener());
  short.listener.push(...Array.from({ length: 1000 }, shortage));
  await nextIteration();
  short.server.stop();
  for (let ms = 0; ms < 10_100; ms += 100) {
    short.clock.advance(100);
    await nextIteration();
  }
  await short.served;
  assertEquals([short.listener.closed, short.clock.pending], [true, 0]);
  short.log.close();

  const full = serving(new FakeListener(), {}, 1);
  full.file.failure = NO_SPACE;
  full.listener.push(sent(""), new FakeConn());
  await until(() => full.server.status.served === 1, "the first client");
  full.server.stop();
  full.clock.advance(10_000);
  await full.served;
  assert(full.listener.closed);
  assertEquals(full.log.close(), "[client 1]: received 0 bytes\n");
});

Deno.test("Server.stop() within a second of the first time is the first time; later it drops everybody", async () => {
  for (const pause of [0, 10, 999, 1000, 5000]) {
    const all = serving(new FakeListener());
    const [sending, queued] = [new FakeConn(), new FakeConn()];
    all.listener.push(sending);
    await nextIteration();
    assertEquals(all.server.stop(), false);
    all.clock.advance(pause);
    all.listener.push(queued);
    await nextIteration();
    assertEquals(all.server.stop(), pause >= 1000);
    await nextIteration();
    assertEquals([all.ended, sending.closed, all.server.status.dropped.drain > 0], Array(3).fill(pause >= 1000));
    all.clock.advance(10_000);
    await all.served;
    const stops = all.reports.filter(({ message }) => message.startsWith("stopping"));
    assertEquals([stops.length, all.clock.pending], [1, 0]);
    all.log.close();
  }
});

Deno.test("Server.stop() lets nobody join who was accepted in the very turn in which everybody is dropped", async () => {
  for (let microtasks = 0; microtasks < 40; microtasks++) {
    const all = serving(new FakeListener(), { idleTimeout: 0, maxClients: 1 });
    const [inHand, waiting] = [new FakeConn(), new FakeConn()];
    all.listener.push(inHand, waiting);
    await nextIteration();
    all.server.stop();
    all.clock.advance(1000);
    inHand.halfClose(); // so the other is accepted
    for (let i = 0; i < microtasks; i++) await Promise.resolve();
    all.server.stop();
    await nextIteration();
    assert(all.ended, `somebody is in flight after ${microtasks} microtasks`);
    all.log.close();
  }
});

Deno.test("Server drains by itself after maxAccepts clients, says why, and is worn out", async () => {
  const all = serving(new FakeListener(), {}, undefined, 3);
  const conns = [sent("1"), sent("2"), new FakeConn(), sent("4")];
  all.listener.push(...conns); // the fourth is in the queue by then
  await until(() => all.server.status.served === 3, "all but one");
  assert(all.server.wornOut);
  all.clock.advance(10);
  await nextIteration();
  assert(all.listener.closed && !all.ended);
  conns[2]?.halfClose();
  await all.served;
  assertEquals(all.reports.map(({ level, properties }) => [level, properties]), [["ERROR", { clients: 3 }]]);
  assertEquals(all.clock.pending, 0);
  all.log.close();
});

Deno.test("Server.stop() twice, and after the end, is harmless", async () => {
  const all = serving(new FakeListener(), { drainTimeout: 5 });
  const conn = new FakeConn();
  all.listener.push(conn);
  await nextIteration();
  all.server.stop();
  all.clock.advance(500);
  const { pending } = all.clock;
  all.server.stop(); // begins nothing anew
  assertEquals(all.clock.pending, pending);
  all.clock.advance(4500);
  await all.served;
  assertEquals(all.server.status.dropped.drain, 1);
  all.server.stop();
  assertEquals(all.clock.pending, 0);
  all.log.close();
});

Deno.test("Server.status and Server.reportStatus() tell the figures", async () => {
  const all = serving(new FakeListener(), { maxMessage: 10, idleTimeout: 1 });
  all.clock.advance(1500);
  all.listener.push(
    sent("12345"),
    sent("1234567"),
    sent("12345678901"),
    new FakeConn().break(new Deno.errors.ConnectionReset("reset")),
    new FakeConn().break(new Error("unknown")),
    new Deno.errors.NotConnected("gone"),
    new FakeConn().send("held"),
  );
  await until(() => all.server.status.served === 2, "two clients served");
  const status = {
    uptime: 1.5,
    active: 1,
    served: 2,
    dropped: { reset: 1, idle: 0, message: 1, buffers: 0, drain: 0, failed: 1 },
    goneBeforeAccept: 1,
    bytes: 12,
    buffered: 4096,
    queuedLines: 0,
  };
  assertEquals(all.server.status, status);
  assertEquals(all.reports.length, 3);

  all.server.reportStatus(all.diagnostics);
  const { level, message, properties } = all.reports[3] ?? {};
  assertEquals(level, "INFO");
  const { dropped, ...figures } = status;
  assertEquals(properties, { ...figures, ...dropped });
  assertMatch(
    message ?? "",
    /^up 1\.5 s: 1 clients active, 2 served, 12 bytes echoed, 4096 bytes buffered, 0 lines queued/,
  );
  assert(!message?.includes("{"), message);

  all.clock.advance(1250);
  await until(() => all.server.status.active === 0, "the client that is held");
  await all.end();
});

// Over loopback.

/** Connects to a listener. */
function connect({ addr: { hostname, port } }: Deno.TcpListener): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname, port });
}

Deno.test({
  ...ignoreIf(noNet, "Server.serve() serves over TCP: every byte back, the line in the file before the close"),
  async fn() {
    const all = serving(listen("127.0.0.1", 0));
    for (const [i, length] of [0, 1, 4096, 4097, 100_000, 999_999, 1_000_000].entries()) {
      const message = pattern(length, i);
      const echo = await roundTrip(all.listener.addr, message);
      assert(all.file.text.endsWith(`[client ${i + 1}]: received ${length} bytes\n`), "the line is late");
      assert(echo.length === length && echo.every((byte, at) => byte === message[at]));
    }
    await until(() => all.server.status.active === 0, "the last client to be let out");
    await all.end();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server.serve() lets no slow client hold up another"),
  async fn() {
    const all = serving(listen("127.0.0.1", 0));
    using slow = await connect(all.listener);
    await slow.write(new Uint8Array([1]));
    using deaf = await connect(all.listener);
    await writeAll(deaf, pattern(1_000_000));
    await deaf.closeWrite();
    await until(() => all.server.status.active === 2, "both to be accepted");
    await Promise.all(Array.from({ length: 50 }, (_, i) => roundTrip(all.listener.addr, pattern(i * 100))));
    await slow.closeWrite();
    assertEquals(await readToEof(slow), new Uint8Array([1]));
    assertEquals((await readToEof(deaf)).length, 1_000_000);
    await until(() => all.server.status.active === 0, "all to end");
    assertEquals(all.server.status.served, 52);
    await all.end();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server.stop() serves those who wait in the kernel's queue"),
  async fn() {
    const listener = listen("127.0.0.1", 0);
    const conns = await Promise.all(Array.from({ length: 50 }, () => connect(listener)));
    const all = serving(listener);
    all.server.stop(); // before the first accept has ended
    const echoes = conns.map(async (conn, i) => {
      using _ = conn;
      await conn.write(pattern(100, i));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), pattern(100, i));
    });
    await Promise.all(echoes);
    await until(() => all.server.status.active === 0, "all to end");
    assertEquals(all.server.status.served, 50);
    await all.end();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server holds nothing after thousands of clients, through every way out"),
  async fn() {
    const limits = { maxMessage: 50_000, maxBuffered: 10_000_000, idleTimeout: 20, maxClients: 400 };
    const all = serving(listen("127.0.0.1", 0), limits);
    const { addr } = all.listener;
    const { server, clock } = all;
    const times = <T>(count: number, fn: (i: number) => Promise<T>) =>
      Promise.all(Array.from({ length: count }, (_, i) => fn(i)));
    const accounted = () => {
      const { served, dropped, goneBeforeAccept } = server.status;
      return Object.values(dropped).reduce((sum, count) => sum + count, served + goneBeforeAccept);
    };
    const nobody = () => until(() => server.status.active === 0, "no client in flight");

    const ROUNDS = 10;
    for (let round = 0; round < ROUNDS; round++) {
      // Served.
      await times(200, async (i) => assertEquals((await roundTrip(addr, pattern(i * 50, i))).length, i * 50));
      // Reset: at once, while sending, while answered.
      await times(100, async (i) => {
        const client = await ResettingClient.connect(addr);
        if (i % 3 > 0) await client.write(pattern(30_000));
        if (i % 3 > 1) await client.end();
        if (i % 3 > 1) await client.firstBytes();
        await client.reset();
      });
      // Too large.
      await times(100, async () => {
        using conn = await connect(all.listener);
        await writeAll(conn, new Uint8Array(50_001));
        await waitForClose(conn);
      });
      await nobody();
      // Idle, and over the buffers: 84 KiB for each of 150 are more than there are.
      const silent = await times(150, async () => {
        const conn = await connect(all.listener);
        await conn.write(new Uint8Array(30_000));
        return conn;
      });
      await until(() => accounted() + server.status.active === (round + 1) * 550, "all to be accepted");
      clock.advance(25_000);
      await times(silent.length, async (i) => {
        using conn = silent[i];
        if (conn !== undefined) await waitForClose(conn);
      });
      await nobody();
      assertEquals(server.status.buffered, 0);
    }

    // Drained: half of them finish, half are stuck.
    const last = await times(200, async () => {
      const conn = await connect(all.listener);
      await conn.write(pattern(5000));
      return conn;
    });
    await until(() => server.status.active === 200, "the last clients to be accepted");
    server.stop();
    for (let i = 0; i < 100; i++) await last[i]?.closeWrite();
    await until(() => server.status.active === 100, "half of them to finish");
    clock.advance(10_000);
    await all.served;
    for (const conn of last) {
      await waitForClose(conn);
      conn.close();
    }

    const { served, dropped, goneBeforeAccept, active, buffered } = server.status;
    assertEquals([active, buffered, clock.pending], [0, 0, 0]);
    assertEquals(accounted(), ROUNDS * 550 + 200);
    assertEquals(all.reports.length - 1, accounted() - served - goneBeforeAccept, "each is reported once");
    assertEquals(dropped.message, ROUNDS * 100);
    assertEquals(dropped.buffers + dropped.idle + dropped.drain, ROUNDS * 150 + 100);
    assertEquals(dropped.failed, 0);
    assert(dropped.buffers > 0 && dropped.idle > 0 && dropped.drain > 0 && dropped.reset > 0, JSON.stringify(dropped));
    assertEquals(all.file.text.split("\n").length - 1, served);
    assertEquals(all.log.close(), "");
  },
});
