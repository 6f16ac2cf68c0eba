import { assert, assertEquals, assertMatch } from "@std/assert";
import { LineQueue, LOG_LEVELS, type LogFormat, type Logger, type LogLevel, setUpLogger } from "../../lib/logger.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { nextIteration } from "../support/wait.ts";

/** Sets up a logger that writes into an array. */
function setUp(format: LogFormat, level: LogLevel = "info") {
  const lines: string[] = [];
  return { lines, ...setUpLogger(level, format, (line) => void lines.push(line)) };
}

/** Reports once at each level. */
function reportAtEachLevel(logger: Logger): void {
  logger.debug("at debug");
  logger.info("at info");
  logger.warn("at warning");
  logger.error("at error");
}

Deno.test("setUpLogger() writes text as one line with the time, the level and the values", () => {
  const { logger, lines } = setUp("text");
  logger.warn("client {client} ({address}) dropped", { client: 7, address: "127.0.0.1:50000" });
  assertEquals(lines.length, 1);
  assertMatch(
    lines[0] ?? "",
    /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z warning: client 7 \(127\.0\.0\.1:50000\) dropped\n$/,
  );
});

Deno.test("setUpLogger() writes JSON as one object a line, the values in the message and as properties", () => {
  const { logger, lines } = setUp("json");
  const properties = { cause: 'two\nlines and a "quote"', lines: 3 };
  logger.error("cannot write {lines} lines: {cause}", properties);
  assertEquals(lines.length, 1);
  const [text = ""] = lines;
  assertEquals(text.indexOf("\n"), text.length - 1);
  const { "@timestamp": timestamp, ...record } = JSON.parse(text);
  assertEquals(record, {
    level: "ERROR",
    message: `cannot write 3 lines: ${properties.cause}`,
    logger: "echo-server",
    properties,
  });
  assert(Math.abs(Date.now() - Date.parse(timestamp)) < 60_000, timestamp);
});

Deno.test("setUpLogger() writes for the journal as one line with the priority, without the time", () => {
  const { logger, lines } = setUp("journal", "debug");
  reportAtEachLevel(logger);
  logger.warn("client {client} ({address}) dropped", { client: 7, address: "127.0.0.1:50000" });
  assertEquals(lines, [
    "<7>at debug\n",
    "<6>at info\n",
    "<4>at warning\n",
    "<3>at error\n",
    "<4>client 7 (127.0.0.1:50000) dropped\n",
  ]);
});

Deno.test("setUpLogger() leaves out what is less severe than the level", () => {
  for (const [i, level] of LOG_LEVELS.entries()) {
    const { logger, lines } = setUp("text", level);
    reportAtEachLevel(logger);
    assertEquals(lines.map((line) => /at (\w+)/.exec(line)?.[1]), LOG_LEVELS.slice(i));
  }
});

Deno.test("setUpLogger() returns a status logger that reports once, at every level", () => {
  for (const level of LOG_LEVELS) {
    const { statusLogger, lines } = setUp("text", level);
    statusLogger.info("status uptime={uptime}", { uptime: 1.5 });
    assertEquals(lines.length, 1, level);
    assertMatch(lines[0] ?? "", / info: status uptime=1\.5\n$/);
  }
});

/** A queue whose lines are read when the test says so. Dropped lines are reported by a line `N dropped`. */
class UnreadQueue {
  readonly clock = new FakeClock();
  readonly queue: LineQueue;
  readonly #pending: { bytes: Uint8Array; written: PromiseWithResolvers<number> }[] = [];
  readonly #decoder = new TextDecoder();
  /** What was read so far, in whole characters. */
  text = "";

  constructor(maxQueued?: number) {
    const write = (bytes: Uint8Array) => {
      const written = Promise.withResolvers<number>();
      this.#pending.push({ bytes, written });
      return written.promise;
    };
    this.queue = new LineQueue(write, this.clock, (lines) => this.queue.add(`${lines} dropped\n`), maxQueued);
  }

  /** Has the pending write write at most so many bytes. Returns how many it wrote. */
  async read(max: number = Infinity): Promise<number> {
    assert(this.#pending.length <= 1, "a write has begun before the last one ended");
    const { bytes = new Uint8Array(0), written } = this.#pending.shift() ?? {};
    const taken = bytes.slice(0, max);
    this.text += this.#decoder.decode(taken, { stream: true });
    written?.resolve(taken.length);
    await nextIteration();
    return taken.length;
  }

  /** Reads until nothing is left. */
  async readAll(): Promise<string> {
    while (await this.read() > 0);
    return this.text;
  }

  /** Has the pending write fail. */
  async fail(): Promise<void> {
    this.#pending.shift()?.written.reject(new Deno.errors.BrokenPipe("Broken pipe (os error 32)"));
    await nextIteration();
  }
}

/** Adds lines. */
function add(queue: LineQueue, ...lines: string[]): void {
  for (const line of lines) queue.add(line);
}

Deno.test("LineQueue.add() writes the first line at once, and those that are added meanwhile together", async () => {
  const unread = new UnreadQueue();
  add(unread.queue, "a\n", "b\n", "c\n");
  assertEquals(await unread.read(), 2);
  assertEquals(await unread.read(), 4);
  assertEquals([await unread.read(), unread.text], [0, "a\nb\nc\n"]);
});

Deno.test("LineQueue continues a short write, before it writes the next lines", async () => {
  const unread = new UnreadQueue();
  add(unread.queue, "größer\n", "next\n");
  for (const bytes of [3, 1, 2, 3]) assertEquals(await unread.read(bytes), bytes); // between and within characters
  assertEquals(unread.text, "größer\n");
  assertEquals(await unread.readAll(), "größer\nnext\n");
});

Deno.test("LineQueue.add() drops lines from the bound on, and has it reported there once lines are read again", async () => {
  const unread = new UnreadQueue(11);
  add(unread.queue, "first\n", "12345\n", "6789\n", "long\n", "x\n", "\n");
  await unread.read();
  unread.queue.add("last\n");
  assertEquals(await unread.readAll(), "first\n12345\n6789\n3 dropped\nlast\n");
});

Deno.test("LineQueue.add() takes a line of any length while the bound is not reached", async () => {
  const unread = new UnreadQueue(6);
  const long = "x".repeat(1000) + "\n";
  add(unread.queue, "first\n", "1234\n", long, "dropped\n");
  assertEquals(await unread.readAll(), `first\n1234\n${long}1 dropped\n`);
});

Deno.test("LineQueue.flush() returns the whole bound to the lines that come after it", async () => {
  const unread = new UnreadQueue(6);
  add(unread.queue, "first\n", "12345\n", "dropped\n");
  const flush = unread.queue.flush();
  await unread.readAll();
  assert(await flush);
  add(unread.queue, "last\n", "very last\n");
  assertEquals(await unread.readAll(), "first\n12345\n1 dropped\nlast\nvery last\n");
});

Deno.test("LineQueue takes lines until at least 4 MiB are queued besides what is being written", async () => {
  const unread = new UnreadQueue();
  const written = "x".repeat(99) + "\n";
  for (let i = 0; i < 100_000; i++) unread.queue.add(written);
  let bytes = 0;
  for (let read = -1; read !== 0; bytes += read) read = await unread.read();
  const held = Math.ceil(4_194_304 / written.length);
  const report = `${100_000 - held - 1} dropped\n`;
  assert(unread.text.endsWith(`\n${report}`), unread.text.slice(-100));
  assertEquals(bytes, (held + 1) * written.length + report.length);
});

Deno.test("LineQueue loses lines that cannot be written, and no others", async () => {
  const unread = new UnreadQueue();
  add(unread.queue, "lost\n", "queued meanwhile\n");
  await unread.fail();
  assertEquals(await unread.readAll(), "queued meanwhile\n");
  unread.queue.add("added later\n");
  assertEquals(await unread.readAll(), "queued meanwhile\nadded later\n");
});

Deno.test("LineQueue.flush() resolves with true once all is written, however long that takes", async () => {
  const unread = new UnreadQueue();
  assert(await unread.queue.flush(), "nothing was queued");
  add(unread.queue, "a\n", "x".repeat(20_000) + "\n");
  let flushed: boolean | undefined;
  const flush = unread.queue.flush().then((isAll) => flushed = isAll);
  for (let writes = 1; writes < 6; writes++) {
    unread.clock.advance(999);
    assert(await unread.read() <= 4096);
    assertEquals(flushed, undefined, `after ${writes} writes`);
  }
  await unread.read();
  assert(await flush);
  assertEquals(unread.clock.pending, 0);
});

Deno.test("LineQueue.flush() resolves with true when the last write has failed, since nothing is blocked", async () => {
  const unread = new UnreadQueue();
  unread.queue.add("lost\n");
  const flush = unread.queue.flush();
  await unread.fail();
  assert(await flush);
});

Deno.test("LineQueue.flush() resolves with false when no write has ended for a second", async () => {
  const unread = new UnreadQueue();
  add(unread.queue, "a\n", "b\n");
  let flushed: boolean | undefined;
  const flush = unread.queue.flush().then((isAll) => flushed = isAll);
  unread.clock.advance(500);
  await unread.read();
  unread.clock.advance(999);
  await nextIteration();
  assertEquals(flushed, undefined);
  unread.clock.advance(1001);
  assertEquals(await flush, false);
  assertEquals(unread.clock.pending, 0);
});
