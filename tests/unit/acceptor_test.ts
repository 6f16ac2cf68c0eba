import { assert, assertEquals } from "@std/assert";
import { Acceptor } from "../../lib/accept.ts";
import { BACKLOG } from "../../lib/listen.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeConn } from "../support/fake_conn.ts";
import { FakeListener } from "../support/fake_listener.ts";
import { recorder } from "../support/recorder.ts";
import { nextIteration } from "../support/wait.ts";

const { BadResource, ConnectionAborted, Interrupted, NotConnected } = Deno.errors;

/** accept(2) has no descriptor left. */
const SHORTAGE = Object.assign(new Error("Too many open files (os error 24)"), { code: "EMFILE" });

/** Accepts whoever comes, as long as there is room. */
function accepting(room = Infinity) {
  const listener = new FakeListener();
  const clock = new FakeClock();
  const { diagnostics, reports } = recorder();
  const accepted: Deno.TcpConn[] = [];
  const hasRoom = (): boolean => accepted.length < all.room;
  const acceptor: Acceptor = new Acceptor({ listener, clock, diagnostics, hasRoom });
  const all = { listener, clock, reports, acceptor, accepted, room, ended: false, loop: Promise.resolve() };
  all.loop = (async () => {
    for await (const conn of acceptor) accepted.push(conn);
    all.ended = true;
  })();
  return all;
}

Deno.test("Acceptor yields clients in the order in which they come, and counts those that are gone", async () => {
  const all = accepting();
  const conns = [new FakeConn(), new FakeConn(), new FakeConn()];
  all.listener.push(...conns.slice(0, 2), new NotConnected("gone"), new ConnectionAborted("gone"));
  await nextIteration();
  all.listener.push(...conns.slice(2));
  await nextIteration();
  assertEquals([all.accepted, all.acceptor.goneBeforeAccept], [conns, 2]);
  assertEquals([all.ended, all.acceptor.closed], [false, false]);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor leaves the listener alone while there is no room", async () => {
  const all = accepting(1);
  all.listener.push(new FakeConn(), new FakeConn());
  await nextIteration();
  assertEquals([all.accepted.length, all.listener.accepts], [1, 1]);
  all.acceptor.changed();
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.room = 2;
  all.acceptor.changed();
  await nextIteration();
  assertEquals([all.accepted.length, all.listener.accepts], [2, 2]);
  all.acceptor.close(); // ends the wait for room too
  await all.loop;
});

Deno.test("Acceptor tries again after a shortage when a client has ended, else after 100 ms", async () => {
  const all = accepting();
  all.listener.push(SHORTAGE, SHORTAGE, SHORTAGE, new FakeConn());
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.clock.advance(99);
  await nextIteration();
  assertEquals(all.listener.accepts, 1);
  all.clock.advance(1);
  await nextIteration();
  assertEquals(all.listener.accepts, 2);
  all.acceptor.changed();
  await nextIteration();
  assertEquals([all.listener.accepts, all.clock.pending], [3, 1]);
  all.acceptor.close(); // ends the pause too
  await all.loop;
  assertEquals([all.reports.length, all.clock.pending, all.accepted.length], [1, 0, 0]);
});

Deno.test("Acceptor reports a shortage once, and the next one after a minute without", async () => {
  const all = accepting();
  const fail = async (ms: number) => {
    all.listener.push(SHORTAGE);
    await nextIteration();
    all.clock.advance(ms);
    await nextIteration();
  };
  for (let i = 0; i < 20; i++) await fail(100);
  assertEquals(all.listener.accepts, 21);
  assertEquals(all.reports.map(({ level, properties }) => [level, properties.cause]), [["ERROR", SHORTAGE.message]]);
  await fail(60_000);
  await fail(60_001);
  assertEquals(all.reports.length, 1);
  await fail(100);
  assertEquals(all.reports.length, 2);
  all.acceptor.close();
  await all.loop;
});

Deno.test("Acceptor takes whatever else accept() rejects with for a shortage", async () => {
  const all = accepting();
  const { PermissionDenied, InvalidData, NotCapable } = Deno.errors;
  for (const error of [new TypeError("?"), new PermissionDenied("?"), new InvalidData("?"), new NotCapable("?")]) {
    all.listener.push(error, new FakeConn());
    await nextIteration();
    all.clock.advance(100);
    await nextIteration();
  }
  assertEquals([all.accepted.length, all.reports.length], [4, 1]);
  all.acceptor.close();
  await all.loop;
});

for (const closed of [new BadResource("closed"), new Interrupted("canceled")]) {
  Deno.test(`Acceptor ends when its listener is closed under it: ${closed.name}`, async () => {
    const all = accepting();
    all.listener.push(new FakeConn(), closed);
    await all.loop;
    assertEquals([all.accepted.length, all.acceptor.closed], [1, true]);
  });
}

Deno.test("Acceptor.drain() closes the listener when an accept has stayed pending over two turns", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  all.acceptor.drain(); // the same
  all.clock.advance(2);
  assert(!all.listener.closed);
  all.clock.advance(1);
  assert(all.listener.closed);
  await all.loop;
  assert(all.acceptor.closed);
  assertEquals(all.clock.pending, 0);
});

Deno.test("Acceptor.drain() yields the client whose accept resolves as the listener is closed", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  all.clock.advance(2);
  const last = new FakeConn();
  all.listener.push(last);
  all.clock.advance(1); // before the accept's continuation has run
  assert(all.listener.closed);
  await all.loop;
  assertEquals([all.accepted, last.closed, all.acceptor.closed], [[last], false, true]);
});

Deno.test("Acceptor.drain() takes clients and those that are gone for progress", async () => {
  const all = accepting();
  all.acceptor.drain();
  for (let i = 0; i < 50; i++) {
    all.clock.advance(2);
    all.listener.push(i % 2 === 0 ? new NotConnected("gone") : new FakeConn());
    await nextIteration();
  }
  assertEquals([all.accepted.length, all.acceptor.goneBeforeAccept, all.listener.closed], [25, 25, false]);
  all.clock.advance(3);
  await all.loop;
  assertEquals(all.clock.pending, 0);
});

Deno.test("Acceptor.drain() waits for room as long as it takes: somebody may be in the queue", async () => {
  const all = accepting(1);
  const conns = [new FakeConn(), new FakeConn()];
  all.listener.push(...conns);
  await nextIteration();
  all.acceptor.drain();
  all.clock.advance(5000);
  assert(!all.listener.closed);
  all.room = 3;
  all.acceptor.changed();
  await nextIteration();
  assertEquals(all.accepted, conns);
  all.clock.advance(3);
  await all.loop;
});

Deno.test("Acceptor.drain() takes out of the queue no more than it can hold, gone or not", async () => {
  const all = accepting();
  await nextIteration();
  all.acceptor.drain();
  all.listener.push(
    ...Array.from({ length: BACKLOG + 10 }, (_, i) => i % 2 === 0 ? new FakeConn() : new NotConnected("gone")),
  );
  await all.loop;
  assertEquals(all.accepted.length + all.acceptor.goneBeforeAccept, BACKLOG + 1);
  assert(all.listener.closed);
});

Deno.test("Acceptor.close() may still be followed by the client whose accept was resolving, and is harmless twice", async () => {
  const all = accepting();
  await nextIteration();
  const late = new FakeConn();
  all.listener.push(late);
  all.acceptor.close(); // before the accept's continuation has run
  assertEquals([all.accepted, all.acceptor.closed, all.listener.closed], [[], true, true]);
  await all.loop;
  assertEquals(all.accepted, [late]);
  all.acceptor.close();
  all.acceptor.drain();
  assertEquals(all.clock.pending, 0);
});

Deno.test("Acceptor.close() waits out no shortage that an accept meets afterwards", async () => {
  const all = accepting();
  await nextIteration();
  all.listener.push(SHORTAGE);
  all.acceptor.close();
  await all.loop;
  assertEquals([all.reports, all.clock.pending], [[], 0]);
});
