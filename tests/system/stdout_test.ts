import { assert, assertEquals, assertLess, assertMatch } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, roundTrip, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { settles, until } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";

const MESSAGE = pattern(5);

/** Clients whose lines fit into a pipe (64 KiB, pipe(7)), and clients whose lines do not. */
const FITTING = 1500;
const BLOCKED = 1000;

/** Starts a server whose stdout is a pipe that is full, with clients that wait for their lines. */
async function startBlocked(flags: string[] = []): Promise<{ program: Program; clients: Promise<unknown> }> {
  const program = await Program.start({ accessLog: "-", readStdout: false, flags });
  for (let i = 0; i < FITTING; i += 100) await serve(program, 100);
  const clients = serve(program, BLOCKED);
  // All have been echoed to; the lines of some of them wait.
  await program.statusWhen(({ active, served, queued_lines }) =>
    active + served === FITTING + BLOCKED && active > 0 && queued_lines === active
  );
  return { program, clients };
}

async function serve(program: Program, count: number): Promise<void> {
  await Promise.all(Array.from({ length: count }, async () => {
    assertEquals(await roundTrip(program.address, MESSAGE), MESSAGE);
  }));
}

/** Checks that there is one line for each client, in any order. */
function assertLinesOf(text: string, clients: number) {
  const numbers = parseLines(text).map(({ client, bytes }) => (assertEquals(bytes, MESSAGE.length), client));
  assertEquals(numbers.sort((a, b) => a - b), Array.from({ length: clients }, (_, i) => i + 1));
}

Deno.test({
  ...ignoreIf(
    missing,
    "--access-log=- writes a client's line to stdout before it closes, and needs no write permission",
  ),
  async fn() {
    await using program = await Program.start({ accessLog: "-" });
    for (let client = 1; client <= 20; client++) {
      await roundTrip(program.address, MESSAGE);
      await until(() => program.stdout.endsWith(`[client ${client}]: received 5 bytes\n`));
    }
    await serve(program, 300);
    program.kill("SIGHUP");
    await program.line(/nothing to reopen: the access log is standard output/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertLinesOf(program.stdout, 320);
  },
});

Deno.test({
  ...ignoreIf(missing, "--access-log=- to a pipe that is not read lets clients wait for their lines, and goes on"),
  async fn() {
    const { program, clients } = await startBlocked();
    await using _ = program;
    using late = await Deno.connect(program.address);
    await writeAll(late, MESSAGE);
    await late.closeWrite();
    const echo = new Uint8Array(MESSAGE.length);
    assertEquals(await late.read(echo), MESSAGE.length); // it is accepted, and its echo does not wait
    assertEquals(echo, MESSAGE);
    assertEquals((await program.status()).dropped_idle, 0);
    const read = program.readStdout();
    await settles(clients, "the clients that wait for their lines");
    assertEquals(await settles(readToEof(late), "the late client"), new Uint8Array());
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    await read;
    assertLinesOf(program.stdout, FITTING + BLOCKED + 1);
  },
});

Deno.test({
  ...ignoreIf(missing, "SIGTERM ends a server whose stdout is not read, and no line is lost"),
  async fn() {
    const { program, clients } = await startBlocked(["--drain-timeout=0.5"]);
    await using _ = program;
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 1);
    await settles(clients, "the clients whose lines were not written");
    await program.readStdout();
    const [, leftOver] = program.stderr.join("\n").split(/these lines could not be written to the access log:\n/);
    assert(leftOver);
    assertLinesOf(`${program.stdout}${leftOver}\n`, FITTING + BLOCKED);
  },
});

Deno.test({
  ...ignoreIf(missing, "--access-log=- to a pipe without a reader is handled like a full disk"),
  async fn() {
    await using program = await Program.start({ accessLog: "-", readStdout: false });
    await program.closeStdout();
    await serve(program, 100);
    await program.line(/cannot write to the access log, lines are queued .*: Broken pipe/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 1);
    const [, leftOver] = program.stderr.join("\n").split(/these lines could not be written to the access log:\n/);
    assertLinesOf(`${leftOver}\n`, 100);
  },
});

Deno.test({
  ...ignoreIf(missing, "--access-log=- with stdout redirected to a full disk queues the lines"),
  async fn() {
    await using program = await Program.start({
      accessLog: "-",
      launcher: ["sh", "-c", 'exec "$@" >/dev/full', "sh"],
    });
    await serve(program, 10);
    await program.line(/cannot write to the access log, .*: No space left on device/);
    assertEquals((await program.status()).queued_lines, 10);
    const before = performance.now();
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 1);
    assertLess(performance.now() - before, 5000);
  },
});

Deno.test({
  ...ignoreIf(missing, "--access-log=- to a file that may not grow, and then may, has each line once and in order"),
  async fn() {
    using folder = new TemporaryFolder();
    const file = `${folder.path}/access.log`;
    await using program = await Program.start({
      accessLog: "-",
      launcher: ["sh", "-c", `exec "$@" >${file}`, "sh"],
    });
    const limit = (bytes: string) => assert(succeeds("prlimit", "--pid", `${program.pid}`, `--fsize=${bytes}:`));
    await serve(program, 10);
    limit("1000"); // the middle of a line
    await serve(program, 100);
    await program.line(/cannot write to the access log, .*: File too large/);
    limit("unlimited");
    await program.line(/all queued lines are in it/);
    await serve(program, 10);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertLinesOf(Deno.readTextFileSync(file), 120);
  },
});

Deno.test({
  ...ignoreIf(missing, "--access-log=- on a terminal prompts for nothing, shows the lines and exits with 0 on Ctrl-C"),
  async fn() {
    const command =
      `${Deno.execPath()} run --allow-net=127.0.0.1:0 main.ts --hostname=127.0.0.1 --port=0 --access-log=-`;
    await using terminal = new Terminal(`trap : INT\n${command}\necho "exit status $?"`);
    const [, port] = await terminal.shows(/listening on 127\.0\.0\.1:(\d+)/);
    assertEquals(await roundTrip({ hostname: "127.0.0.1", port: Number(port) }, MESSAGE), MESSAGE);
    await terminal.shows(/^\[client 1\]: received 5 bytes\r$/m);
    await terminal.type("\x03");
    await terminal.shows(/exit status 0/);
    assertMatch(terminal.text, /draining/);
    assertEquals(terminal.text.match(/Allow\?|requests|permission/gi), null, terminal.text);
  },
});
