import { assert, assertEquals, assertLess, assertMatch, assertRejects } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { succeeds } from "../support/commands.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { type Address, Program } from "../support/program.ts";
import { pattern, ResettingClient, roundTrip } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { until } from "../support/wait.ts";

const missing = cannotRun;
const noTerminal = missing || (succeeds("socat", "-V") ? "" : "needs socat");

/** Has a client dropped, so many times; each is reported. */
async function dropMany(program: Program, times: number): Promise<void> {
  await Promise.all(Array.from({ length: 25 }, async () => {
    for (let i = 0; i < times / 25; i++) await roundTrip(program.address, pattern(1)).catch(() => {});
  }));
}

/** What reads stderr for good: at once, or slowly, a pipe's capacity at a time. */
const FAST = "cat";
const SLOW = 'while [ "$(dd bs=64K count=1 status=none | tee /dev/fd/3 | wc -c)" -gt 0 ]; do sleep 0.02; done 3>&1';

/** A program of whose stderr, a pipe, only the first line is read, and the rest once the gate is open. */
class Unread implements AsyncDisposable {
  readonly #gate = Deno.makeTempFileSync();
  #program: Program | undefined;

  constructor(private readonly reader: string = FAST) {}

  async start(...flags: string[]): Promise<Program> {
    const reader = `read -r line; echo "$line"; while [ -e ${this.#gate} ]; do sleep 0.05; done; ${this.reader}`;
    const launcher = ["bash", "-c", `exec "$0" "$@" 2> >({ ${reader}; } >&2)`];
    // With a small heap, garbage is not taken for what is held.
    const env = { DENO_V8_FLAGS: "--max-heap-size=48" };
    return this.#program = await Program.start({ launcher, env, flags: ["--max-message=0", ...flags] });
  }

  open(): void {
    Deno.removeSync(this.#gate);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Deno.remove(this.#gate).catch(() => {});
    await this.#program?.[Symbol.asyncDispose]();
  }
}

/** Asserts that the exit was delayed by the second that a blocked write to stderr is given, and not much longer. */
function assertGaveUp(since: number): void {
  const took = (performance.now() - since) / 1000;
  assert(took > 0.9 && took < 8, `it took ${took} s`);
}

Deno.test({
  ...ignoreIf(
    missing,
    "main.ts serves and handles signals while its stderr is not read, and reports afterwards how many lines were dropped",
  ),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start("--log-format=json"); // its lines are longer, so fewer are enough
    await dropMany(program, 2000);
    const { resident } = await program.statistics();
    await dropMany(program, 20_000); // many more than are queued
    assertLess(((await program.statistics()).resident - resident) / 1024 ** 2, 40);
    for (const signal of ["SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    assertEquals((await roundTrip(program.address, new Uint8Array())).length, 0);
    assertMatch(program.log(), /^\[client 22001\]: received 0 bytes\n$/);
    assertEquals(program.stderr.length, 1);

    stderr.open();
    const [, dropped] = await program.line(
      /"message":"(\d+) lines were dropped here because stderr was not being read"/,
    );
    assert(Number(dropped) > 0);
    // Two more, of the signals, were among those dropped.
    assertEquals(program.matches(/ dropped after /).length + Number(dropped), 22_000 + 2);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...ignoreIf(
    missing,
    "main.ts exits a second after SIGTERM, with status 0, though its stderr is a pipe that is not read",
  ),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start();
    await dropMany(program, 2000); // a pipe holds a quarter of their reports
    const start = performance.now();
    program.kill("SIGTERM");
    await until(() => !isAlive(program.pid));
    assertGaveUp(start);
    stderr.open();
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts ignores signals that arrive after the drain, while it waits for a blocked stderr"),
  async fn() {
    await using stderr = new Unread();
    const program = await stderr.start();
    await dropMany(program, 2000);
    program.kill("SIGTERM");
    await until(async () => (await program.listeningPorts().catch(() => [])).length === 0);
    try {
      for (const signal of ["SIGHUP", "SIGUSR2", "SIGTERM", "SIGINT"] as const) program.kill(signal);
    } catch {
      // On a busy machine it may have exited.
    }
    await until(() => !isAlive(program.pid));
    stderr.open();
    assertEquals(await program.exit(), 0, program.stderr.slice(-10).join("\n"));
  },
});

Deno.test({
  ...ignoreIf(
    missing,
    "main.ts prints all left-over lines though stderr, read late and slowly, had more queued than is kept",
  ),
  async fn() {
    await using stderr = new Unread(SLOW);
    const program = await stderr.start("--log-format=json");
    assert(succeeds("prlimit", "--pid", `${program.pid}`, "--fsize=512:")); // the log may not grow beyond it
    const count = 100;
    for (let i = 0; i < count; i++) await roundTrip(program.address, new Uint8Array());
    await dropMany(program, 16_000); // more than are queued
    program.kill("SIGTERM");
    await program.listenerClosed();
    stderr.open(); // within the second that a blocked write is given
    assertEquals(await program.exit(), 1);
    assert(program.matches(/"message":"\d+ lines were dropped here/).length > 0, "fewer lines than the queue holds");
    const [report] = program.matches(/these lines could not be written/);
    assert(report, "the left-over lines are not printed");
    const { properties: { lines } } = JSON.parse(report?.input ?? "");
    const numbers = parseLines(`${program.log()}${lines}\n`).map(({ client }) => client);
    assertEquals(numbers, Array.from({ length: count }, (_, i) => i + 1));
  },
});

/** The ways in which a terminal stops taking what is written to it. */
const blockedTerminals: Record<string, (terminal: Terminal) => Promise<void> | void> = {
  "a terminal that is full and not read": (terminal) => terminal.stopReading(),
  "a terminal that Ctrl-S has stopped": (terminal) => terminal.type("\x13"),
};

for (const [what, block] of Object.entries(blockedTerminals)) {
  Deno.test({
    ...ignoreIf(
      noTerminal,
      `main.ts serves, and exits a second after SIGTERM with status 0, though its stderr is ${what}`,
    ),
    async fn() {
      await using cleanup = new AsyncDisposableStack();
      const { path: folder } = cleanup.use(new TemporaryFolder());
      const read = (name: string) => Deno.readTextFile(`${folder}/${name}`).catch(() => "");
      const server = serverCommand(folder, { hostname: "127.0.0.1", port: 0 });
      const terminal = cleanup.use(
        new Terminal(
          `tty > ${folder}/tty; sh -c 'echo $$ > ${folder}/pid; exec ${server}'; echo $? > ${folder}/status`,
        ),
      );
      const [, port] = await terminal.shows(/listening on \S+:(\d+)/);
      const pid = Number(await read("pid"));
      cleanup.defer(() => {
        if (isAlive(pid)) Deno.kill(pid, "SIGKILL");
      });

      await block(terminal);
      // This fails once a write to the terminal would block.
      const write = `dd if=/dev/zero of=${(await read("tty")).trim()} bs=512 count=8 oflag=nonblock`;
      await until(() => !succeeds("sh", "-c", write));
      Deno.kill(pid, "SIGUSR2");
      const hello = new TextEncoder().encode("hello");
      assertEquals(await roundTrip({ hostname: "127.0.0.1", port: Number(port) }, hello), hello);

      const start = performance.now();
      Deno.kill(pid, "SIGTERM");
      await until(async () => await read("status") !== "");
      assertGaveUp(start);
      assertEquals(await read("status"), "0\n");
      assertEquals(await read("access.log"), "[client 1]: received 5 bytes\n");
    },
  });
}

Deno.test({
  ...ignoreIf(
    missing || (Deno.build.os === "linux" ? "" : "reads flags in /proc"),
    "main.ts leaves no O_NONBLOCK behind on a pipe that it shares with other processes",
  ),
  async fn() {
    // A process that has inherited the same pipe prints its flags once the program has exited.
    const sharing = 'while kill -0 $$ 2>/dev/null; do sleep 0.05; done; grep "^flags:" /proc/self/fdinfo/2 >&2';
    await using program = await Program.start({ launcher: ["sh", "-c", `{ ${sharing}; } & exec "$@"`, "sh"] });
    await program.status(); // so stderr has been written to
    program.kill("SIGTERM");
    const [, flags = ""] = await program.line(/^flags:\s+(\d+)$/);
    assertEquals(parseInt(flags, 8) & 0o4000, 0, `the flags are ${flags}`);
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts serves on and drains after the reader of its stderr has exited"),
  async fn() {
    await using program = await Program.start({ launcher: ["bash", "-c", 'exec "$0" "$@" 2> >(head -n 1 >&2)'] });
    // When head has exited, stderr is at EOF for the test and a closed pipe for the program.
    await assertRejects(() => program.line(/a second line/), Error, "ended without");
    for (const signal of ["SIGUSR2", "SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    const resetting = await ResettingClient.connect(program.address);
    await resetting.write(pattern(3));
    await resetting.reset();
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    assertMatch(program.log(), /^\[client \d\]: received 5 bytes\n$/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});

for (const redirect of ["2>/dev/full", "2>&-"]) {
  Deno.test({
    ...ignoreIf(missing, `main.ts serves and drains with ${redirect}`),
    async fn() {
      using temporary = new TemporaryFolder();
      const { path: folder } = temporary;
      using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
      const { addr } = free;
      free.close();
      const command = `exec ${serverCommand(folder, addr)} ${redirect}`;
      const child = new Deno.Command("sh", { args: ["-c", command], stdout: "null" }).spawn();
      try {
        await until(() => roundTrip(addr, new Uint8Array()).then(() => true, () => false));
        for (const signal of ["SIGUSR2", "SIGHUP"] as const) child.kill(signal);
        assertEquals(await roundTrip(addr, pattern(5)), pattern(5));
        child.kill("SIGTERM");
        assertEquals((await child.status).code, 0);
      } catch (error) {
        child.kill("SIGKILL");
        throw error;
      }
    },
  });
}

/** The command that starts the server, for a shell. Its log is in the folder. */
function serverCommand(folder: string, { hostname, port }: Address): string {
  const permissions = `--allow-net=${hostname}:${port} --allow-write=${folder}`;
  const flags = `--hostname=${hostname} --port=${port} --access-log=${folder}/access.log`;
  return `${Deno.execPath()} run --no-prompt ${permissions} main.ts ${flags}`;
}

function isAlive(pid: number): boolean {
  return succeeds("kill", "-0", `${pid}`);
}
