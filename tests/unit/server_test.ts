import { assert, assertEquals } from "@std/assert";
import { AccessLog } from "../../lib/access_log.ts";
import { type Limits, Server } from "../../lib/server.ts";
import { openListener } from "../../lib/startup.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn, systemError } from "../support/fake_conn.ts";
import { FakeListener } from "../support/fake_listener.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { recorder } from "../support/recorder.ts";
import { pattern, readToEof, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { nextIteration, settles, until } from "../support/wait.ts";

const noNet = hasPermissions({ name: "net" }) ? "" : "permissions are missing";

const LIMITS: Limits = {
  maxClients: 10_000,
  maxMessage: 1_000_000,
  maxBuffered: 100_000_000,
  idleTimeout: 60,
  drainTimeout: 10,
};

const NO_SPACE = systemError("ENOSPC", "No space left on device (os error 28)");
const EXHAUSTED = systemError("EMFILE", "Too many open files (os error 24)");
const RESET = systemError("ECONNRESET", "Connection reset by peer (os error 104)");

/** What a test of a server works with. */
interface SetUp {
  limits?: Partial<Limits>;
  maxQueuedBytes?: number;
  /** Milliseconds that the clock shows at first. */
  now?: number;
}

/** A server that serves, with a log in memory and a clock that the test moves. */
function serving<L extends Deno.TcpListener>(listener: L, { limits, maxQueuedBytes, now }: SetUp = {}) {
  const clock = new FakeClock(now);
  const file = new FakeLogFile();
  const { logger, reports } = recorder();
  const log = new AccessLog(() => file, logger, clock, maxQueuedBytes);
  const server = new Server(listener, log, logger, clock, { ...LIMITS, ...limits });
  let ended = false;
  const served = server.serve().then(() => void (ended = true));
  return {
    listener,
    clock,
    file,
    log,
    logger,
    reports,
    server,
    served,
    get ended() {
      return ended;
    },
    /** Drains a server that has no client left, and checks that it holds nothing and that no timer is left. */
    async end(): Promise<void> {
      server.drain();
      await this.drained();
    },
    /** Waits for the end of a server that drains, and checks that it holds nothing and that no timer is left. */
    async drained(): Promise<void> {
      await until(() => {
        clock.advance(1);
        return ended;
      }, "the server to end");
      assertEquals([server.status.active, server.status.buffered], [0, 0]);
      assertEquals(await log.close(), "");
      assertEquals(clock.pending, 0);
    },
  };
}

/** A listener for which one more accept succeeds just before it is closed. */
class LateListener extends FakeListener {
  readonly late = new FakeConn();

  override [Symbol.dispose](): void {
    if (!this.closed) this.push(this.late);
    super[Symbol.dispose]();
  }
}

/** A client that has sent its message and has half-closed. */
function sent(text: string): FakeConn {
  return new FakeConn().send(text).halfClose();
}

// Over a fake listener.

Deno.test("Server.serve() numbers clients in accept order, and logs them in the order in which they finish", async () => {
  const all = serving(new FakeListener());
  const conns = [new FakeConn(), new FakeConn(), new FakeConn()];
  all.listener.push(...conns.slice(0, 1), systemError("ENOTCONN"), ...conns.slice(1)); // the error takes no number
  await nextIteration();
  assertEquals([all.server.status.active, all.server.status.dropped.before_accept], [3, 1]);
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

Deno.test("Server.serve() writes the lines of clients that finish in one event-loop iteration in one write", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 500 }, () => new FakeConn().send("x"));
  all.listener.push(...conns);
  await until(() => all.server.status.active === 500, "500 clients in flight");
  for (const conn of conns) conn.halfClose();
  await until(() => all.server.status.served === 500, "500 clients served");
  assertEquals(all.file.writes, 1);
  await all.end();
});

Deno.test("Server.serve() accepts one client per event-loop iteration or ended client once 64 are in flight", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 200 }, () => new FakeConn());
  all.listener.push(...conns);
  for (let i = 0; i < 10_000; i++) await Promise.resolve(); // as many accepts as one iteration allows
  assertEquals(all.listener.accepts, 64);
  // Clients that have ended add one accept each, and do not release the brake.
  for (const ended of [0, 0, 1, 1, 0, 0, 1]) {
    const before = all.listener.accepts;
    if (ended > 0) conns[before - 1]?.halfClose();
    await new Promise((resolve) => setImmediate(resolve));
    assertEquals(all.listener.accepts, before + 1 + ended);
  }
  await until(() => all.listener.accepts === 201, "all to be accepted");
  for (const conn of conns) conn.halfClose();
  await until(() => all.server.status.served === 200, "all to be served");
  await all.end();
});

Deno.test("Server.serve() accepts no more than maxClients, and the next when one has ended", async () => {
  const all = serving(new FakeListener(), { limits: { maxClients: 3 } });
  const conns = Array.from({ length: 5 }, () => new FakeConn());
  all.listener.push(...conns);
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 3]);
  conns[1]?.halfClose(); // served
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 4]);
  conns[0]?.break(RESET); // dropped
  await nextIteration();
  assertEquals([all.server.status.active, all.listener.accepts], [3, 5]);
  for (const conn of conns) conn.halfClose();
  await until(() => all.server.status.active === 0, "the rest to end");
  assertEquals(all.server.status.served, 4);
  await all.end();
});

Deno.test("Server.serve() accepts no client while the log has no capacity, and goes on when it has", async () => {
  const all = serving(new FakeListener(), { maxQueuedBytes: 50 });
  all.file.failure = NO_SPACE;
  const late = new FakeConn();
  all.listener.push(sent("1"), sent("2"));
  await until(() => all.server.status.served === 2, "two clients served without their lines");
  assert(!all.log.hasCapacity);
  all.listener.push(late);
  await nextIteration();
  all.clock.advance(5000);
  await nextIteration();
  // One accept was pending when the log lost its capacity; after that client there is none.
  const { accepts } = all.listener;
  all.listener.push(sent("4"));
  await nextIteration();
  assertEquals([all.listener.accepts, all.listener.accepting], [accepts, false]);
  assertEquals(all.server.status.queuedLines, 2);

  all.file.failure = undefined;
  all.clock.advance(1000);
  await until(() => all.listener.accepts > accepts, "the next accept");
  late.send("3").halfClose();
  await until(() => all.server.status.served === 4, "the clients in the backlog to be served");
  assertEquals(all.file.text.split("\n").length, 5);
  await all.end();
});

Deno.test("Server drops a silent client after 1 to 1.25 times the idle timeout, and reports it once", async () => {
  for (const late of [0, 1, 249, 250, 499, 777, 1000]) { // milliseconds after the start at which it is accepted
    for (const message of ["", "abc"]) {
      const all = serving(new FakeListener(), { limits: { idleTimeout: 1 } });
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

Deno.test("Server drops a client that stops reading its reply", async () => {
  const all = serving(new FakeListener(), { limits: { idleTimeout: 1 } });
  const conn = sent("hello");
  conn.window = 1;
  all.listener.push(conn);
  await nextIteration();
  all.clock.advance(1250);
  await nextIteration();
  assertEquals([conn.closed, conn.echoed, all.server.status.dropped.idle], [true, "h", 1]);
  await all.end();
});

Deno.test("Server keeps a slow client, while it sends and while it receives", async () => {
  const all = serving(new FakeListener(), { limits: { idleTimeout: 1 } });
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
  await until(() => all.server.status.served === 1, "the slow client to be served");
  assertEquals(conn.echoed, "x".repeat(20));
  assertEquals(all.reports, []);
  await all.end();
});

Deno.test("Server drops no idle client if the timeout is 0", async () => {
  const all = serving(new FakeListener(), { limits: { idleTimeout: 0 } });
  const conn = new FakeConn();
  all.listener.push(conn);
  await nextIteration();
  assertEquals(all.clock.pending, 0);
  all.clock.advance(1e9);
  conn.halfClose();
  await until(() => all.server.status.served === 1, "the idle client to be served");
  await all.end();
});

Deno.test("Server.drain() lets clients in flight finish", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 20 }, () => new FakeConn().send("half "));
  all.listener.push(...conns);
  await nextIteration();
  all.server.drain();
  await until(() => all.listener.closed, "the listener to be closed");
  all.clock.advance(9000);
  for (const conn of conns) conn.send("and half").halfClose();
  await all.served;
  for (const conn of conns) assertEquals(conn.echoed, "half and half");
  assertEquals(all.server.status.served, 20);
  assertEquals(all.file.text.split("\n").length, 21);
  assertEquals([all.reports, all.clock.pending], [[], 0]);
  await all.log.close();
});

Deno.test("Server.drain() drops clients in flight at the drain timeout, and reports each", async () => {
  const all = serving(new FakeListener(), { limits: { drainTimeout: 2.5 } });
  const [sending, receiving] = [new FakeConn().send("a"), sent("bc")];
  receiving.window = 1;
  all.listener.push(sending, receiving);
  await nextIteration();
  all.server.drain();
  all.clock.advance(2499);
  await nextIteration();
  assertEquals([all.ended, sending.closed, receiving.closed], [false, false, false]);
  all.clock.advance(1);
  await all.served;
  assert(sending.closed && receiving.closed);
  assertEquals(all.server.status.dropped.drain, 2);
  const detail = "not finished 2.5 s after the signal";
  assertEquals(all.reports.map(({ properties }) => [properties.reason, properties.detail]), [
    ["drain", detail],
    ["drain", detail],
  ]);
  assertEquals([all.file.text, all.clock.pending], ["", 0]);
  await all.log.close();
});

Deno.test("Server.drain() drops all clients at once if the timeout is 0", async () => {
  const all = serving(new FakeListener(), { limits: { drainTimeout: 0 } });
  all.listener.push(new FakeConn(), new FakeConn());
  await nextIteration();
  all.server.drain();
  all.clock.advance(0);
  await all.served;
  assertEquals(all.server.status.dropped.drain, 2);
  await all.log.close();
});

Deno.test("Server.drain() ends at the drain timeout also while descriptors are exhausted or the log has no capacity", async () => {
  const exhausted = serving(new FakeListener());
  exhausted.listener.push(...Array.from({ length: 1000 }, () => EXHAUSTED));
  await nextIteration();
  exhausted.server.drain();
  for (let ms = 0; ms < 10_000; ms += 100) {
    assert(!exhausted.listener.closed, "the backlog may hold connections");
    exhausted.clock.advance(100);
    await nextIteration();
  }
  await exhausted.served;
  assertEquals([exhausted.listener.closed, exhausted.clock.pending], [true, 0]);
  await exhausted.log.close();

  const full = serving(new FakeListener(), { maxQueuedBytes: 1 });
  full.file.failure = NO_SPACE;
  full.listener.push(sent(""), new FakeConn());
  await until(() => full.server.status.served === 1, "the first client");
  full.server.drain();
  full.clock.advance(10_000);
  await full.served;
  assert(full.listener.closed);
  assertEquals(await full.log.close(), "[client 1]: received 0 bytes\n");
});

Deno.test("Server.drain() serves the client whose accept succeeds just before the listener is closed", async () => {
  const all = serving(new LateListener());
  all.listener.late.send("late").halfClose();
  await nextIteration();
  await all.end();
  assertEquals([all.listener.late.echoed, all.server.status.served], ["late", 1]);
});

Deno.test("Server.abort() drops all clients in flight, and reports each with the detail", async () => {
  for (const drains of [false, true]) {
    const all = serving(new FakeListener());
    const [sending, receiving] = [new FakeConn(), sent("bc")];
    receiving.window = 1;
    all.listener.push(sending, receiving);
    await nextIteration();
    if (drains) all.server.drain();
    all.server.abort("asked twice");
    await all.served;
    assertEquals([all.listener.closed, sending.closed, receiving.closed], [true, true, true]);
    assertEquals(all.reports.map(({ properties }) => [properties.reason, properties.detail]), [
      ["drain", "asked twice"],
      ["drain", "asked twice"],
    ]);
    assertEquals([all.file.text, all.clock.pending], ["", 0]);
    await all.log.close();
  }
});

Deno.test("Server.abort() closes the connection whose accept succeeds just before the listener is closed", async () => {
  const all = serving(new LateListener());
  await nextIteration();
  all.server.abort("asked twice");
  await all.served;
  assert(all.listener.late.closed);
  assertEquals([all.listener.late.events, all.server.status.active, all.reports], [["close"], 0, []]);
  await all.log.close();
});

Deno.test("Server.abort() does nothing after the end", async () => {
  const all = serving(new FakeListener());
  await all.end();
  all.server.abort("late");
  assertEquals([all.clock.pending, all.reports], [0, []]);
});

Deno.test("Server reports a client that resets without a byte at debug, any other at warning, and counts both", async () => {
  const all = serving(new FakeListener());
  const [probe, sending, failing] = [new FakeConn(), new FakeConn().send("a"), new FakeConn()];
  all.listener.push(probe, sending, failing);
  await nextIteration();
  probe.break(RESET);
  sending.break(RESET);
  failing.break(systemError("ENOBUFS"));
  await until(() => all.server.status.active === 0, "all to end");
  assertEquals(all.reports.map(({ level, properties }) => [level, properties.client, properties.received]), [
    ["DEBUG", 1, 0],
    ["WARN", 2, 1],
    ["WARN", 3, 0],
  ]);
  const { reset, failed } = all.server.status.dropped;
  assertEquals([reset, failed], [2, 1]);
  await all.end();
});

// The queue that all reads and writes pass.

/** A client that has sent more one-byte parts than the reads that never wait. */
function busy(): FakeConn {
  const conn = new FakeConn();
  for (let i = 0; i < 12; i++) conn.send("x");
  return conn;
}

/** Waits until so many clients are in flight and have done as much as they can. */
async function inFlight({ server }: { server: Server }, clients: number): Promise<void> {
  await until(() => server.status.active === clients, `${clients} clients in flight`);
  await nextIteration();
}

Deno.test("Server lets 64 reads and writes a millisecond begin, of all clients together, beyond the first 8 of each", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 200 }, busy);
  all.listener.push(...conns);
  await inFlight(all, 200);
  const reads = () => conns.reduce((sum, { events }) => sum + events.length, 0);
  for (let batch = 1; batch <= 5; batch++) {
    assertEquals(reads(), 200 * 8 + batch * 64);
    all.clock.advance(1);
    await nextIteration();
  }
  for (const conn of conns) conn.halfClose();
  await until(() => {
    all.clock.advance(1);
    return all.server.status.served === 200;
  }, "all to be served");
  await all.end();
});

Deno.test("Server serves the clients that wait at the queue behind 400 that have disconnected", async () => {
  const all = serving(new FakeListener());
  const resetting = Array.from({ length: 400 }, busy);
  const good = Array.from({ length: 20 }, () => busy().halfClose());
  all.listener.push(...resetting, ...good);
  await inFlight(all, 420);
  for (const conn of resetting) conn.break(RESET);
  await until(() => {
    all.clock.advance(1);
    return all.server.status.active === 0;
  }, "all to end");
  assertEquals([all.server.status.served, all.server.status.dropped.reset], [20, 400]);
  for (const conn of good) assertEquals(conn.echoed, "x".repeat(12));
  await all.end();
});

Deno.test("Server.drain() accepts the whole backlog in one event-loop iteration, however many are in flight", async () => {
  const all = serving(new FakeListener());
  const conns = Array.from({ length: 500 }, () => new FakeConn());
  all.listener.push(...conns.slice(0, 100));
  await inFlight(all, 100);
  all.server.drain();
  all.listener.push(...conns.slice(100));
  for (let i = 0; i < 10_000; i++) await Promise.resolve();
  assertEquals(all.server.status.active, 500);
  for (const conn of conns) conn.halfClose();
  await all.drained();
  assertEquals(all.server.status.served, 500);
});

Deno.test("Server.drain() at max-clients lets those in flight finish, and serves those in the backlog", async () => {
  const all = serving(new FakeListener(), { limits: { maxClients: 3 } });
  const conns = Array.from({ length: 8 }, () => new FakeConn().send("half "));
  all.listener.push(...conns);
  await inFlight(all, 3);
  all.server.drain();
  for (let i = 0; i < 1000; i++) await new Promise((resolve) => setImmediate(resolve));
  assert(!all.listener.closed, "the backlog is not empty");
  for (const conn of conns) conn.send("and half").halfClose();
  await all.drained();
  for (const conn of conns) assertEquals(conn.echoed, "half and half");
  assertEquals(all.server.status.served, 8);
});

Deno.test("Server.abort() and the drain timeout end clients that drain() holds at the queue", async () => {
  for (const aborts of [true, false]) {
    const all = serving(new FakeListener(), { limits: { drainTimeout: 2 } });
    const conns = [new FakeConn().send("a"), new FakeConn().send("bc")];
    all.listener.push(...conns);
    await nextIteration();
    all.server.drain();
    conns[0]?.send("more");
    conns[1]?.halfClose();
    await new Promise((resolve) => setImmediate(resolve));
    assertEquals([conns.map(({ pending }) => pending), all.listener.closed], [[false, false], false], "not held");
    if (aborts) all.server.abort("asked twice");
    else all.clock.advance(2000);
    assert(all.listener.closed);
    await new Promise((resolve) => setImmediate(resolve)); // the timer of the queue's next batch starts
    all.clock.advance(1);
    await settles(all.served, "the server to end");
    assertEquals([conns.map(({ echoed }) => echoed), all.server.status.dropped.drain], [["", ""], 2]);
    await all.log.close();
  }
});

Deno.test("Server.abort() ends clients that wait for a line which nobody reads", async () => {
  const { logger } = recorder();
  const clock = new FakeClock();
  const pipe = { write: () => new Promise<number>(() => {}), close() {} };
  const log = new AccessLog(() => pipe, logger, clock);
  const listener = new FakeListener();
  const server = new Server(listener, log, logger, clock, LIMITS);
  const served = server.serve();
  listener.push(sent("hello"));
  await until(() => log.queuedLines === 1);
  server.abort("asked twice");
  await settles(served, "the server to end");
  assertEquals([server.status.served, await log.close()], [1, "[client 1]: received 5 bytes\n"]);
});

Deno.test("Server.status and reportStatus() have the numbers, whatever the clock shows at the start", async () => {
  const limits = { maxMessage: 10, idleTimeout: 1 };
  const all = serving(new FakeListener(), { limits, now: 7_654_321 });
  all.clock.advance(1500);
  all.listener.push(
    sent("12345"),
    sent("1234567"),
    sent("12345678901"),
    new FakeConn().break(RESET),
    new FakeConn().break(new Error("unknown")),
    systemError("ENOTCONN"),
    new FakeConn().send("held"),
  );
  await until(() => all.server.status.served === 2, "two clients to be served");
  assertEquals(all.server.status, {
    uptime: 1.5,
    active: 1,
    served: 2,
    bytes: 12,
    buffered: 4096,
    queuedLines: 0,
    dropped: { reset: 1, idle: 0, message: 1, buffers: 0, drain: 0, failed: 1, before_accept: 1 },
  });
  assertEquals(all.reports.length, 3);

  all.server.reportStatus(all.logger);
  const { level, message, properties } = all.reports[3] ?? {};
  assertEquals(
    message,
    "status uptime=1.5 active=1 served=2 bytes=12 buffered=4096 queued_lines=0 dropped_reset=1 dropped_idle=0 " +
      "dropped_message=1 dropped_buffers=0 dropped_drain=0 dropped_failed=1 dropped_before_accept=1",
  );
  assertEquals([level, properties?.dropped_before_accept], ["INFO", 1]);

  all.clock.advance(1250);
  await until(() => all.server.status.active === 0, "the idle client to be dropped");
  await all.end();
});

// Over loopback.

/** Has the clock go by real time as well, since batches of reads and writes are timed by it. */
function ticking(clock: FakeClock): Disposable {
  const id = setInterval(() => clock.advance(1), 1);
  return { [Symbol.dispose]: () => clearInterval(id) };
}

/** Connects to a listener. */
function connect({ addr: { hostname, port } }: Deno.TcpListener): Promise<Deno.TcpConn> {
  return Deno.connect({ hostname, port });
}

Deno.test({
  ...ignoreIf(noNet, "Server.serve() serves over TCP: every byte back, the line in the file before the close"),
  async fn() {
    const all = serving(openListener("127.0.0.1", 0, false));
    using _ticking = ticking(all.clock);
    for (const [i, length] of [0, 1, 4096, 4097, 100_000, 999_999, 1_000_000].entries()) {
      const message = pattern(length, i);
      const echo = await roundTrip(all.listener.addr, message);
      assert(
        all.file.text.endsWith(`[client ${i + 1}]: received ${length} bytes\n`),
        "the line is written after the close",
      );
      assert(echo.length === length && echo.every((byte, at) => byte === message[at]));
    }
    await until(() => all.server.status.active === 0, "the last client to end");
    await all.end();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server.serve() serves other clients while some are slow"),
  async fn() {
    const all = serving(openListener("127.0.0.1", 0, false));
    using _ticking = ticking(all.clock);
    using slow = await connect(all.listener);
    await slow.write(new Uint8Array([1]));
    using unread = await connect(all.listener);
    await writeAll(unread, pattern(1_000_000));
    await unread.closeWrite();
    await until(() => all.server.status.active === 2, "both to be accepted");
    await Promise.all(Array.from({ length: 50 }, (_, i) => roundTrip(all.listener.addr, pattern(i * 100))));
    await slow.closeWrite();
    assertEquals(await readToEof(slow), new Uint8Array([1]));
    assertEquals((await readToEof(unread)).length, 1_000_000);
    await until(() => all.server.status.active === 0, "all to end");
    assertEquals(all.server.status.served, 52);
    await all.end();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server.drain() serves the connections in the kernel's backlog"),
  async fn() {
    const listener = openListener("127.0.0.1", 0, false);
    const conns = await Promise.all(Array.from({ length: 50 }, () => connect(listener)));
    const all = serving(listener);
    using _ticking = ticking(all.clock);
    all.server.drain(); // before the first accept has completed
    const echoes = conns.map(async (conn, i) => {
      using _ = conn;
      await conn.write(pattern(100, i));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), pattern(100, i));
    });
    await Promise.all(echoes);
    await until(() => all.server.status.active === 0, "all to end");
    assertEquals(all.server.status.served, 50);
    await all.drained();
  },
});

Deno.test({
  ...ignoreIf(noNet, "Server holds nothing after thousands of clients, however they end"),
  async fn() {
    const limits = { maxMessage: 50_000, maxBuffered: 10_000_000, idleTimeout: 20, maxClients: 400 };
    const all = serving(openListener("127.0.0.1", 0, false), { limits });
    using _ticking = ticking(all.clock);
    const { addr } = all.listener;
    const { server, clock } = all;
    const times = <T>(count: number, fn: (i: number) => Promise<T>) =>
      Promise.all(Array.from({ length: count }, (_, i) => fn(i)));
    const accounted = () => {
      const { served, dropped } = server.status;
      return Object.values(dropped).reduce((sum, count) => sum + count, served);
    };
    const noClient = () => until(() => server.status.active === 0, "no client in flight");

    const ROUNDS = 10;
    for (let round = 0; round < ROUNDS; round++) {
      // Served.
      await times(200, async (i) => assertEquals((await roundTrip(addr, pattern(i * 50, i))).length, i * 50));
      // Reset: at once, while sending, while receiving.
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
      await noClient();
      // Idle, or over maxBuffered: 150 times 84 KiB exceed it.
      const silent = await times(150, async () => {
        const conn = await connect(all.listener);
        await conn.write(new Uint8Array(30_000));
        return conn;
      });
      await until(() => accounted() + server.status.active === (round + 1) * 550, "all to be accepted");
      clock.advance(25_000);
      const closes = times(silent.length, async (i) => {
        using conn = silent[i];
        if (conn !== undefined) await waitForClose(conn);
      });
      await settles(closes, "the idle clients to be dropped");
      await noClient();
      assertEquals(server.status.buffered, 0);
    }

    // Drained: half of them finish, half are dropped.
    const last = await times(200, async () => {
      const conn = await connect(all.listener);
      await conn.write(pattern(5000));
      return conn;
    });
    await until(() => server.status.active === 200, "the last clients to be accepted");
    server.drain();
    for (let i = 0; i < 100; i++) await last[i]?.closeWrite();
    await until(() => server.status.active === 100, "half of them to finish");
    clock.advance(10_000);
    await all.served;
    for (const conn of last) {
      await waitForClose(conn);
      conn.close();
    }

    const { served, dropped, active, buffered } = server.status;
    assertEquals([active, buffered, clock.pending], [0, 0, 0]);
    assertEquals(accounted(), ROUNDS * 550 + 200);
    assertEquals(all.reports.length, accounted() - served - dropped.before_accept, "each is reported once");
    assertEquals(dropped.message, ROUNDS * 100);
    assertEquals(dropped.buffers + dropped.idle + dropped.drain, ROUNDS * 150 + 100);
    assertEquals(dropped.failed, 0);
    assert(dropped.buffers > 0 && dropped.idle > 0 && dropped.drain > 0 && dropped.reset > 0, JSON.stringify(dropped));
    assertEquals(all.file.text.split("\n").length - 1, served);
    assertEquals(await all.log.close(), "");
  },
});
