import { assert, assertEquals, assertLess } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { succeeds } from "../support/commands.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program, type StartOptions } from "../support/program.ts";
import { pattern, roundTrip } from "../support/tcp_client.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";
import { delay, settles, until } from "../support/wait.ts";

/** A disk that can be full. */
interface Disk extends Disposable {
  /** How the program is started such that its log is on it. */
  start: StartOptions;
  /** Makes it full, or nearly. */
  fill(program: Program): void;
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

/** A limit on the size of files, which needs no root: a write that reaches it is short, the next one raises SIGXFSZ. */
function smallFile(): Disk {
  const limit = ({ pid }: Program, bytes: string) =>
    assert(succeeds("prlimit", "--pid", `${pid}`, `--fsize=${bytes}:`));
  return {
    start: {},
    fill: (program) => limit(program, "512"),
    free: (program) => limit(program, "unlimited"),
    [Symbol.dispose]() {},
  };
}

/** More lines than fit into the page that a file in memory has, or into the limit. */
const COUNT = 300;

const disks = [
  { make: smallDisk, name: "a full disk", missing: canMount ? "" : "needs root to mount a tmpfs" },
  { make: smallFile, name: "a file that may not grow", missing: cannotRun },
];

/** Serves so many clients, a few at a time. If they waited for the next try to write, this would not be over in time. */
async function serve(program: Program, count: number): Promise<void> {
  const message = pattern(100);
  const clients = Promise.all(Array.from({ length: 4 }, async () => {
    for (let i = 0; i < count / 4; i++) assertEquals(await roundTrip(program.address, message), message);
  }));
  await settles(clients, `${count} clients`);
}

/** Whether a log has whole lines only. Between a short write and the truncation it has not. */
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
    ignoreIf(missing, `main.ts serves on over ${name}, and writes every line once there is space`),
    async () => {
      using disk = make();
      await using program = await Program.start(disk.start);
      disk.fill(program);
      await serve(program, COUNT);
      await program.line(/error: cannot write to the access log/);
      await serve(program, COUNT);
      const { queued_lines } = await program.status();
      assert(queued_lines >= COUNT, `only ${queued_lines} lines are queued`);

      // A retry that fails is not reported again.
      await delay(1100);
      assertEquals(program.matches(/ error: /).length, 1);

      disk.free(program);
      const freed = performance.now();
      await program.line(/warning: the access log can be written to again, all queued lines are in it$/);
      assertLess(performance.now() - freed, 5000); // a second is promised, the rest is for a busy machine
      assertEquals((await program.status()).queued_lines, 0);
      assertComplete(program.log(), 2 * COUNT);

      // Of clients that are served one at a time, the order is known.
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
    disk.fill(program);
    for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
    disk.free(program);
    await program.line(/can be written to again/);
    assertEquals(program.lines(), Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })));
  });

  Deno.test(
    ignoreIf(
      missing,
      `main.ts reports the lines left over by ${name} in one JSON object with --log-format=json, and status 1`,
    ),
    async () => {
      using disk = make();
      await using program = await Program.start({ ...disk.start, flags: ["--log-format=json"] });
      disk.fill(program);
      for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 1);
      const { level, message, properties } = JSON.parse(program.stderr.at(-1) ?? "");
      assertEquals(level, "ERROR");
      assertEquals(message, `these lines could not be written to the access log:\n${properties.lines}`);
      assertComplete(`${program.log()}${properties.lines}\n`, COUNT);
    },
  );

  for (const signals of [1, 2]) {
    const how = signals === 1 ? "SIGTERM" : "a repeated SIGTERM";
    Deno.test(
      ignoreIf(missing, `main.ts prints the lines left over by ${name} on ${how}, with status 1`),
      async () => {
        using disk = make();
        await using program = await Program.start({ ...disk.start, flags: ["--drain-timeout=1000"] });
        disk.fill(program);
        for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
        using _ = signals === 2 ? await Deno.connect(program.address) : { [Symbol.dispose]() {} };
        await program.statusWhen(({ active }) => active === signals - 1);
        program.kill("SIGTERM");
        await program.line(/draining/);
        if (signals === 2) {
          await delay(1200); // within a second it would count as the same
          program.kill("SIGTERM");
        }
        assertEquals(await program.exit(), 1);

        const reported = program.stderr.findIndex((line) =>
          / error: these lines could not be written to the access log:$/.test(line)
        );
        assert(reported > 0, "the lines are not reported");
        const left = program.stderr.slice(reported + 1).map((line) => `${line}\n`).join("");
        assertEquals(
          parseLines(program.log() + left), // no line is in both, in none, or divided between the two
          Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })),
        );
      },
    );
  }

  Deno.test(
    ignoreIf(missing, `main.ts leaves no partial line over ${name}, also when it is killed or the file truncated`),
    async () => {
      using disk = make();
      await using program = await Program.start(disk.start);
      for (let i = 1; i <= COUNT; i++) {
        await roundTrip(program.address, pattern(i));
        if (i === 1) disk.fill(program); // except the rest of the page that the first line is in
        await until(() => isWhole(program.log()));
      }
      await program.line(/cannot write to the access log/);
      const before = program.lines();
      assertEquals(before, Array.from(before, (_, i) => ({ client: i + 1, bytes: i + 1 })));
      Deno.truncateSync(program.accessLog); // an operator frees space
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

  Deno.test(
    ignoreIf(missing, `main.ts writes to a new log after SIGHUP while it cannot write over ${name}`),
    async () => {
      using disk = make();
      await using program = await Program.start(disk.start);
      disk.fill(program);
      for (let i = 1; i <= COUNT; i++) await roundTrip(program.address, pattern(i));
      await program.line(/cannot write to the access log/);
      const old = `${program.accessLog}.1`;
      Deno.renameSync(program.accessLog, old);
      program.kill("SIGHUP");
      await program.line(/access log reopened/);
      disk.free(program);
      await program.line(/can be written to again/);
      assertEquals(
        [...parseLines(Deno.readTextFileSync(old)), ...program.lines()], // neither has a partial line
        Array.from({ length: COUNT }, (_, i) => ({ client: i + 1, bytes: i + 1 })),
      );
    },
  );
}
