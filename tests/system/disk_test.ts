import { assert, assertEquals, assertLess } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program, type StartOptions } from "../support/program.ts";
import { pattern, roundTrip } from "../support/tcp_client.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";
import { delay, until } from "../support/wait.ts";

/** A disk that can be full. */
interface Disk extends Disposable {
  /** How the program is started such that its log is on it. */
  start: StartOptions;
  /** Makes it full, or nearly. */
  fill(): void;
  /** Gives it space. */
  free(program: Program): void;
}

/** A small file system in memory. */
function smallDisk(): Disk {
  const tmpfs = new Tmpfs("size=64k");
  return {
    start: { accessLog: `${tmpfs.folder}/access.log` },
    fill: () => tmpfs.fill(),
    free: () => tmpfs.free(),
    [Symbol.dispose]: () => tmpfs[Symbol.dispose](),
  };
}

/** A limit on the size of files, which needs no root: a write that meets it is cut short, the next one fails. */
function smallFile(): Disk {
  return {
    start: { launcher: ["sh", "-c", `trap "" XFSZ && ulimit -S -f 1 && exec "$@"`, "sh"] },
    fill() {},
    free({ pid }) {
      assert(succeeds("prlimit", "--pid", `${pid}`, "--fsize=unlimited:"));
    },
    [Symbol.dispose]() {},
  };
}

/** More lines than fit into the page that a file in memory has, or into the limit. */
const COUNT = 300;

const disks = [
  { make: smallDisk, name: "a full disk", missing: canMount ? "" : "needs root to mount a tmpfs" },
  { make: smallFile, name: "a file that may not grow", missing: canRun ? "" : "permissions are missing" },
];

/** Serves so many clients, a few at a time. Returns the longest that one of them took, in seconds. */
async function serve(program: Program, count: number): Promise<number> {
  const message = pattern(100);
  let longest = 0;
  await Promise.all(Array.from({ length: 4 }, async () => {
    for (let i = 0; i < count / 4; i++) {
      const start = performance.now();
      assertEquals(await roundTrip(program.address, message), message);
      longest = Math.max(longest, (performance.now() - start) / 1000);
    }
  }));
  return longest;
}

/** Whether a log has whole lines only. For the moment between the write that a disk cuts short and the cut, it has not. */
function isWhole(text: string): boolean {
  return text === "" || text.endsWith("\n");
}

/** Every client's line, once, whole. Clients that end together may have changed places. */
function assertComplete(text: string, count: number): void {
  const numbers = parseLines(text).map(({ client }) => client);
  assertEquals(numbers.toSorted((a, b) => a - b), Array.from({ length: count }, (_, i) => i + 1));
}

for (const { make, name, missing } of disks) {
  Deno.test(
    ignoreIf(missing, `main.ts serves on over ${name}, and every line is there when there is space`),
    async () => {
      using disk = make();
      await using program = await Program.start(disk.start);
      disk.fill();
      assertLess(await serve(program, COUNT), 0.5);
      await program.line(/error: cannot write the access log/);
      assertLess(await serve(program, COUNT), 0.5);
      const { queued } = await program.status();
      assert(queued >= COUNT, `only ${queued} lines are queued`);

      // A retry that fails is not reported again.
      const failing = performance.now();
      await until(() => performance.now() - failing > 1100);
      assertEquals(program.matches(/ error: /).length, 1);

      disk.free(program);
      const freed = performance.now();
      await program.line(new RegExp(`warning: the access log can be written again, ${queued} queued lines`));
      assertLess(performance.now() - freed, 2000);
      assertComplete(program.log(), 2 * COUNT);

      // One at a time, the order is known: in the file as they ended.
      for (let i = 0; i < 10; i++) await roundTrip(program.address, pattern(i));
      assertEquals(program.lines().slice(-10).map(({ bytes }) => bytes), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]);
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 0);
      assertComplete(program.log(), 2 * COUNT + 10);
    },
  );

  Deno.test(ignoreIf(missing, `main.ts keeps the lines in order over ${name}`), async () => {
    using disk = make();
    await using program = await Program.start(disk.start);
    disk.fill();
    for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
    disk.free(program);
    await program.line(/can be written again/);
    assertEquals(program.lines(), Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })));
  });

  Deno.test(
    ignoreIf(missing, `main.ts reports the lines that ${name} does not take in JSON with --log-format=json`),
    async () => {
      using disk = make();
      await using program = await Program.start({ ...disk.start, flags: ["--log-format=json"] });
      disk.fill();
      for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 1);
      const messages: string[] = program.stderr.map((report) => JSON.parse(report).message);
      const left = messages.filter((message) => message.startsWith("[client "));
      assert(messages.includes(`${left.length} lines could not be written to the access log and follow here`));
      assertComplete(program.log() + left.map((line) => `${line}\n`).join(""), COUNT);
    },
  );

  for (const signals of [1, 2]) {
    const how = signals === 1 ? "SIGTERM" : "the second SIGTERM";
    Deno.test(
      ignoreIf(missing, `main.ts prints the lines that ${name} does not take on ${how}, with status 1`),
      async () => {
        using disk = make();
        await using program = await Program.start({ ...disk.start, flags: ["--drain-timeout=1000"] });
        disk.fill();
        for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
        using _ = signals === 2 ? await Deno.connect(program.address) : { [Symbol.dispose]() {} };
        const { queued } = await program.statusWhen(({ active }) => active === signals - 1);
        program.kill("SIGTERM");
        await program.line(/stopping/);
        if (signals === 2) {
          await delay(1200); // sooner, it would be taken for the first
          program.kill("SIGTERM");
        }
        assertEquals(await program.exit(), 1);

        const said = program.stderr.findIndex((line) =>
          line.endsWith(`error: ${queued} lines could not be written to the access log and follow here`)
        );
        assert(said > 0, "the lines are not announced");
        const left = program.stderr.slice(said + 1).map((line) => `${line}\n`).join("");
        assertEquals(
          parseLines(program.log() + left), // none is torn between the two
          Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })),
        );
      },
    );
  }

  Deno.test(
    ignoreIf(missing, `main.ts leaves no part of a line over ${name}, also when it is killed or the file emptied`),
    async () => {
      using disk = make();
      await using program = await Program.start(disk.start);
      for (let i = 1; i <= COUNT; i++) {
        await roundTrip(program.address, pattern(i));
        if (i === 1) disk.fill(); // but for the rest of the page that the first line is in
        await until(() => isWhole(program.log()));
      }
      await program.line(/cannot write the access log/);
      const before = program.lines();
      assertEquals(before, Array.from(before, (_, i) => ({ client: i + 1, bytes: i + 1 })));
      Deno.truncateSync(program.accessLog); // an operator makes room
      await until(() => program.log() !== "" && isWhole(program.log()));
      program.kill("SIGKILL");
      await program.exit();
      const numbers = program.lines().map(({ client }) => client);
      assertEquals(numbers, Array.from(numbers, (_, i) => before.length + 1 + i));

      await using next = await Program.start({ ...disk.start, accessLog: program.accessLog });
      assertEquals(await roundTrip(next.address, pattern(7)), pattern(7));
      assertEquals(next.lines().slice(0, numbers.length).map(({ client }) => client), numbers);
    },
  );

  Deno.test(ignoreIf(missing, `main.ts goes on in a new log on SIGHUP while ${name} takes nothing`), async () => {
    using disk = make();
    await using program = await Program.start(disk.start);
    disk.fill();
    for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
    await program.line(/cannot write the access log/);
    const old = `${program.accessLog}.1`;
    Deno.renameSync(program.accessLog, old);
    program.kill("SIGHUP");
    await program.line(/access log reopened/);
    disk.free(program);
    await program.line(/can be written again/);
    assertEquals(
      [...parseLines(Deno.readTextFileSync(old)), ...program.lines()], // neither has a part of a line
      Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })),
    );
  });
}
