import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Diagnostics, type DiagnosticsOptions, messageOf, setUpDiagnostics } from "../../lib/diagnostics.ts";
import { Reports } from "../../lib/reports.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { nextIteration } from "../support/wait.ts";

/** Sets up diagnostics that write into an array. */
function setUp(options: Partial<DiagnosticsOptions> = {}) {
  const lines: string[] = [];
  const write = (line: string) => void lines.push(line);
  return { lines, ...setUpDiagnostics({ level: "info", format: "text", colors: false, write, ...options }) };
}

/** Reports once at each level. */
function reportAtEachLevel(to: Diagnostics): void {
  to.debug("at debug");
  to.info("at info");
  to.warn("at warning");
  to.error("at error");
}

Deno.test("setUpDiagnostics() writes text as one line with the time, the level and the values", () => {
  const { diagnostics, lines } = setUp();
  diagnostics.warn("client {client} ({address}) dropped", { client: 7, address: "127.0.0.1:50000" });
  assertEquals(lines.length, 1);
  assertMatch(
    lines[0] ?? "",
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z warning: client 7 \(127\.0\.0\.1:50000\) dropped\n$/,
  );
});

Deno.test("setUpDiagnostics() writes JSON as one object a line, the values as properties", () => {
  const { diagnostics, lines } = setUp({ format: "json", colors: true });
  diagnostics.error("cannot write: {cause}", { cause: 'two\nlines and a "quote"', lines: 3 });
  assertEquals(lines.length, 1);
  const [text = ""] = lines;
  assertEquals(text.indexOf("\n"), text.length - 1);
  const { level, properties, logger } = JSON.parse(text);
  assertEquals(level, "ERROR");
  assertEquals(properties, { cause: 'two\nlines and a "quote"', lines: 3 });
  assertEquals(logger, "echo-server");
  const timestamp = JSON.parse(text)["@timestamp"];
  assert(Math.abs(Date.now() - Date.parse(timestamp)) < 60_000, timestamp);
});

Deno.test("setUpDiagnostics() writes for the journal as one line with the priority, and neither time nor colours", () => {
  const { diagnostics, lines } = setUp({ format: "journal", colors: true, level: "debug" });
  reportAtEachLevel(diagnostics);
  diagnostics.warn("client {client} ({address}) dropped", { client: 7, address: "127.0.0.1:50000" });
  assertEquals(lines, [
    "<7>at debug\n",
    "<6>at info\n",
    "<4>at warning\n",
    "<3>at error\n",
    "<4>client 7 (127.0.0.1:50000) dropped\n",
  ]);
});

Deno.test("setUpDiagnostics() has colours in text only when they are asked for", () => {
  for (const colors of [true, false]) {
    const { diagnostics, lines } = setUp({ colors });
    diagnostics.error("red");
    assertEquals(lines.join("").includes("\x1b["), colors);
  }
});

Deno.test("setUpDiagnostics() leaves out what is less severe than the level", () => {
  const levels = ["debug", "info", "warning", "error"] as const;
  for (const [i, level] of levels.entries()) {
    const { diagnostics, lines } = setUp({ level });
    reportAtEachLevel(diagnostics);
    assertEquals(lines.map((line) => /at (\w+)/.exec(line)?.[1]), levels.slice(i));
  }
});

Deno.test("setUpDiagnostics() reports the status once, at every level", () => {
  for (const level of ["debug", "info", "warning", "error"] as const) {
    const { status, lines } = setUp({ level });
    status.info("up {uptime} s", { uptime: 1.5 });
    assertEquals(lines.length, 1, level);
    assertMatch(lines[0] ?? "", / info: up 1\.5 s\n$/);
  }
});

Deno.test("setUpDiagnostics() loses a line that cannot be written, and throws nothing", () => {
  let tries = 0;
  const lines: string[] = [];
  const { diagnostics } = setUp({
    write: (line) => {
      if (tries++ === 0) throw new Deno.errors.BrokenPipe("Broken pipe (os error 32)");
      lines.push(line);
    },
  });
  diagnostics.error("lost");
  diagnostics.error("seen");
  assertEquals(lines.length, 1);
  assertMatch(lines[0] ?? "", /seen/);
});

Deno.test("setUpDiagnostics() can be called again, and what was set up before writes nothing more", () => {
  const before = setUp();
  const after = setUp();
  after.diagnostics.info("once");
  assertEquals([before.lines.length, after.lines.length], [0, 1]);
});

Deno.test("messageOf() tells what an error says, and what anything else is", () => {
  assertEquals(messageOf(new Deno.errors.NotFound("no such file")), "no such file");
  assertEquals(["text", 7, undefined, null].map(messageOf), ["text", "7", "undefined", "null"]);
});

/** Reports to a reader that reads when it is told to. */
function setUpReports() {
  const clock = new FakeClock();
  let text = "";
  const unread: { bytes: Uint8Array; taken: PromiseWithResolvers<void> }[] = [];
  const write = (bytes: Uint8Array) => {
    const taken = Promise.withResolvers<void>();
    unread.push({ bytes, taken });
    return taken.promise;
  };
  const reports = new Reports({ write, clock, onDropped: (count) => reports.add(`${count} dropped\n`) });
  return {
    reports,
    clock,
    get text() {
      return text;
    },
    /** Reads one write. Returns how many bytes it had. */
    async read(): Promise<number> {
      const { bytes, taken } = unread.shift() ?? {};
      text += new TextDecoder().decode(bytes);
      taken?.resolve();
      await nextIteration();
      return bytes?.length ?? 0;
    },
    /** The write that waits fails. */
    async fail(): Promise<void> {
      unread.shift()?.taken.reject(new Deno.errors.BrokenPipe("nobody reads"));
      await nextIteration();
    },
  };
}

Deno.test("Reports.add() writes the first report at once, and those that come meanwhile together", async () => {
  const all = setUpReports();
  for (const report of ["a\n", "b\n", "c\n"]) all.reports.add(report);
  assertEquals(await all.read(), 2);
  assertEquals(await all.read(), 4);
  assertEquals([await all.read(), all.text], [0, "a\nb\nc\n"]);
});

Deno.test("Reports.add() drops what is beyond the bound, and says in its place how many when it is read again", async () => {
  const all = setUpReports();
  all.reports.maxQueued = 15;
  for (const report of ["first\n", "12345\n", "6789\n", "long\n", "x\n", "\n"]) all.reports.add(report);
  await all.read();
  all.reports.add("last\n");
  await all.read();
  await all.read();
  assertEquals(all.text, "first\n12345\n6789\n3 dropped\nlast\n");
});

Deno.test("Reports holds no more than the bound besides what is being written, however much is reported", async () => {
  const all = setUpReports();
  for (let i = 0; i < 100_000; i++) all.reports.add("x".repeat(99) + "\n");
  let bytes = 0;
  for (let read = -1; read !== 0;) bytes += read = await all.read();
  assert(bytes > 4_000_000 && bytes <= 4_194_304 + 200, `${bytes} bytes were held`);
  assertEquals(all.text.split("\n").at(-2), `${100_000 - (bytes - 14) / 100} dropped`);
});

Deno.test("Reports.add() loses what cannot be written, and nothing else", async () => {
  const all = setUpReports();
  all.reports.add("lost\n");
  await all.fail();
  all.reports.add("seen\n");
  await all.read();
  assertEquals(all.text, "seen\n");
});

Deno.test("Reports.flush() waits until all is read, however long that takes", async () => {
  const all = setUpReports();
  all.reports.add("a\n");
  all.reports.add("x".repeat(300_000) + "\n");
  let flushed = false;
  const flush = all.reports.flush().then(() => void (flushed = true));
  for (let pieces = 1; pieces < 6; pieces++) {
    all.clock.advance(999);
    await all.read();
    assert(!flushed, `after ${pieces} pieces`);
  }
  await all.read();
  await flush;
  assertEquals(all.clock.pending, 0);
  await all.reports.flush(); // there is nothing
});

Deno.test("Reports.flush() gives up when nobody has read for a second", async () => {
  const all = setUpReports();
  all.reports.add("a\n");
  all.reports.add("b\n");
  let flushed = false;
  const flush = all.reports.flush().then(() => void (flushed = true));
  all.clock.advance(500);
  await all.read();
  all.clock.advance(999);
  await nextIteration();
  assert(!flushed);
  all.clock.advance(1001);
  await flush;
  assertEquals(all.clock.pending, 0);
});
