import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AccessLog } from "../../lib/access_log.ts";
import { type LogFile, openLogFile } from "../../lib/startup.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { recorder, type Report } from "../support/recorder.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { nextIteration } from "../support/wait.ts";

const NO_SPACE = new Error("No space left on device (os error 28)");
const OUTAGE = `cannot write to the access log, lines are queued and retried every second: ${NO_SPACE.message}`;
const RECOVERY = "the access log can be written to again, all queued lines are in it";
const REOPENED = "access log reopened";

const noFiles = hasPermissions({ name: "read" }, { name: "write" }) ? "" : "permissions are missing";

function line(client: number, bytes: number = 5): string {
  return `[client ${client}]: received ${bytes} bytes\n`;
}

/** The lines of clients `first` to `last`. */
function lines(first: number, last: number): string {
  let text = "";
  for (let client = first; client <= last; client++) text += line(client);
  return text;
}

/** Appends the lines of clients `first` to `last` to one batch. */
function append(log: AccessLog, first: number, last: number): Promise<void> | undefined {
  let appended: Promise<void> | undefined;
  for (let client = first; client <= last; client++) appended = log.append(client, 5);
  return appended;
}

/** A log whose files come from `open`. */
function setUp(open: () => LogFile, maxQueuedBytes?: number) {
  const clock = new FakeClock();
  const { logger, reports } = recorder();
  return { log: new AccessLog(open, logger, clock, maxQueuedBytes), clock, reports };
}

/** Opens the files in their order. */
function inOrder(...files: LogFile[]): () => LogFile {
  return () => {
    const file = files.shift();
    if (file === undefined) throw new Error("it is a directory");
    return file;
  };
}

/** The level and message of each report. */
function summary(reports: Report[]): [level: string, message: string][] {
  return reports.map(({ level, message }) => [level, message]);
}

Deno.test("AccessLog passes on what open() throws", () => {
  assertThrows(() => setUp(inOrder()), Error, "it is a directory");
});

Deno.test("AccessLog.append() writes the line of the contract", async () => {
  const file = new FakeLogFile();
  const { log, reports } = setUp(inOrder(file));
  await log.append(1, 5);
  await log.append(2, 0);
  await log.append(3, 1);
  await log.append(10_000_000, 1_073_741_824);
  assertEquals(
    file.text,
    "[client 1]: received 5 bytes\n[client 2]: received 0 bytes\n[client 3]: received 1 bytes\n" +
      "[client 10000000]: received 1073741824 bytes\n",
  );
  assertEquals(await log.close(), "");
  assert(file.closed);
  assertEquals(reports, []);
});

Deno.test("AccessLog.append() resolves only when the write has returned", async () => {
  const file = new FakeLogFile();
  const { log } = setUp(inOrder(file));
  const seen: string[] = [];
  const one = log.append(1, 5)?.then(() => seen.push(file.text));
  const other = log.append(2, 5)?.then(() => seen.push(file.text));
  assertEquals(file.tries, 0, "written before the batch was complete");
  await Promise.all([one, other]);
  assertEquals(seen, [lines(1, 2), lines(1, 2)]);
});

Deno.test("AccessLog.append() writes the lines of one event-loop iteration in one write", async () => {
  const file = new FakeLogFile();
  const { log } = setUp(inOrder(file));
  // As clients do whose last writes ended together: each appends in a continuation of its own.
  const clients = Array.from({ length: 3000 }, (_, i) => Promise.resolve().then(() => log.append(i + 1, 5)));
  await Promise.all(clients);
  assertEquals(file.writes, 1);
  assertEquals(file.text, lines(1, 3000));
  await log.append(3001, 5);
  assertEquals(file.writes, 2);
});

Deno.test("AccessLog.append() continues a short write", async () => {
  const file = new FakeLogFile([1, 30, 2, 28]);
  const { log, reports } = setUp(inOrder(file));
  await append(log, 1, 3);
  assertEquals(file.text, lines(1, 3));
  assertEquals(file.writes, 5);
  assertEquals(reports, []);
});

Deno.test("AccessLog.append() takes a write of 0 bytes for a failure", async () => {
  const file = new FakeLogFile([10, 0]);
  const { log, clock, reports } = setUp(inOrder(file));
  await log.append(1, 5);
  assertEquals(file.text, "");
  assertStringIncludes(reports[0]?.message ?? "", "write(2) returned 0");
  clock.advance(1000);
  assertEquals(file.text, line(1));
});

Deno.test("AccessLog.append() never rejects, whatever the write throws", async () => {
  for (const thrown of [NO_SPACE, "a string", undefined]) {
    const file = new FakeLogFile();
    file.write = () => {
      throw thrown;
    };
    const { log, reports } = setUp(inOrder(file));
    await log.append(1, 5);
    assertStringIncludes(reports[0]?.message ?? "", thrown instanceof Error ? thrown.message : String(thrown));
    assertEquals(await log.close(), line(1));
  }
});

Deno.test("AccessLog reports an outage once, queues, tries again each second, and reports its end", async () => {
  const file = new FakeLogFile();
  const { log, clock, reports } = setUp(inOrder(file));
  await log.append(1, 5);
  file.failure = NO_SPACE;
  await append(log, 2, 3); // resolves: no client waits for a disk
  assertEquals(log.queuedLines, 2);
  assertEquals(summary(reports), [["ERROR", OUTAGE]]);

  assertEquals(log.append(4, 5), undefined);
  const { tries } = file;
  clock.advance(999);
  assertEquals(file.tries, tries);
  clock.advance(1);
  assertEquals(file.tries, tries + 1);
  clock.advance(10_000);
  assertEquals(file.tries, tries + 11);
  assertEquals(log.append(5, 5), undefined);
  assertEquals(file.tries, tries + 11, "only the clock tries again");
  assertEquals(log.queuedLines, 4);
  assertEquals(file.text, line(1));

  file.failure = undefined;
  clock.advance(1000);
  assertEquals(file.text, lines(1, 5));
  assertEquals(log.queuedLines, 0);
  assertEquals(summary(reports.slice(1)), [["WARN", RECOVERY]]);
  assertEquals(clock.pending, 0);

  // All is as before: the next line is written at once, and the next outage is reported.
  await log.append(6, 5);
  assertEquals(file.text, lines(1, 6));
  file.failure = NO_SPACE;
  await log.append(7, 5);
  assertEquals(summary(reports.slice(2)), [["ERROR", OUTAGE]]);
  file.failure = undefined;
  assertEquals(await log.close(), "");
  assertEquals(file.text, lines(1, 7));
  assertEquals(clock.pending, 0);
});

Deno.test("AccessLog truncates a partial line away at once, and counts whole lines", async () => {
  const { length } = line(1);
  const file = new FakeLogFile([length + 3, NO_SPACE]);
  const { log, clock, reports } = setUp(inOrder(file));
  await append(log, 1, 3);
  assertEquals([file.text, log.queuedLines], [line(1), 2]);
  append(log, 4, 5);
  assertEquals(log.queuedLines, 4);
  // The outage ends in steps: a line and a half, nothing, two lines and a part of the next, the rest.
  file.script.push(length + 15, NO_SPACE, NO_SPACE, 2 * length, 1, NO_SPACE);
  for (const [written, queued] of [[2, 3], [2, 3], [4, 1], [5, 0]] as const) {
    clock.advance(1000);
    assertEquals([file.text, log.queuedLines], [lines(1, written), queued]);
  }
  assertEquals(summary(reports), [["ERROR", OUTAGE], ["WARN", RECOVERY]]);
});

Deno.test("AccessLog continues at the start of a file that is emptied during an outage", async () => {
  const file = new FakeLogFile();
  const { log, clock } = setUp(inOrder(file));
  await append(log, 1, 3);
  file.script.push(40, NO_SPACE);
  await append(log, 4, 6);
  file.cutOff(file.text.length); // as an operator does to free space
  clock.advance(1000);
  assertEquals(file.text, lines(5, 6));
});

Deno.test("AccessLog.hasCapacity is false from the bound on, until enough lines are written", async () => {
  const { length } = line(1);
  const file = new FakeLogFile();
  const { log, clock } = setUp(inOrder(file), 3 * length);
  file.failure = NO_SPACE;
  await append(log, 1, 2);
  assert(log.hasCapacity);
  log.append(3, 5);
  assert(!log.hasCapacity);
  log.append(4, 5); // the line of a client in flight is taken all the same
  clock.advance(1000);
  assert(!log.hasCapacity);
  file.failure = undefined;
  // Of four lines one is written, which is not enough, and then one more.
  file.script.push(length + 2, NO_SPACE);
  clock.advance(1000);
  assert(!log.hasCapacity);
  file.script.push(length + 2, NO_SPACE);
  clock.advance(1000);
  assertEquals([log.hasCapacity, log.queuedLines], [true, 2]);
  clock.advance(1000);
  assert(log.hasCapacity);
  assertEquals(file.text, lines(1, 4));
});

Deno.test("AccessLog.hasCapacity is true up to 64 MiB by default", async () => {
  const file = new FakeLogFile();
  file.failure = NO_SPACE;
  const { log } = setUp(inOrder(file));
  await log.append(1, 5);
  const { length } = line(1e15, 1e15);
  let queued = line(1).length;
  for (; queued + length < 67_108_864; queued += length) log.append(1e15, 1e15);
  assert(log.hasCapacity);
  log.append(1e15, 1e15);
  assert(!log.hasCapacity);
});

Deno.test("AccessLog.reopen() closes the old file and continues in the new", async () => {
  const [old, fresh] = [new FakeLogFile(), new FakeLogFile()];
  const { log, reports } = setUp(inOrder(old, fresh));
  await log.append(1, 5);
  const appended = log.append(2, 5);
  log.reopen();
  assertEquals(old.text, lines(1, 2), "what was appended before belongs to the old file");
  assert(old.closed);
  await appended;
  await log.append(3, 5);
  assertEquals(fresh.text, line(3));
  assertEquals(await log.close(), "");
  assert(fresh.closed);
  assertEquals(summary(reports), [["INFO", REOPENED]]);
});

Deno.test("AccessLog.reopen() keeps the old file when the new cannot be opened, and reports that", async () => {
  const file = new FakeLogFile();
  const { log, reports } = setUp(inOrder(file));
  const failed: [string, string] = ["ERROR", "keeping the old access log: it is a directory"];
  await log.append(1, 5);
  log.reopen();
  assert(!file.closed);
  await log.append(2, 5);
  assertEquals(file.text, lines(1, 2));
  assertEquals(summary(reports), [failed]);

  // Also during an outage: what is queued stays queued.
  file.failure = NO_SPACE;
  await log.append(3, 5);
  log.reopen();
  file.failure = undefined;
  assertEquals(await log.close(), "");
  assertEquals(file.text, lines(1, 3));
  assertEquals(summary(reports.slice(1)), [["ERROR", OUTAGE], failed, ["WARN", RECOVERY]]);
});

Deno.test("AccessLog.reopen() during an outage writes the queue to the new file at once, in whole lines", async () => {
  for (const partial of [0, 1, 15, line(2).length - 1]) {
    const old = new FakeLogFile([line(1).length + partial, NO_SPACE, NO_SPACE]);
    const fresh = new FakeLogFile();
    const { log, clock, reports } = setUp(inOrder(old, fresh));
    await append(log, 1, 3);
    assertEquals(old.text, line(1));
    log.reopen();
    assertEquals([old.text, fresh.text], [line(1), lines(2, 3)], `${partial} bytes of a line were written`);
    assertEquals(summary(reports), [["ERROR", OUTAGE], ["WARN", RECOVERY], ["INFO", REOPENED]]);
    assertEquals(clock.pending, 0);
  }
});

Deno.test("AccessLog.reopen() that begins an outage writes the rest of the batch to the new file, in whole lines", async () => {
  const old = new FakeLogFile([40, NO_SPACE]);
  const fresh = new FakeLogFile();
  const { log, reports } = setUp(inOrder(old, fresh));
  const appended = append(log, 1, 3);
  log.reopen();
  await appended;
  assertEquals([old.text, fresh.text], [line(1), lines(2, 3)]);
  assertEquals(summary(reports), [["ERROR", OUTAGE], ["WARN", RECOVERY], ["INFO", REOPENED]]);
});

Deno.test("AccessLog.reopen() to a file that cannot be written either keeps the queue", async () => {
  const old = new FakeLogFile([3, NO_SPACE, NO_SPACE]);
  const fresh = new FakeLogFile([7, NO_SPACE]);
  const { log, clock, reports } = setUp(inOrder(old, fresh));
  await append(log, 1, 2);
  log.reopen();
  assertEquals([old.text, fresh.text], ["", ""]);
  assertEquals(summary(reports), [["ERROR", OUTAGE], ["INFO", REOPENED]], "it is still the same outage");
  clock.advance(1000);
  assertEquals(fresh.text, lines(1, 2));
});

Deno.test("AccessLog writes the rest of a partial line that cannot be cut off", async () => {
  const file = new FakeLogFile([10, NO_SPACE]);
  file.cannotCutOff = true;
  const { log, clock } = setUp(inOrder(file));
  await append(log, 1, 2);
  clock.advance(1000);
  assertEquals(file.text, lines(1, 2));
});

Deno.test("AccessLog.close() writes the batch that is pending", async () => {
  const file = new FakeLogFile();
  const { log } = setUp(inOrder(file));
  const appended = append(log, 1, 2);
  assertEquals(await log.close(), "");
  await appended; // finds nothing to write to the closed file
  assertEquals(file.text, lines(1, 2));
});

Deno.test("AccessLog.close() returns the lines that it cannot write, and leaves no part of them in the file", async () => {
  for (const partial of [0, 1, 15, 20]) {
    const file = new FakeLogFile([line(1).length + partial, NO_SPACE, 5, NO_SPACE, NO_SPACE]);
    const { log, clock } = setUp(inOrder(file));
    await append(log, 1, 3);
    clock.advance(1000);
    assertEquals(await log.close(), lines(2, 3));
    assertEquals(file.text, line(1));
    assert(file.closed);
    assertEquals(clock.pending, 0);
  }
});

/** A pipe, whose writes end when the test says so. */
class Pipe implements LogFile {
  text = "";
  /** The writes that have not ended, which take so many bytes of their own, or fail. */
  readonly writes: ((result: number | Error) => void)[] = [];

  write(bytes: Uint8Array): Promise<number> {
    return new Promise((resolve, reject) =>
      this.writes.push((result) => {
        if (typeof result !== "number") return reject(result);
        const taken = bytes.subarray(0, result);
        this.text += new TextDecoder().decode(taken);
        resolve(taken.length);
      })
    );
  }

  /** Ends the write that is under way. */
  async end(result: number | Error = Infinity): Promise<void> {
    assertEquals(this.writes.length, 1);
    this.writes.pop()?.(result);
    await nextIteration();
  }

  close() {}
}

/** Appends lines, and tells of which the append has resolved. */
function appendAll(log: AccessLog, from: number, to: number): number[] {
  const resolved: number[] = [];
  for (let client = from; client <= to; client++) log.append(client, 5)?.then(() => resolved.push(client));
  return resolved;
}

Deno.test("AccessLog.append() to a pipe resolves when its write has ended, and later lines wait for the next", async () => {
  const pipe = new Pipe();
  const { log, clock, reports } = setUp(inOrder(pipe));
  const first = appendAll(log, 1, 2);
  await nextIteration();
  const second = appendAll(log, 3, 4);
  clock.advance(60_000); // nothing ends the wait
  await nextIteration();
  assertEquals([first, second, log.queuedLines], [[], [], 4]);
  await pipe.end(10); // a short write
  assertEquals(first, []);
  await pipe.end();
  assertEquals([first, second, pipe.text], [[1, 2], [], lines(1, 2)]);
  await pipe.end();
  assertEquals([second, pipe.text, reports], [[3, 4], lines(1, 4), []]);
  assertEquals(await log.close(), "");
});

Deno.test("AccessLog.append() to a pipe writes each line once, whenever it is called while a write ends", async () => {
  for (let when = 0; when < 20; when++) {
    const pipe = new Pipe();
    const { log } = setUp(inOrder(pipe));
    appendAll(log, 1, 1);
    await nextIteration();
    pipe.writes.pop()?.(Infinity);
    for (let microtask = 0; microtask < when; microtask++) await Promise.resolve();
    appendAll(log, 2, 2);
    await nextIteration();
    await pipe.end();
    assertEquals([pipe.text, log.queuedLines], [lines(1, 2), 0]);
  }
});

Deno.test("AccessLog handles a pipe without a reader like a full disk", async () => {
  const pipe = new Pipe();
  const { log, clock, reports } = setUp(inOrder(pipe));
  const first = appendAll(log, 1, 2);
  await nextIteration();
  const second = appendAll(log, 3, 4);
  await pipe.end(NO_SPACE);
  assertEquals([first, second, summary(reports)], [[1, 2], [3, 4], [["ERROR", OUTAGE]]]); // no client waits
  assertEquals(log.append(5, 5), undefined);
  clock.advance(1000);
  await pipe.end();
  assertEquals([pipe.text, log.queuedLines, summary(reports.slice(1))], [lines(1, 5), 0, [["WARN", RECOVERY]]]);
  const third = appendAll(log, 6, 6);
  await nextIteration();
  assertEquals(third, []);
  await pipe.end();
  assertEquals([third, pipe.text], [[6], lines(1, 6)]);
  const closed = log.close();
  assertEquals(await closed, "");
});

Deno.test("AccessLog.close() returns the lines that a last write to a pipe could not write", async () => {
  const pipe = new Pipe();
  const { log } = setUp(inOrder(pipe));
  appendAll(log, 1, 2);
  await nextIteration();
  await pipe.end(NO_SPACE);
  const closed = log.close();
  await pipe.end(NO_SPACE);
  assertEquals(await closed, lines(1, 2));
});

Deno.test("AccessLog.abandonWrite() lets no client wait for a pipe, and close() returns what is not written", async () => {
  const pipe = new Pipe();
  const { log, clock, reports } = setUp(inOrder(pipe));
  log.abandonWrite(); // nothing to abandon
  const first = appendAll(log, 1, 2);
  await nextIteration();
  const second = appendAll(log, 3, 4);
  await nextIteration();
  log.abandonWrite();
  await nextIteration();
  assertEquals([first, second], [[1, 2], [3, 4]]);
  assertStringIncludes(reports[0]?.message ?? "", "it is not being read");
  assertEquals(log.append(5, 5), undefined);
  clock.advance(10_000);
  assertEquals(pipe.writes.length, 1); // no other write begins while that one is under way
  assertEquals(await log.close(), lines(1, 5));
  assertEquals(clock.pending, 0);
});

Deno.test("AccessLog.reopen() says that there is nothing to reopen if the file is the same", async () => {
  const pipe = new Pipe();
  const { log, reports } = setUp(inOrder(pipe, pipe));
  log.reopen();
  assertEquals(summary(reports), [["INFO", "nothing to reopen: the access log is standard output"]]);
  await log.close();
});

/** What the property below does to a log. */
type Step =
  | { do: "append"; lines: number } // to one batch
  | { do: "await" } // the last batch
  | { do: "retry" }
  | { do: "reopen"; fails: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("append" as const), lines: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("await" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("retry" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const), fails: fc.boolean() }) },
);

/** How writes end: whole, short, or with an error. */
const writes = fc.array(
  fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 200 }), fc.constant(NO_SPACE)),
  { maxLength: 60 },
);

Deno.test("AccessLog puts every line whole, once and in order into its files, under any failures", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), writes, fc.boolean(), async (steps, results, recovers) => {
      const script = [...results]; // of one disk, under all files
      const files: FakeLogFile[] = [];
      let openFails = false;
      const { log, clock, reports } = setUp(() => {
        if (openFails) throw new Error("it is a directory");
        const file = new FakeLogFile(script);
        files.push(file);
        return file;
      });
      const assertWholeLines = () => {
        for (const { text } of files) assert(text === "" || text.endsWith("\n"), "a line is partial");
      };

      let expected = "";
      let client = 0;
      let appended: Promise<void> | undefined;
      for (const step of steps) {
        if (step.do === "append") {
          for (let i = 0; i < step.lines; i++) {
            client++;
            const bytes = client ** 3;
            expected += line(client, bytes);
            appended = log.append(client, bytes) ?? appended;
          }
        } else if (step.do === "retry") clock.advance(1000);
        else if (step.do === "await") await appended;
        else {
          openFails = step.fails;
          log.reopen();
        }
        assertWholeLines();
      }
      if (recovers) script.length = 0;
      else script.unshift(NO_SPACE);
      const unwritten = await log.close();
      await appended;

      if (recovers) assertEquals(unwritten, "");
      assertEquals(files.map(({ text }) => text).join("") + unwritten, expected);
      assertWholeLines();
      assert(files.every(({ closed }) => closed));
      assertEquals(clock.pending, 0);
      // Each outage is reported once, and so is its end.
      const outages = reports.map(({ message }) => message.split(/[,:]/)[0])
        .filter((what) => what !== REOPENED && what !== "keeping the old access log");
      const [begin, end] = [OUTAGE, RECOVERY].map((message) => message.split(",")[0]);
      assertEquals(outages, outages.map((_, i) => i % 2 === 0 ? begin : end));
    }),
    { numRuns: 500 },
  );
});

Deno.test("AccessLog keeps the order of many writers, each awaiting its own lines, in any interleaving", async () => {
  const writers = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(writers, writes, fc.scheduler(), async (writers, results, scheduler) => {
      const file = new FakeLogFile([...results]);
      const { log, clock } = setUp(inOrder(file));
      let expected = "";
      const all = Promise.all(writers.map(async (count, writer) => {
        for (let i = 1; i <= count; i++) {
          await scheduler.schedule(Promise.resolve(), `writer ${writer}`);
          const text = line(1000 * writer + i);
          expected += text;
          const appended = log.append(1000 * writer + i, 5);
          await appended;
          // Without an outage a line is in the file once its append has resolved.
          if (appended !== undefined && log.queuedLines === 0) assertStringIncludes(file.text, text);
        }
      }));
      await scheduler.waitFor(all);
      for (let tries = 0; log.queuedLines > 0 && tries <= results.length; tries++) clock.advance(1000);
      assertEquals(log.queuedLines, 0);
      assertEquals(file.text, expected);
    }),
  );
});

/** A real file on a disk that has only so many bytes free. */
class FillingFile implements LogFile {
  readonly #file: LogFile;

  constructor(path: string, public free: number) {
    this.#file = openLogFile(path);
  }

  write(bytes: Uint8Array): number | Promise<number> {
    if (this.free === 0) throw NO_SPACE;
    const taken = bytes.subarray(0, this.free);
    this.free -= taken.length;
    return this.#file.write(taken);
  }

  cutOff(bytes: number): boolean {
    this.free += bytes;
    return this.#file.cutOff?.(bytes) ?? false;
  }

  close(): void {
    this.#file.close();
  }
}

Deno.test({
  ...ignoreIf(
    noFiles,
    "AccessLog truncates a partial line away from a real file, touches nothing before it, and continues there",
  ),
  async fn() {
    using folder = new TemporaryFolder();
    const path = `${folder.path}/access.log`;
    Deno.writeTextFileSync(path, line(7));
    const file = new FillingFile(path, 40);
    const { log, clock } = setUp(() => file);
    await append(log, 1, 5);
    assertEquals(Deno.readTextFileSync(path), line(7) + line(1));
    file.free = 70;
    clock.advance(1000);
    assertEquals(Deno.readTextFileSync(path), line(7) + lines(1, 3));
    file.free = Infinity;
    assertEquals(await log.close(), "");
    assertEquals(Deno.readTextFileSync(path), line(7) + lines(1, 5));
  },
});

Deno.test({
  ...ignoreIf(noFiles, "AccessLog.reopen() continues in a new real file after a rotation"),
  async fn() {
    using folder = new TemporaryFolder();
    const path = `${folder.path}/access.log`;
    const { log } = setUp(() => openLogFile(path));
    await append(log, 1, 2);
    Deno.renameSync(path, `${path}.1`);
    await log.append(3, 5);
    log.reopen();
    await log.append(4, 5);
    assertEquals(await log.close(), "");
    assertEquals(Deno.readTextFileSync(`${path}.1`), lines(1, 3));
    assertEquals(Deno.readTextFileSync(path), line(4));
  },
});
