import { assert, assertEquals } from "@std/assert";
import { Acceptor } from "../../lib/acceptor.ts";
import { BACKLOG } from "../../lib/startup.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn, systemError } from "../support/fake_conn.ts";
import { FakeListener } from "../support/fake_listener.ts";
import { recorder } from "../support/recorder.ts";
import { nextIteration, until } from "../support/wait.ts";

const EXHAUSTED = systemError("EMFILE", "Too many open files (os error 24)");
const RESET = systemError("ENOTCONN", "Transport endpoint is not connected (os error 107)");
const UNKNOWN = new TypeError("unknown");

/** An acceptor that accepts up to `capacity` clients. */
function accepting(capacity = Infinity) {
  const listener = new FakeListener();
  const clock = new FakeClock();
  const { logger, reports } = recorder();
  const accepted: Deno.TcpConn[] = [];
  const hasCapacity = (): boolean => accepted.length < all.capacity;
  const acceptor: Acceptor = new Acceptor(listener, hasCapacity, logger, clock);
  const all = { listener, clock, reports, acceptor, accepted, capacity, ended: false, loop: Promise.resolve() };
  all.loop = (async () => {
    for await (const conn of acceptor) accepted.push(conn);
    all.ended = true;
  })();
  return all;
}

/** Lets time pass until a drained acceptor has found the backlog empty and has closed the listener. */
async function drained({ clock, listener, loop }: ReturnType<typeof accepting>): Promise<void> {
  await until(() => {
    clock.advance(1);
    return listener.closed;
  }, "the listener to be closed");
  await loop;
  assertEquals(clock.pending, 0);
}

Deno.test("Acceptor yields clients in accept order, and counts those that disconnected before", async () => {
  const all = accepting();
  const conns = [new FakeConn(), new FakeConn(), new FakeConn()];
  all.listener.push(...conns.slice(0, 2), RESET, systemError("ECONNABORTED"));
  await nextIteration();
  all.listener.push(...conns.slice(2));
  await nextIteration();
  assertEquals([all.accepted, all.acceptor.disconnectedBeforeAccept], [conns, 2]);
  assert(!all.ended);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor does not accept while there is no capacity", async () => {
  const all = accepting(1);
  all.listener.push(new FakeConn(), new FakeConn());
  await nextIteration();
  assertEquals([all.accepted.length, all.listener.accepts], [1, 1]);
  all.acceptor.notify();
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.capacity = 2;
  all.acceptor.notify();
  await nextIteration();
  assertEquals([all.accepted.length, all.listener.accepts], [2, 2]);
  all.acceptor.close(); // also ends the wait for capacity
  await all.loop;
});

Deno.test("Acceptor accepts again after exhaustion when a client has ended, or else after 100 ms", async () => {
  const all = accepting();
  all.listener.push(EXHAUSTED, EXHAUSTED, EXHAUSTED, new FakeConn());
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.clock.advance(99);
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.clock.advance(1);
  await nextIteration();
  assertEquals(all.listener.accepts, 2);
  all.acceptor.notify();
  await nextIteration();
  assertEquals([all.listener.accepts, all.clock.pending], [3, 1]);
  all.acceptor.close(); // also ends the wait
  await all.loop;
  assertEquals([all.reports.length, all.clock.pending, all.accepted.length], [1, 0, 0]);
  assertEquals(all.acceptor.disconnectedBeforeAccept, 0, "exhaustion takes no connection out of the backlog");
});

Deno.test("Acceptor reports exhaustion once, and again after a minute without", async () => {
  const all = accepting();
  const fail = async (ms: number) => {
    all.listener.push(EXHAUSTED);
    await nextIteration();
    all.clock.advance(ms);
    await nextIteration();
  };
  for (let i = 0; i < 20; i++) await fail(100);
  assertEquals(all.listener.accepts, 21);
  assertEquals(all.reports.map(({ level, properties }) => [level, properties.cause]), [["ERROR", EXHAUSTED.message]]);
  await fail(60_000);
  await fail(60_001);
  assertEquals(all.reports.length, 1);
  await fail(100);
  assertEquals(all.reports.length, 2);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor counts any other error as one connection's, also one that looks like a close", async () => {
  const all = accepting();
  const { BadResource, Interrupted, PermissionDenied } = Deno.errors;
  const errors = [new BadResource("closed"), new Interrupted("canceled"), new PermissionDenied("denied"), UNKNOWN];
  for (const error of errors) all.listener.push(error, new FakeConn());
  await nextIteration();
  assertEquals([all.accepted.length, all.acceptor.disconnectedBeforeAccept], [4, 4]);
  assertEquals([all.ended, all.listener.accepting, all.clock.pending, all.reports], [false, true, 0, []]);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor waits 100 ms after each 1000 failed accepts in a row", async () => {
  const all = accepting();
  const failures = (count: number) => Array<Error>(count).fill(UNKNOWN);
  all.listener.push(...failures(999), new FakeConn(), ...failures(2500), new FakeConn());
  const accepts: number[] = [];
  for (let i = 0; i < 3; i++) {
    await nextIteration();
    accepts.push(all.listener.accepts);
    all.clock.advance(99);
    await nextIteration();
    assertEquals(all.listener.accepts, accepts.at(-1), "it waits 100 ms");
    all.clock.advance(1);
  }
  // An accept that succeeds ends the row.
  assertEquals(accepts, [2000, 3000, 3502]);
  assertEquals([all.accepted.length, all.acceptor.disconnectedBeforeAccept], [2, 3499]);
  assertEquals(all.reports.map(({ level, properties }) => [level, properties.cause]), [["ERROR", UNKNOWN.message]]);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor.close() ends the loop, and is harmless twice", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.close();
  assert(all.listener.closed);
  await all.loop;
  assertEquals(all.acceptor.disconnectedBeforeAccept, 0, "the accept that the close cancels is no connection's");
  all.acceptor.close();
  all.acceptor.drain();
  assertEquals(all.clock.pending, 0);
});

Deno.test("Acceptor.close() may be followed by the client whose accept has succeeded already", async () => {
  const all = accepting();
  await nextIteration();
  const late = new FakeConn();
  all.listener.push(late);
  all.acceptor.close(); // before the accept's continuation has run
  assertEquals([all.accepted, all.listener.closed], [[], true]);
  await all.loop;
  assertEquals(all.accepted, [late]);
});

Deno.test("Acceptor.close() does not wait after an accept that fails later", async () => {
  const all = accepting();
  await nextIteration();
  all.listener.push(EXHAUSTED);
  all.acceptor.close();
  await all.loop;
  assertEquals([all.reports, all.clock.pending], [[], 0]);
});

Deno.test("Acceptor.drain() accepts the connections in the backlog, and then closes the listener", async () => {
  const all = accepting();
  const conns = Array.from({ length: 50 }, () => new FakeConn());
  all.listener.push(...conns.flatMap((conn) => [conn, RESET]));
  all.acceptor.drain();
  all.acceptor.drain(); // does nothing
  await drained(all);
  assertEquals([all.accepted, all.acceptor.disconnectedBeforeAccept], [conns, 50]);
});

Deno.test("Acceptor.drain() does not take the backlog for empty while there is no capacity", async () => {
  const all = accepting(1);
  const conns = [new FakeConn(), new FakeConn()];
  all.listener.push(...conns);
  await nextIteration();
  all.acceptor.drain();
  for (let i = 0; i < 200; i++) {
    all.clock.advance(25);
    await new Promise((resolve) => setImmediate(resolve));
  }
  assert(!all.listener.closed);
  all.capacity = 3;
  all.acceptor.notify();
  await drained(all);
  assertEquals(all.accepted, conns);
});

Deno.test("Acceptor.drain() accepts no more connections than the backlog holds, reset or not", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  all.listener.push(...Array.from({ length: BACKLOG + 10 }, (_, i) => i % 2 === 0 ? new FakeConn() : RESET));
  await all.loop;
  assertEquals(all.accepted.length + all.acceptor.disconnectedBeforeAccept, BACKLOG + 1);
  assert(all.listener.closed);
});

// How drain() decides that the backlog is empty. No other test depends on its timers.

Deno.test("Acceptor.drain() closes the listener when an accept has stayed pending over two timers", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  for (const arrival of [new FakeConn(), RESET, new FakeConn()]) {
    all.clock.advance(2); // the first timer sees which accept is pending, the next one counts
    all.listener.push(arrival);
    await nextIteration();
  }
  all.clock.advance(2);
  assert(!all.listener.closed);
  all.clock.advance(1);
  assert(all.listener.closed);
  await all.loop;
});
