import { assertEquals } from "@std/assert";
import { Statistics } from "../../../verify/statistics.ts";

function of(times: number[]): Statistics {
  const statistics = new Statistics();
  for (const [i, ms] of times.entries()) statistics.add(ms, i);
  return statistics;
}

Deno.test("percentiles() are times that occurred, by the nearest rank", () => {
  const hundred = Array.from({ length: 100 }, (_, i) => (i * 37) % 100 + 1); // 1 to 100 in another order
  assertEquals(of(hundred).percentiles(0.5, 0.9, 0.99, 1), [50, 90, 99, 100]);
  assertEquals(of([7]).percentiles(0.5, 0.99), [7, 7]);
});

Deno.test("bins() double, without a gap, and hold every time once", () => {
  assertEquals(of([1, 1.5, 9, 1.9, 15.9]).bins(), [
    { fromMs: 1, toMs: 2, count: 3 },
    { fromMs: 2, toMs: 4, count: 0 },
    { fromMs: 4, toMs: 8, count: 0 },
    { fromMs: 8, toMs: 16, count: 2 },
  ]);
  assertEquals(of([0, 0.13]).bins().map(({ count }) => count), [1, 1]);
});

Deno.test("Statistics takes a million times", () => {
  const statistics = of(Array.from({ length: 1_000_000 }, (_, i) => i));
  assertEquals([statistics.count, statistics.seconds], [1_000_000, 999_999]);
  assertEquals(statistics.bins().reduce((sum, { count }) => sum + count, 0), 1_000_000);
});
