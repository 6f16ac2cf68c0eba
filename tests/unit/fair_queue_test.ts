import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { FairQueue } from "../../lib/fair_queue.ts";
import { FakeClock } from "../support/fake_clock.ts";

/** Operations of a batch. */
const BATCH = 64;

/** A client that has used up the operations that never wait. */
const BUSY = 9;

/** Enters so many operations, and tells by their numbers which have begun. */
function enter(queue: FairQueue, operations: number, operation: number = BUSY): { begun: number[] } {
  const begun: number[] = [];
  for (let i = 0; i < operations; i++) {
    const turn = queue.enter(operation);
    if (turn === undefined) begun.push(i);
    else turn.then(() => begun.push(i));
  }
  return { begun };
}

/** Lets the event loop go round: what was scheduled by setImmediate before is called, and then this resolves. */
const nextIteration = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Lets the event loop go round, then a millisecond pass. */
async function nextBatch(clock: FakeClock): Promise<void> {
  await nextIteration();
  clock.advance(1);
  await nextIteration();
}

const numbers = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

Deno.test("FairQueue lets a client's first 8 operations begin at once, however many wait, and starts no timer", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  for (let operation = 1; operation <= 8; operation++) assertEquals(queue.enter(operation), undefined);
  await nextIteration();
  assertEquals(clock.pending, 0);
  enter(queue, 200);
  for (let operation = 1; operation <= 8; operation++) assertEquals(queue.enter(operation), undefined);
});

Deno.test("FairQueue lets 64 operations begin in each millisecond, in the order in which they came", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  const { begun } = enter(queue, 200);
  assertEquals(begun, numbers(0, BATCH));
  for (let batch = 2; batch <= 4; batch++) {
    await nextBatch(clock);
    assertEquals(begun, numbers(0, Math.min(batch * BATCH, 200)));
  }
  assertEquals(queue.length, 0);
});

Deno.test("FairQueue lets operations pass those that wait only when there are none", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  enter(queue, 2 * BATCH);
  await nextBatch(clock); // the second batch is full, too
  const late = enter(queue, 1);
  assertEquals(late.begun, []);
  await nextBatch(clock);
  assertEquals(late.begun, [0]);
});

Deno.test("FairQueue starts the timer of a batch after the event-loop iteration of the one before", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  const { begun } = enter(queue, BATCH + 1);
  clock.advance(10); // a batch that takes long to serve
  await nextIteration();
  assertEquals(begun.length, BATCH);
  clock.advance(1);
  await nextIteration();
  assertEquals(begun.length, BATCH + 1);
});

Deno.test("FairQueue has no timer left when no operation has come for a batch", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  enter(queue, BATCH);
  await nextIteration();
  assertEquals(clock.pending, 1);
  await nextBatch(clock);
  assertEquals(clock.pending, 0);
  assertEquals(enter(queue, BATCH).begun.length, BATCH); // a batch of its own
});

Deno.test("FairQueue lets an operation begin at once when none has come since all that waited have begun", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  enter(queue, 2 * BATCH);
  await nextBatch(clock);
  await nextBatch(clock);
  assertEquals([queue.length, clock.pending], [0, 0]);
  assertEquals(enter(queue, BATCH).begun.length, BATCH);
});

Deno.test("FairQueue lets no operation begin while it is held, and goes on in batches when it is open", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  queue.hold();
  const first = enter(queue, 1, 1); // not even one that never waits otherwise
  const { begun } = enter(queue, 100);
  await nextBatch(clock);
  await nextBatch(clock);
  assertEquals([first.begun, begun, queue.length], [[], [], 101]);
  queue.open();
  const late = enter(queue, 1);
  assertEquals(late.begun, []); // it comes after those that have waited
  await nextBatch(clock);
  assertEquals([first.begun, begun, late.begun], [[0], numbers(0, BATCH - 1), []]);
  await nextBatch(clock);
  assertEquals([begun, late.begun], [numbers(0, 100), [0]]);
});

Deno.test("FairQueue keeps what waits when it is held again before the next batch", async () => {
  const clock = new FakeClock();
  const queue = new FairQueue(clock);
  const { begun } = enter(queue, BATCH + 1);
  for (let i = 0; i < 5; i++) {
    queue.hold();
    await nextBatch(clock);
    queue.open();
    queue.hold();
  }
  assertEquals(begun.length, BATCH);
  queue.open();
  await nextBatch(clock);
  assertEquals(begun.length, BATCH + 1);
});

Deno.test("FairQueue lets all operations begin in their order, 64 a millisecond, none while held, in any interleaving", async () => {
  const step = fc.oneof(
    fc.record({ enter: fc.integer({ min: 1, max: 150 }) }),
    fc.constantFrom("hold", "open", "advance", "advance"),
  );
  await fc.assert(fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
    const clock = new FakeClock();
    const queue = new FairQueue(clock);
    const begun: number[] = [];
    let entered = 0;
    let before = 0; // begun in earlier milliseconds
    let isHeld = false;
    for (const step of steps) {
      const seen = begun.length;
      if (typeof step === "object") {
        for (const end = entered + step.enter; entered < end;) {
          const number = entered++;
          const turn = queue.enter(BUSY);
          if (turn === undefined) begun.push(number);
          else turn.then(() => begun.push(number));
        }
      } else if (step === "advance") {
        before = begun.length;
        await nextBatch(clock);
      } else {
        isHeld = step === "hold";
        queue[step]();
      }
      await Promise.resolve();
      assert(begun.length - before <= BATCH, `${begun.length - before} in a millisecond`);
      if (isHeld) assertEquals(begun.length, seen);
      assertEquals(queue.length, entered - begun.length);
    }
    queue.open();
    for (let batches = Math.ceil(queue.length / BATCH) + 1; batches > 0; batches--) await nextBatch(clock);
    assertEquals([begun, queue.length, clock.pending], [numbers(0, entered), 0, 0]);
  }));
});
