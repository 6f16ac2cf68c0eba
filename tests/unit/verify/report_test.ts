import { assert, assertEquals, assertMatch } from "@std/assert";
import { NAMES, type Row, Verification } from "../../../verify/checks.ts";
import { formatJson, formatRow, formatSummary, formatTimes } from "../../../verify/report.ts";
import { Statistics } from "../../../verify/statistics.ts";

const FAILED = { result: "failed", seconds: 3.1754, seen: "EOF after 5 of 9 bytes", pointsTo: "a relay" } as const;

/** A verification that has these rows. */
function verification(...rows: Row[]): Verification {
  const address = { hostname: "127.0.0.1", port: 4000 };
  const all = new Verification(address, { ...address, clients: 1, timeout: 1, maxMessage: 1, seconds: 1, json: false });
  all.rows.push(...rows);
  return all;
}

Deno.test("formatRow() has columns", () => {
  assertEquals(formatRow({ name: "small", result: "passed", seconds: 0.0021 }), "small        passed    0.002 s");
  const rows = NAMES.map((name) => formatRow({ name, ...FAILED }).split("\n"));
  for (const [row = ""] of rows) assertEquals(row.slice(13), "failed    3.175 s  EOF after 5 of 9 bytes");
});

Deno.test("formatRow() puts what a failure points to below it, in lines that fit", () => {
  const pointsTo = "a ".repeat(100).trim();
  const [, ...lines] = formatRow({ ...FAILED, name: "small", pointsTo }).split("\n");
  assertEquals(lines.map((line) => line.trim()).join(" "), `points to: ${pointsTo}`);
  for (const line of lines) assertMatch(line, /^ {13}\S.{0,66}$/);
  assertEquals(Math.max(...lines.map((line) => line.length)), 80);
});

Deno.test("formatTimes() fits 80 columns, and the most frequent times fill them", () => {
  const times = new Statistics();
  for (let i = 0; i < 20_000; i++) times.add(2 ** (i % 17 - 4 + (i % 3 === 0 ? 0 : 0.5)), 4);
  for (let i = 0; i < 2_000_000; i++) times.add(3, 4);
  const [numbers, ...bars] = formatTimes(times).split("\n");
  assertEquals(numbers, "505,000 clients/s, p50 3.0 ms, p90 3.0 ms, p99 3.0 ms");
  assertEquals(Math.max(...bars.map((bar) => bar.length)), 80);
  assertEquals(bars.length, 17);
  for (const bar of bars) assertMatch(bar, /^ +[\d.]+ to [\d.]+ ms +[\d,]+ {2}#+$/);
});

Deno.test("formatSummary() says that the server echoes early, and what was skipped if anything was", () => {
  const early = verification({ name: "slow-sender", result: "passed", seconds: 3 });
  early.echoesEarly = true;
  assertEquals(formatSummary("a:1", early), "a:1 passed, but echoes before the half-close");
  early.rows.push({ name: "silence", result: "skipped", seconds: 1 });
  assertMatch(formatSummary("a:1", early), /before the half-close: what depends on silence was skipped$/);
});

Deno.test("formatSummary() names the checks that failed", () => {
  assertEquals(formatSummary("a:1", verification({ name: "small", ...FAILED })), "a:1 failed: small");
  assertEquals(formatSummary("a:1", verification()), "a:1 passed");
});

Deno.test("formatJson() is one line, and has only what is known", () => {
  const known = verification({ name: "connect", result: "passed", seconds: 0.5 }, { name: "small", ...FAILED });
  const json = formatJson("127.0.0.1:4000", known);
  assert(!json.includes("\n"));
  const expected = {
    address: "127.0.0.1:4000",
    passed: false,
    echoesEarly: false,
    checks: [{ name: "connect", result: "passed", seconds: 0.5 }, { name: "small", ...FAILED }],
  };
  assertEquals(JSON.parse(json), expected);
  known.times.add(2, 0.5);
  const load = { clients: 1, seconds: 0.5, clientsPerSecond: 2, p50Ms: 2, p90Ms: 2, p99Ms: 2 };
  assertEquals(JSON.parse(formatJson("127.0.0.1:4000", known)), { ...expected, load });
});

Deno.test("a verification that was interrupted has not passed", () => {
  const rows = NAMES.map((name) => ({ name, result: "passed", seconds: 1 } as const));
  assertEquals(verification(...rows).passed, true);
  assertEquals(verification(...rows.slice(0, -1)).passed, false);
});
