import { assert, assertEquals, assertMatch } from "@std/assert";
import { type Diagnostics, type DiagnosticsOptions, messageOf, setUpDiagnostics } from "../../lib/diagnostics.ts";

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
