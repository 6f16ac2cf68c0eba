import { assert, assertEquals } from "@std/assert";
import { Acceptor } from "../../lib/acceptor.ts";
import { FairQueue } from "../../lib/fair_queue.ts";
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
  const queue = new FairQueue(clock);
  const acceptor: Acceptor = new Acceptor(listener, hasCapacity, queue, logger, clock);
  const all = { listener, clock, queue, reports, acceptor, accepted, capacity, ended: false, loop: Promise.resolve() };
  all.loop = (async () => {
    for await (const conn of acceptor) accepted.push(conn);
    all.ended = true;
  })();
  return all;
}

/** Waits until a drained acceptor has found the backlog empty and has closed the listener, and checks what is left. */
async function drained({ clock, listener, loop }: ReturnType<typeof accepting>): Promise<void> {
  await until(() => listener.closed, "the listener to be closed");
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

Deno.test("Acceptor asks again every 100 ms whether there is capacity, which no client has to end for", async () => {
  const all = accepting(0);
  all.listener.push(new FakeConn());
  for (let i = 0; i < 3; i++) {
    await nextIteration();
    all.clock.advance(100);
  }
  await nextIteration();
  all.capacity = 1;
  all.clock.advance(99);
  await nextIteration();
  assertEquals([all.listener.accepts, all.clock.pending], [0, 1]);
  all.clock.advance(1);
  await nextIteration();
  assertEquals(all.accepted.length, 1);
  all.acceptor.close();
  await all.loop;
  assertEquals(all.clock.pending, 0);
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

Deno.test("Acceptor.drain() accepts no more connections than the backlog holds, reset or not", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  all.listener.push(...Array.from({ length: BACKLOG + 10 }, (_, i) => i % 2 === 0 ? new FakeConn() : RESET));
  await all.loop;
  assertEquals(all.accepted.length + all.acceptor.disconnectedBeforeAccept, BACKLOG + 1);
  assert(all.listener.closed);
});

// How drain() decides that the backlog is empty. No other test depends on how many iterations that takes.

/** Event-loop iterations in which the same accept has to stay pending. */
const QUIET_ITERATIONS = 128;

/** Iterations after which the listener is closed whatever else happens. */
const MAX_ITERATIONS = 16_384;

const iteration = () => new Promise<void>((resolve) => setImmediate(resolve));

async function iterations(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await iteration();
}

/** Checks that the listener is closed after so many iterations from now on, give or take two. */
async function closesAfter(count: number, listener: FakeListener, eachIteration = () => {}): Promise<void> {
  for (let i = 0; i < count - 2; i++) {
    assert(!listener.closed, `closed after ${i} iterations, and not ${count}`);
    eachIteration();
    await iteration();
  }
  await iterations(4);
  assert(listener.closed, `not closed after ${count} iterations`);
}

/** Whether an operation may begin now. If not, it waits. */
function isOpen({ queue }: ReturnType<typeof accepting>): boolean {
  return queue.enter(1) === undefined;
}

Deno.test("Acceptor.drain() closes the listener when an accept has stayed pending over 128 iterations", async () => {
  const all = accepting();
  await iterations(3);
  all.acceptor.drain();
  all.clock.advance(1000); // no time counts
  await closesAfter(QUIET_ITERATIONS, all.listener);
  await all.loop;
  assertEquals([all.clock.pending, all.acceptor.disconnectedBeforeAccept], [0, 0]);
});

Deno.test("Acceptor.drain() counts from 0 for every accept, that of a reset connection included", async () => {
  const all = accepting();
  await iterations(3);
  all.acceptor.drain();
  for (const arrival of [new FakeConn(), RESET, new FakeConn()]) {
    await iterations(QUIET_ITERATIONS - 2);
    assert(!all.listener.closed);
    all.listener.push(arrival);
  }
  await closesAfter(QUIET_ITERATIONS, all.listener);
  await all.loop;
  assertEquals([all.accepted.length, all.acceptor.disconnectedBeforeAccept], [2, 1]);
});

Deno.test("Acceptor.drain() counts from 0 when an operation arrives at the queue or a client ends", async () => {
  for (
    const act of [
      (all: ReturnType<typeof accepting>) => void all.queue.enter(1),
      ({ acceptor }: ReturnType<typeof accepting>) => acceptor.notify(),
    ]
  ) {
    const all = accepting();
    await iterations(3);
    all.acceptor.drain();
    for (let i = 0; i < 3; i++) {
      await iterations(QUIET_ITERATIONS - 2);
      assert(!all.listener.closed);
      act(all);
    }
    await closesAfter(QUIET_ITERATIONS, all.listener);
    await all.loop;
  }
});

Deno.test("Acceptor.drain() closes the listener after 16,384 iterations, whatever arrives and ends meanwhile", async () => {
  const all = accepting();
  await iterations(3);
  all.acceptor.drain();
  await closesAfter(MAX_ITERATIONS, all.listener, all.acceptor.notify.bind(all.acceptor));
  assert(isOpen(all));
  await all.loop;
});

Deno.test("Acceptor.drain() holds the queue while an accept is pending, and opens it when the listener is closed", async () => {
  const all = accepting();
  await iterations(3);
  assert(isOpen(all));
  all.acceptor.drain();
  let turns = 0;
  for (let i = 0; i < 3; i++) {
    all.queue.enter(1)?.then(() => turns++);
    all.clock.advance(10);
    await iterations(10);
  }
  assertEquals([turns, all.queue.length], [0, 3]);
  await closesAfter(QUIET_ITERATIONS - 10, all.listener);
  all.clock.advance(1);
  await all.loop;
  assertEquals([turns, isOpen(all)], [3, true]);
});

Deno.test("Acceptor.drain() opens the queue for each client that is accepted, and holds it again for the next accept", async () => {
  const listener = new FakeListener();
  const queue = new FairQueue(new FakeClock());
  const acceptor = new Acceptor(listener, () => true, queue, recorder().logger, new FakeClock());
  const opened: boolean[] = [];
  const next = Promise.withResolvers<void>();
  const loop = (async () => {
    for await (const _ of acceptor) {
      opened.push(queue.enter(1) === undefined);
      await next.promise;
    }
  })();
  await iterations(3);
  acceptor.drain();
  assert(queue.enter(1) !== undefined);
  listener.push(new FakeConn(), new FakeConn());
  await iterations(2 * QUIET_ITERATIONS);
  assertEquals([opened, listener.closed], [[true], false]); // as long as no accept is pending
  assert(queue.enter(1) === undefined);
  next.resolve();
  await iterations(3);
  assertEquals(opened, [true, true]);
  assert(queue.enter(1) !== undefined);
  await closesAfter(QUIET_ITERATIONS, listener);
  await loop;
});

Deno.test("Acceptor.drain() opens the queue when the accept rejects, and holds it again for the next one", async () => {
  const all = accepting();
  await iterations(3);
  all.acceptor.drain();
  assert(!isOpen(all));
  all.listener.push(EXHAUSTED);
  await iterations(2 * QUIET_ITERATIONS);
  assert(!all.listener.closed, "exhaustion does not tell that the backlog is empty");
  assert(isOpen(all));
  all.clock.advance(100);
  await iterations(3);
  assert(!isOpen(all));
  await closesAfter(QUIET_ITERATIONS, all.listener);
  all.clock.advance(1);
  await all.loop;
});

Deno.test("Acceptor.drain() neither holds the queue nor closes the listener while there is no capacity", async () => {
  const all = accepting(1);
  const conns = [new FakeConn(), new FakeConn()];
  all.listener.push(...conns);
  await iterations(3);
  all.acceptor.drain();
  for (let i = 0; i < 3; i++) {
    assert(isOpen(all));
    await iterations(QUIET_ITERATIONS);
    all.clock.advance(100);
  }
  assertEquals([all.listener.closed, all.listener.accepts], [false, 1]);
  all.capacity = 3;
  all.acceptor.notify();
  await iterations(3);
  assertEquals(all.accepted, conns);
  assert(!isOpen(all));
  await closesAfter(QUIET_ITERATIONS, all.listener);
  all.clock.advance(1);
  await all.loop;
});

Deno.test("Acceptor.close() while drain() holds the queue opens it", async () => {
  const all = accepting();
  await iterations(3);
  all.acceptor.drain();
  await iterations(10);
  assert(!isOpen(all));
  all.acceptor.close();
  assert(isOpen(all));
  await all.loop;
  await iterations(2 * QUIET_ITERATIONS);
  assert(isOpen(all));
});
