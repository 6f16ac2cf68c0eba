import { assert, assertEquals } from "@std/assert";
import { monotonic } from "../../lib/clock.ts";

/** Waits by a timer of Deno's own, which calls timers in the order of their times. */
function timer(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

Deno.test("monotonic.now() counts milliseconds", async () => {
  const before = monotonic.now();
  await timer(20);
  const passed = monotonic.now() - before;
  assert(passed >= 19 && passed < 20_000, `${passed} ms`); // a timer is not early; late it may be on a busy machine
});

Deno.test("monotonic.now() does not depend on the wall clock", () => {
  const wall = Date.now;
  const before = monotonic.now();
  try {
    Date.now = () => wall() - 86_400_000;
    assert(monotonic.now() >= before);
    Date.now = () => wall() + 86_400_000;
    assert(monotonic.now() < before + 3_600_000);
  } finally {
    Date.now = wall;
  }
});

Deno.test("monotonic.every() calls back again and again until it is disposed of", async () => {
  let calls = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const interval = monotonic.every(1, () => {
    if (++calls < 3) return;
    interval[Symbol.dispose]();
    resolve();
  });
  await promise;
  await timer(5);
  assertEquals(calls, 3);
});

Deno.test("monotonic.after() calls back once, after its time", async () => {
  let calls = 0;
  const before = monotonic.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  monotonic.after(10, () => {
    calls++;
    resolve();
  });
  await promise;
  assert(monotonic.now() - before >= 9);
  await timer(15);
  assertEquals(calls, 1);
});

Deno.test("monotonic.after() does not call back once it is disposed of", async () => {
  let called = false;
  monotonic.after(1, () => void (called = true))[Symbol.dispose]();
  await timer(5);
  assert(!called);
});

Deno.test("monotonic.nextIteration() calls back once, in the order of the calls, after all microtasks", async () => {
  const calls: string[] = [];
  monotonic.nextIteration(() => calls.push("first"));
  monotonic.nextIteration(() => calls.push("second"));
  for (let i = 0; i < 1000; i++) await Promise.resolve();
  calls.push("microtasks");
  await timer(5);
  assertEquals(calls, ["microtasks", "first", "second"]);
});
