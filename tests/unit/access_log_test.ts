import { assert, assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import fc from "fast-check";
import { AccessLog, type AccessLogOptions, type LogFile } from "../../lib/access_log.ts";
import { FakeClock } from "../support/fake_clock.ts";
import { FakeLogFile } from "../support/fake_log_file.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";
import { recorder } from "../support/recorder.ts";

const NO_SPACE = new Error("No space left on device (os error 28)");
const FAILING = `cannot write the access log, lines are queued and tried again every second: ${NO_SPACE.message}`;

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

/** Appends the lines of clients `first` to `last` in one turn. */
function append(log: AccessLog, first: number, last: number): Promise<void> | undefined {
  let appended: Promise<void> | undefined;
  for (let client = first; client <= last; client++) appended = log.append(client, 5);
  return appended;
}

/** A log whose files come from the given ones, in order; the last comes again and again. */
function setUp(files: LogFile[], options: Partial<AccessLogOptions> = {}) {
  const clock = new FakeClock();
  const { diagnostics, reports } = recorder();
  const open = () => {
    const file = files.length > 1 ? files.shift() : files[0];
    if (file === undefined) throw new Error("no file was given");
    return file;
  };
  const log = new AccessLog({ open, diagnostics, clock, ...options });
  return { log, clock, reports };
}

Deno.test("AccessLog.append() writes the line of the contract", async () => {
  const file = new FakeLogFile();
  const { log, reports } = setUp([file]);
  await log.append(1, 5);
  await log.append(2, 0);
  await log.append(3, 1);
  await log.append(10_000_000, 1_073_741_824);
  assertEquals(
    file.text,
    "[client 1]: received 5 bytes\n[client 2]: received 0 bytes\n[client 3]: received 1 bytes\n" +
      "[client 10000000]: received 1073741824 bytes\n",
  );
  assertEquals(log.close(), "");
  assert(file.closed);
  assertEquals(reports, []);
});

Deno.test("AccessLog passes on what open throws", () => {
  const gone = new Error("no such place");
  const open = () => {
    throw gone;
  };
  assertThrows(() => setUp([], { open }), Error, gone.message);
});

Deno.test("AccessLog.append() resolves only when the write has returned", async () => {
  const file = new FakeLogFile();
  const { log } = setUp([file]);
  const seen: string[] = [];
  const one = log.append(1, 5)?.then(() => seen.push(file.text));
  const other = log.append(2, 5)?.then(() => seen.push(file.text));
  assertEquals(file.tries, 0, "the turn is not over");
  await Promise.all([one, other]);
  assertEquals(seen, [lines(1, 2), lines(1, 2)]);
});

Deno.test("AccessLog.append() writes the lines of one turn in one write", async () => {
  const file = new FakeLogFile();
  const { log } = setUp([file]);
  // As clients do whose last writes ended together: each appends in a continuation of its own.
  const clients = Array.from({ length: 3000 }, (_, i) => Promise.resolve().then(() => log.append(i + 1, 5)));
  await Promise.all(clients);
  assertEquals(file.writes, 1);
  assertEquals(file.text, lines(1, 3000));
  await log.append(3001, 5);
  assertEquals(file.writes, 2);
});

Deno.test("AccessLog.append() goes on where a short write stopped", async () => {
  const file = new FakeLogFile([1, 30, 2, 28]);
  const { log, reports } = setUp([file]);
  await append(log, 1, 3);
  assertEquals(file.text, lines(1, 3));
  assertEquals(file.writes, 5);
  assertEquals(reports, []);
});

Deno.test("AccessLog.append() takes a write of 0 bytes for a failing disk", async () => {
  const file = new FakeLogFile([10, 0]);
  const { log, clock, reports } = setUp([file]);
  await log.append(1, 5);
  assertEquals(file.text, "");
  assertStringIncludes(reports[0]?.message ?? "", "nothing was written");
  clock.advance(1000);
  assertEquals(file.text, line(1));
});

Deno.test("AccessLog reports a failing disk once, queues, tries again each second, and reports its recovery", async () => {
  const file = new FakeLogFile();
  const { log, clock, reports } = setUp([file]);
  await log.append(1, 5);
  file.failure = NO_SPACE;
  await append(log, 2, 3); // resolves: nobody waits for a disk
  assertEquals(log.queuedLines, 2);
  assertEquals(reports.map(({ level, message }) => [level, message]), [["ERROR", FAILING]]);

  assertEquals(log.append(4, 5), undefined);
  const tries = file.tries;
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
  assertEquals(reports.slice(1).map(({ level, message }) => [level, message]), [
    ["WARN", "the access log can be written again, 4 queued lines were caught up"],
  ]);
  assertEquals(clock.pending, 0);

  // All is as before: the next line is written at once, and the next failure is news.
  await log.append(6, 5);
  assertEquals(file.text, lines(1, 6));
  file.failure = NO_SPACE;
  await log.append(7, 5);
  assertEquals(reports.length, 3);
  file.failure = undefined;
  assertEquals(log.close(), "");
  assertEquals(file.text, lines(1, 7));
  assertEquals(clock.pending, 0);
});

Deno.test("AccessLog cuts the part of a line that a failing disk took, in the very turn, and counts whole lines", async () => {
  const taken = line(1).length;
  const file = new FakeLogFile([taken + 3, NO_SPACE]);
  const { log, clock, reports } = setUp([file]);
  await append(log, 1, 3);
  assertEquals([file.text, log.queuedLines], [line(1), 2]);
  log.append(4, 5);
  log.append(5, 5);
  assertEquals(log.queuedLines, 4);
  // Recovered in parts: a line and a half, nothing, two lines and a bit, the rest.
  file.script.push(taken + 15, NO_SPACE, NO_SPACE, 2 * taken, 1, NO_SPACE);
  for (const [inFile, queued] of [[2, 3], [2, 3], [4, 1], [5, 0]] as const) {
    clock.advance(1000);
    assertEquals([file.text, log.queuedLines], [lines(1, inFile), queued]);
  }
  assertEquals(reports.slice(1).map(({ message }) => message), [
    "the access log can be written again, 4 queued lines were caught up",
  ]);
});

Deno.test("AccessLog goes on at the start of a file that is emptied under it", async () => {
  const file = new FakeLogFile();
  const { log, clock } = setUp([file]);
  await append(log, 1, 3);
  file.script.push(40, NO_SPACE);
  await append(log, 4, 6);
  file.truncateSync(0); // an operator makes room
  clock.advance(1000);
  assertEquals(file.text, lines(5, 6));
});

Deno.test("AccessLog.full tells when the queue has come to its ceiling, and onRoom when it has room", async () => {
  const file = new FakeLogFile();
  let rooms = 0;
  const { log, clock } = setUp([file], { maxQueued: line(1).length * 3 });
  log.onRoom = () => void rooms++;
  file.failure = NO_SPACE;
  await append(log, 1, 2);
  assert(!log.full);
  log.append(3, 5);
  assert(log.full);
  log.append(4, 5); // the line of a client that was in flight is taken all the same
  assert(log.full);
  clock.advance(1000);
  assertEquals([log.full, rooms], [true, 0]);
  file.failure = undefined;
  file.script.push(line(1).length + 2, NO_SPACE); // room for one line is not enough, and then for one more it is
  clock.advance(1000);
  assertEquals([log.full, rooms], [true, 0]);
  file.script.push(line(1).length + 2, NO_SPACE);
  clock.advance(1000);
  assertEquals([log.full, rooms, log.queuedLines], [false, 1, 2]);
  clock.advance(1000);
  assertEquals([log.full, rooms], [false, 1]);
  assertEquals(file.text, lines(1, 4));
});

Deno.test("AccessLog calls onRoom also when the queue is at its ceiling exactly, at any length of the queue", async () => {
  for (const kib of [64, 128, 256]) {
    const maxQueued = kib * 1024;
    const file = new FakeLogFile();
    let rooms = 0;
    const { log, clock } = setUp([file], { maxQueued });
    log.onRoom = () => void rooms++;
    file.failure = NO_SPACE;
    await log.append(1, 5);
    // Lines of 29 bytes, and the last ones longer, so that the queue ends on its ceiling to the byte.
    let left = maxQueued - line(1).length;
    while (left > 0) {
      const length = left >= 90 ? 29 : left <= 45 ? left : Math.max(29, left - 45);
      assert(!log.full);
      log.append(10 ** (length - 29), 5);
      left -= length;
    }
    assertEquals(left, 0);
    assert(log.full);
    file.failure = undefined;
    clock.advance(1000);
    assertEquals([log.full, rooms], [false, 1], `${kib} KiB`);
    assertEquals(file.text.length, maxQueued);
  }
});

Deno.test("AccessLog.full is at 64 MiB when nothing else is said", async () => {
  const file = new FakeLogFile();
  file.failure = NO_SPACE;
  const { log } = setUp([file]);
  await log.append(1, 5);
  const long = line(1e15, 1e15).length;
  let queued = line(1).length;
  for (; queued + long < 67_108_864; queued += long) log.append(1e15, 1e15);
  assert(!log.full);
  log.append(1e15, 1e15);
  assert(log.full);
  assertEquals(log.close().length, queued + long);
});

Deno.test("AccessLog takes lines that onRoom appends", async () => {
  const file = new FakeLogFile();
  const { log, clock } = setUp([file], { maxQueued: 1 });
  log.onRoom = () => void log.append(2, 5);
  file.failure = NO_SPACE;
  await log.append(1, 5);
  file.failure = undefined;
  clock.advance(1000);
  await log.append(3, 5);
  assertEquals(file.text, lines(1, 3));
});

Deno.test("AccessLog.reopen() closes the old file and goes on in the new", async () => {
  const [old, fresh] = [new FakeLogFile(), new FakeLogFile()];
  const { log, reports } = setUp([old, fresh]);
  await log.append(1, 5);
  const appended = log.append(2, 5);
  log.reopen();
  assertEquals(old.text, lines(1, 2), "what was appended before belongs to the old file");
  assert(old.closed);
  await appended;
  await log.append(3, 5);
  assertEquals(fresh.text, line(3));
  assertEquals(log.close(), "");
  assert(fresh.closed);
  assertEquals(reports, []);
});

Deno.test("AccessLog.reopen() keeps the old file when the new cannot be opened", async () => {
  const file = new FakeLogFile();
  const broken = new Error("it is a directory");
  let opened = 0;
  const open = () => {
    if (opened++ > 0) throw broken;
    return file;
  };
  const { log } = setUp([], { open });
  await log.append(1, 5);
  assertThrows(() => log.reopen(), Error, broken.message);
  assert(!file.closed);
  await log.append(2, 5);
  assertEquals(file.text, lines(1, 2));

  // Also while the disk fails: the queue stays, and no try is lost.
  file.failure = NO_SPACE;
  await log.append(3, 5);
  assertThrows(() => log.reopen(), Error, broken.message);
  file.failure = undefined;
  assertEquals(log.close(), "");
  assertEquals(file.text, lines(1, 3));
});

Deno.test("AccessLog.reopen() while the disk fails writes the queue to the new file at once", async () => {
  const [old, fresh] = [new FakeLogFile(), new FakeLogFile()];
  const { log, clock, reports } = setUp([old, fresh]);
  await log.append(1, 5);
  old.failure = NO_SPACE;
  await append(log, 2, 4);
  log.reopen();
  assertEquals(old.text, line(1));
  assertEquals(fresh.text, lines(2, 4));
  assertStringIncludes(reports.at(-1)?.message ?? "", " 3 queued lines were caught up");
  assertEquals(clock.pending, 0);
});

Deno.test("AccessLog.reopen() writes the line that the old file did not take whole to the new", async () => {
  for (const torn of [0, 1, 15, line(2).length - 1]) {
    const old = new FakeLogFile([line(1).length + torn, NO_SPACE, NO_SPACE]);
    const fresh = new FakeLogFile();
    const { log } = setUp([old, fresh]);
    await append(log, 1, 3);
    assertEquals(old.text, line(1));
    log.reopen();
    assertEquals([old.text, fresh.text], [line(1), lines(2, 3)], `${torn} bytes of the line were in the old file`);
  }
});

Deno.test("AccessLog keeps a torn line whole while the queue outgrows its buffer", async () => {
  for (const torn of [0, 15]) {
    for (const reopens of [false, true]) {
      // 2000 lines are in the file, and a piece: what is queued is moved to the front of the buffer, then to a larger one.
      const old = new FakeLogFile([lines(1, 2000).length + torn, NO_SPACE]);
      const fresh = new FakeLogFile();
      const { log, clock } = setUp([old, fresh]);
      await append(log, 1, 2010);
      for (let last = 2010; last < 8010; last += 1000) append(log, last + 1, last + 1000);
      old.failure = NO_SPACE;
      if (reopens) log.reopen();
      old.failure = undefined;
      clock.advance(1000);
      assertEquals(log.close(), "");
      assertEquals(old.text, reopens ? lines(1, 2000) : lines(1, 8010));
      assertEquals(fresh.text, reopens ? lines(2001, 8010) : "");
    }
  }
});

Deno.test("AccessLog.reopen() that meets its first failure in a torn line moves the line whole", async () => {
  const old = new FakeLogFile([40, NO_SPACE]);
  const fresh = new FakeLogFile();
  const { log, reports } = setUp([old, fresh]);
  const appended = append(log, 1, 3);
  log.reopen();
  await appended;
  assertEquals([old.text, fresh.text], [line(1), lines(2, 3)]);
  assertEquals(reports.map(({ level }) => level), ["ERROR", "WARN"]);
});

Deno.test("AccessLog.reopen() to a file that fails too keeps the queue", async () => {
  const old = new FakeLogFile([3, NO_SPACE, NO_SPACE]);
  const fresh = new FakeLogFile([7, NO_SPACE]);
  const { log, clock, reports } = setUp([old, fresh]);
  await append(log, 1, 2);
  log.reopen();
  assertEquals([old.text, fresh.text], ["", ""]);
  assertEquals(reports.length, 1, "still the same failure");
  clock.advance(1000);
  assertEquals(fresh.text, lines(1, 2));
});

Deno.test("AccessLog.reopen() leaves the piece where a file cannot be cut, and the line comes whole after it", async () => {
  const old = new FakeLogFile([10, NO_SPACE, NO_SPACE]);
  old.cannotTruncate = true;
  const fresh = new FakeLogFile();
  const { log } = setUp([old, fresh]);
  await append(log, 1, 2);
  log.reopen();
  assertEquals([old.text, fresh.text], [line(1).slice(0, 10), lines(1, 2)]);
});

Deno.test("AccessLog.close() writes what this turn has appended", async () => {
  const file = new FakeLogFile();
  const { log } = setUp([file]);
  const appended = append(log, 1, 2);
  assertEquals(log.close(), "");
  await appended; // and the end of the turn finds nothing to write
  assertEquals(file.text, lines(1, 2));
});

Deno.test("AccessLog.close() returns whole the lines that it cannot write, and leaves no piece of them", async () => {
  for (const torn of [0, 1, 15, 20]) {
    const file = new FakeLogFile([line(1).length + torn, NO_SPACE, 5, NO_SPACE, NO_SPACE]);
    const { log, clock } = setUp([file]);
    await append(log, 1, 3);
    clock.advance(1000);
    assertEquals(log.close(), lines(2, 3));
    assertEquals(file.text, line(1));
    assert(file.closed);
    assertEquals(clock.pending, 0);
  }
});

Deno.test("AccessLog.close() returns all lines of a disk that never took any", async () => {
  const file = new FakeLogFile();
  file.failure = NO_SPACE;
  const { log } = setUp([file]);
  for (let client = 1; client <= 10_000; client++) log.append(client, 5);
  await Promise.resolve();
  assertEquals(log.close(), lines(1, 10_000));
});

/** What the properties below do to a log. */
type Step =
  | { do: "append"; lines: number } // by so many clients in one turn
  | { do: "end turn" }
  | { do: "tick" }
  | { do: "reopen"; throws: boolean };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 5, arbitrary: fc.record({ do: fc.constant("append" as const), lines: fc.integer({ min: 1, max: 40 }) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constant("end turn" as const) }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("tick" as const) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("reopen" as const), throws: fc.boolean() }) },
);

/** How the disk takes writes: whole, short, or not at all. */
const disk = fc.array(
  fc.oneof(fc.constant(Infinity), fc.integer({ min: 0, max: 200 }), fc.constant(NO_SPACE)),
  { maxLength: 60 },
);

Deno.test("AccessLog puts every line whole, once and in order into its files, under any failures", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), disk, fc.boolean(), async (steps, results, heals) => {
      const script = [...results]; // one disk under all files
      const written: FakeLogFile[] = [];
      let refuses = false;
      const open = () => {
        if (refuses) throw new Error("cannot be opened");
        const file = new FakeLogFile(script);
        written.push(file);
        return file;
      };
      const { log, clock, reports } = setUp([], { open });

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
        } else if (step.do === "tick") clock.advance(1000);
        else if (step.do === "end turn") await appended;
        else {
          refuses = step.throws;
          if (refuses) assertThrows(() => log.reopen());
          else log.reopen();
        }
        for (const { text } of written) assert(text === "" || text.endsWith("\n"), "a line is torn");
      }
      if (heals) script.length = 0;
      else script.unshift(NO_SPACE);
      const left = log.close();
      await appended;

      if (heals) assertEquals(left, "");
      assertEquals(written.map(({ text }) => text).join("") + left, expected);
      for (const { text } of written) assert(text === "" || text.endsWith("\n"), "a line is torn");
      assert(written.every(({ closed }) => closed));
      assertEquals(clock.pending, 0);
      // Failure and recovery are reported in turns.
      assertEquals(reports.map(({ level }) => level), reports.map((_, i) => i % 2 === 0 ? "ERROR" : "WARN"));
    }),
    { numRuns: 500 },
  );
});

Deno.test("AccessLog keeps the order of many writers, each waiting for its own lines, in arbitrary turns", async () => {
  const writers = fc.array(fc.integer({ min: 1, max: 10 }), { minLength: 1, maxLength: 20 });
  await fc.assert(
    fc.asyncProperty(writers, disk, fc.scheduler(), async (writers, results, scheduler) => {
      const file = new FakeLogFile([...results]);
      const { log, clock } = setUp([file]);
      let expected = "";
      const all = Promise.all(writers.map(async (count, writer) => {
        for (let i = 1; i <= count; i++) {
          await scheduler.schedule(Promise.resolve(), `writer ${writer}`);
          const text = line(1000 * writer + i);
          expected += text;
          const appended = log.append(1000 * writer + i, 5);
          await appended;
          // While the disk is well, a line is there once its append has resolved.
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

Deno.test({
  ...ignoreIf(
    noFiles,
    "AccessLog appends to a real file that has lines already, and goes on in a new one after a rotation",
  ),
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const path = `${folder}/access.log`;
      await Deno.writeTextFile(path, line(7));
      const open = () => Deno.openSync(path, { append: true, create: true });
      const { log } = setUp([], { open });
      await append(log, 1, 2);
      assertEquals(await Deno.readTextFile(path), line(7) + lines(1, 2));
      await Deno.rename(path, `${path}.1`);
      await log.append(3, 5);
      log.reopen();
      await log.append(4, 5);
      assertEquals(log.close(), "");
      assertEquals(await Deno.readTextFile(`${path}.1`), line(7) + lines(1, 3));
      assertEquals(await Deno.readTextFile(path), line(4));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

/** A real file on a disk that takes only so many bytes more. */
class FillingFile implements LogFile {
  room: number;
  readonly #file: Deno.FsFile;

  constructor(path: string, room: number) {
    this.room = room;
    this.#file = Deno.openSync(path, { append: true, create: true });
  }

  writeSync(bytes: Uint8Array): number {
    if (this.room === 0) throw NO_SPACE;
    const written = this.#file.writeSync(bytes.subarray(0, this.room));
    this.room -= written;
    return written;
  }

  seekSync(offset: number, whence: Deno.SeekMode): number {
    return this.#file.seekSync(offset, whence);
  }

  truncateSync(length: number): void {
    this.room += this.#file.seekSync(0, Deno.SeekMode.End) - length;
    this.#file.truncateSync(length);
  }

  close(): void {
    this.#file.close();
  }
}

Deno.test({
  ...ignoreIf(noFiles, "AccessLog cuts a torn line from a real file at once, and touches nothing before it"),
  async fn() {
    const folder = await Deno.makeTempDir();
    try {
      const [old, fresh] = [`${folder}/old.log`, `${folder}/new.log`];
      await Deno.writeTextFile(old, line(7));
      const { log } = setUp([new FillingFile(old, 40), new FillingFile(fresh, 70)]);
      await append(log, 1, 5);
      assertEquals(await Deno.readTextFile(old), line(7) + line(1));
      log.reopen();
      assertEquals(await Deno.readTextFile(old), line(7) + line(1));
      assertEquals(await Deno.readTextFile(fresh), lines(2, 3));
      assertEquals(log.close(), lines(4, 5));
      assertEquals(await Deno.readTextFile(fresh), lines(2, 3));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});

Deno.test({
  ...ignoreIf(noFiles, "AccessLog catches up on a real file once the disk has room, in whole lines"),
  async fn() {
    const path = await Deno.makeTempFile();
    try {
      const file = new FillingFile(path, 100);
      const { log, clock } = setUp([file]);
      await append(log, 1, 2000);
      clock.advance(1000);
      file.room = 1000;
      clock.advance(1000);
      const text = await Deno.readTextFile(path);
      assertEquals(text, lines(1, text.split("\n").length - 1));
      assert(text.length > 1000 && text.length < 1100, `${text.length} bytes`);
      file.room = Infinity;
      clock.advance(1000);
      await log.append(2001, 5);
      assertEquals(log.close(), "");
      assertEquals(await Deno.readTextFile(path), lines(1, 2001));
    } finally {
      await Deno.remove(path);
    }
  },
});

Deno.test("AccessLog.append() never rejects, whatever the disk throws", async () => {
  for (const thrown of [NO_SPACE, "a string", undefined]) {
    const file = new FakeLogFile();
    file.writeSync = () => {
      throw thrown;
    };
    const { log, reports } = setUp([file]);
    await log.append(1, 5);
    assertStringIncludes(reports[0]?.message ?? "", thrown instanceof Error ? thrown.message : String(thrown));
    assertEquals(log.close(), line(1));
  }
});
