import { assert, assertEquals } from "@std/assert";
import { monotonic } from "../../lib/clock.ts";

Deno.test("monotonic.now() never goes back, and counts milliseconds", async () => {
  const before = monotonic.now();
  let last = before;
  for (let i = 0; i < 1000; i++) {
    const now = monotonic.now();
    assert(now >= last);
    last = now;
  }
  await new Promise((resolve) => setTimeout(resolve, 20));
  // setTimeout may not be early; late it may be by any time that the machine is busy.
  assert(monotonic.now() - before >= 19);
});

Deno.test("monotonic.now() does not care about the wall clock", () => {
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
  const ticks = monotonic.every(1, () => {
    if (++calls < 3) return;
    ticks[Symbol.dispose]();
    resolve();
  });
  await promise;
  await new Promise((resolve) => setTimeout(resolve, 5)); // Deno calls timers in the order of their times
  assertEquals(calls, 3);
});

Deno.test("monotonic.after() calls back once", async () => {
  let calls = 0;
  const before = monotonic.now();
  const { promise, resolve } = Promise.withResolvers<void>();
  monotonic.after(10, () => {
    calls++;
    resolve();
  });
  await promise;
  assert(monotonic.now() - before >= 9);
  await new Promise((resolve) => setTimeout(resolve, 15));
  assertEquals(calls, 1);
});

Deno.test("monotonic.after() does not call back once it is disposed of", async () => {
  let called = false;
  monotonic.after(1, () => void (called = true))[Symbol.dispose]();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert(!called);
});
