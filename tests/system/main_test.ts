import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { type CommandResult, run, succeeds } from "../support/commands.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { unprivileged } from "../support/privileges.ts";
import { Program } from "../support/program.ts";
import { runProgram } from "../support/run_program.ts";
import { equal, pattern, readToEof, roundTrip, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";

const missing = cannotRun;
const encode = (text: string) => new TextEncoder().encode(text);

/** Asserts that the program printed one line on stderr and nothing else. Returns the line. */
function theOneLine({ code, stdout, stderr }: CommandResult, status: number): string {
  assertEquals(code, status, stderr);
  assertEquals(stdout, "");
  assertMatch(stderr, /^[^\n]+\n$/);
  return stderr.trimEnd();
}

/** Asserts that the program could not start, and reported that in one line. Returns what the line says. */
function startupError(result: CommandResult): string {
  const [, message = ""] = /^\d{4}-\d\d-\d\dT\S+Z error: (cannot .*)$/.exec(theOneLine(result, 1)) ?? [];
  assert(message, result.stderr);
  return message;
}

Deno.test(ignoreIf(missing, "main.ts echoes 5 bytes and 7 bytes and logs the two lines"), async () => {
  await using program = await Program.start();
  assertEquals(await roundTrip(program.address, encode("hello")), encode("hello"));
  assertEquals(await roundTrip(program.address, encode("goodbye")), encode("goodbye"));
  assertEquals(program.log(), "[client 1]: received 5 bytes\n[client 2]: received 7 bytes\n");
});

Deno.test(ignoreIf(missing, "main.ts echoes messages of any bytes and any size"), async (t) => {
  await using program = await Program.start();
  const messages = {
    "no byte": new Uint8Array(),
    "one byte": Uint8Array.of(0),
    "all 256 byte values": Uint8Array.from({ length: 256 }, (_, i) => i),
    "exactly one buffer": pattern(4096),
    "one byte more than a buffer": pattern(4097),
    "64 MiB, written before a byte is read": pattern(64 * 1024 ** 2),
  };
  const sizes: number[] = [];
  for (const [name, message] of Object.entries(messages)) {
    await t.step(name, async () => {
      assert(equal(await roundTrip(program.address, message), message), "other bytes came back");
      sizes.push(message.length);
      assertEquals(program.lines().map(({ bytes }) => bytes), sizes);
    });
  }
});

Deno.test(ignoreIf(missing, "main.ts serves 200 overlapping clients of different sizes"), async () => {
  await using program = await Program.start();
  const messages = Array.from({ length: 200 }, (_, i) => pattern(i * i * 7, i));
  const conns: Deno.TcpConn[] = [];
  for (const _ of messages) conns.push(await Deno.connect(program.address)); // one by one: this is their accept order
  const all = conns.map((conn, i) => ({ conn, message: messages[i] ?? new Uint8Array() }));
  await Promise.all(all.map(({ conn, message }) => writeAll(conn, message.subarray(0, message.length / 2))));
  assertEquals((await program.statusWhen(({ active }) => active === 200)).served, 0);
  await Promise.all(
    all.reverse().map(async ({ conn, message }) => {
      using _ = conn;
      await writeAll(conn, message.subarray(message.length / 2));
      await conn.closeWrite();
      assert(equal(await readToEof(conn), message), "other bytes came back");
    }),
  );
  assertEquals(
    program.lines().sort((a, b) => a.client - b.client),
    messages.map(({ length }, i) => ({ client: i + 1, bytes: length })),
  );
});

Deno.test(ignoreIf(missing, "main.ts serves a client that sends one byte at a time"), async () => {
  await using program = await Program.start();
  const message = pattern(3000);
  using conn = await Deno.connect(program.address);
  conn.setNoDelay();
  for (const byte of message) await writeAll(conn, Uint8Array.of(byte));
  await conn.closeWrite();
  assertEquals(await readToEof(conn), message);
  assertEquals(program.log(), "[client 1]: received 3000 bytes\n");
});

Deno.test(
  ignoreIf(missing, "main.ts serves other clients while one is slow, and logs in the order in which clients finish"),
  async () => {
    await using program = await Program.start();
    using slow = await Deno.connect(program.address);
    await writeAll(slow, encode("s"));
    for (let i = 0; i < 20; i++) assertEquals(await roundTrip(program.address, encode("quick")), encode("quick"));
    await writeAll(slow, encode("low"));
    await slow.closeWrite();
    assertEquals(await readToEof(slow), encode("slow"));
    assertEquals(program.lines().map(({ client }) => client), [...Array.from({ length: 20 }, (_, i) => i + 2), 1]);
  },
);

Deno.test(ignoreIf(missing, "main.ts has written a client's line when the client reads EOF"), async () => {
  await using program = await Program.start();
  using log = await Deno.open(program.accessLog);
  const buffer = new Uint8Array(100);
  for (let i = 1; i <= 500; i++) {
    await roundTrip(program.address, pattern(i));
    const line = new TextDecoder().decode(buffer.subarray(0, log.readSync(buffer) ?? 0));
    assertEquals(line, `[client ${i}]: received ${i} bytes\n`);
  }
});

Deno.test(
  ignoreIf(missing, "main.ts has written a client's line when the client reads EOF, however many finish at once"),
  async () => {
    await using program = await Program.start();
    await Promise.all(Array.from({ length: 200 }, async (_, i) => {
      await roundTrip(program.address, pattern(1000 + i));
      assertStringIncludes(program.log(), ` received ${1000 + i} bytes\n`);
    }));
    assertEquals(program.lines().length, 200);
  },
);

Deno.test(
  ignoreIf(missing, "main.ts creates the log's folder, appends to an existing file, and keeps the file open"),
  async () => {
    await using program = await Program.start(); // its folder is missing
    await roundTrip(program.address, encode("one"));
    Deno.renameSync(program.accessLog, `${program.accessLog}.1`);
    await roundTrip(program.address, encode("two"));
    assertEquals(parseLines(Deno.readTextFileSync(`${program.accessLog}.1`)).length, 2);

    await using next = await Program.start({ accessLog: `${program.accessLog}.1` });
    await roundTrip(next.address, encode("three"));
    assertEquals(next.lines(), [{ client: 1, bytes: 3 }, { client: 2, bytes: 3 }, { client: 1, bytes: 5 }]);
  },
);

Deno.test({
  ...ignoreIf(
    missing || (Deno.build.os === "linux" ? "" : "needs Linux"),
    "main.ts shares its port with --reuse-port, with the same two permissions",
  ),
  async fn() {
    await using first = await Program.start({ flags: ["--reuse-port"] });
    const { port } = first.address;
    // With a permission for this very port, as documented: the first server had one for any free port.
    await using second = await Program.start({ port, flags: ["--reuse-port"] });
    assertEquals(second.address, first.address);
    const both = [first, second];
    // The kernel picks one by a hash of the client's port: 100 clients leave one of the two out once in 2^99 runs.
    for (let i = 0; i < 100; i++) assertEquals(await roundTrip(first.address, encode("hello")), encode("hello"));
    const served = both.map((program) => program.lines().length);
    assert(served.every((clients) => clients > 0), `${served} clients were served`);
    assertEquals(served.reduce((sum, clients) => sum + clients), 100);
    for (const program of both) {
      assertEquals(program.lines(), program.lines().map((_, i) => ({ client: i + 1, bytes: 5 })));
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 0);
    }
  },
});

for (const signal of ["SIGTERM", "SIGINT"] as const) {
  Deno.test(
    ignoreIf(missing, `main.ts exits on ${signal} with status 0 once the client in flight is served`),
    async () => {
      await using program = await Program.start();
      using conn = await Deno.connect(program.address);
      await program.statusWhen(({ active }) => active === 1);
      program.kill(signal);
      await program.line(/draining/);
      await writeAll(conn, encode("still here"));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), encode("still here"));
      assertEquals(await program.exit(), 0);
      assertEquals(program.log(), "[client 1]: received 10 bytes\n");
      assertEquals(program.stdout, "");
    },
  );
}

const noTerminal = missing || (succeeds("socat", "-V") ? "" : "needs socat");
Deno.test(ignoreIf(noTerminal, "main.ts reports without colors, also on a terminal"), async () => {
  await using cleanup = new AsyncDisposableStack();
  const { path: folder } = cleanup.use(new TemporaryFolder());
  const permissions = `--no-prompt --allow-net=127.0.0.1:0 --allow-write=${folder}`;
  const flags = `--hostname=127.0.0.1 --port=0 --access-log=${folder}/access.log`;
  const terminal = cleanup.use(new Terminal(`exec ${Deno.execPath()} run ${permissions} main.ts ${flags}`));
  await terminal.shows(/listening on/);
  await terminal.type("\x03");
  await terminal.shows(/draining/);
  assertEquals(terminal.text.includes("\x1b"), false, terminal.text);
});

Deno.test(ignoreIf(missing, "main.ts reports in JSON with --log-format=json"), async () => {
  await using program = await Program.start({ flags: ["--log-format=json", "--max-message=1K"] });
  await roundTrip(program.address, pattern(1025)).catch((error) =>
    assert(error instanceof Deno.errors.ConnectionReset)
  );
  await program.line(/dropped/);
  program.kill("SIGTERM");
  assertEquals(await program.exit(), 0);
  const reports = program.stderr.map((line) => JSON.parse(line));
  assertEquals(reports.map(({ level }) => level), ["INFO", "WARN", "INFO"]);
  assertEquals(reports[0].properties, {
    address: `127.0.0.1:${program.address.port}`,
    path: program.accessLog,
  });
  assertEquals(reports[1].properties.client, 1);
  assertEquals(reports[1].properties.reason, "message");
  assertEquals(program.stdout, "");
});

Deno.test(
  ignoreIf(missing, "main.ts --help prints the help, --version the version, without any permission"),
  async () => {
    const help = await runProgram([], ["--help"]);
    assertEquals([help.code, help.stderr], [0, ""]);
    for (const flag of ["--hostname", "--port", "--access-log", "--max-clients", "--idle-timeout", "--log-format"]) {
      assertStringIncludes(help.stdout, flag);
    }
    const version = await runProgram([], ["--version"]);
    assertEquals([version.code, version.stderr], [0, ""]);
    assertMatch(version.stdout, /^echo-server \d+\.\d+\.\d+ .*\n$/);
  },
);

Deno.test(ignoreIf(missing, "main.ts --help exits with 1 and one line if the help cannot be printed"), async () => {
  const result = await runProgram([], ["--help"], ["sh", "-c", 'exec "$0" "$@" >/dev/full']);
  assertMatch(theOneLine(result, 1), /^echo-server: No space left/);
});

Deno.test(ignoreIf(missing, "main.ts --help exits with 0 if its reader has closed the pipe"), async () => {
  const script = 'exec 3> >(exec true); wait $!; exec "$0" "$@" >&3';
  assertEquals(await runProgram([], ["--help"], ["bash", "-c", script]), { code: 0, stdout: "", stderr: "" });
});

Deno.test(ignoreIf(missing, "main.ts reports in the format of --log-format why it does not start"), async (t) => {
  const start = (format: string) => runProgram([], ["--port=4007", `--log-format=${format}`]);
  const message = /^cannot listen on 0\.0\.0\.0:4007: .* --allow-net=0\.0\.0\.0:4007 before main\.ts$/;
  await t.step("text", async () => assertMatch(startupError(await start("text")), message));
  await t.step("json", async () => {
    const record = JSON.parse(theOneLine(await start("json"), 1));
    assertEquals(record.level, "ERROR");
    assertMatch(record.message, message);
  });
  await t.step("journal", async () => {
    const line = theOneLine(await start("journal"), 1);
    assertEquals(line.slice(0, 3), "<3>");
    assertMatch(line.slice(3), message);
  });
  await t.step("json, with braces in a path", async () => {
    const flags = ["--hostname=127.0.0.1", "--port=0", "--log-format=json", "--access-log=/x/{y}.log"];
    const record = JSON.parse(theOneLine(await runProgram(["--allow-net=127.0.0.1:0"], flags), 1));
    assertMatch(record.message, /^cannot open the access log \/x\/\{y\}\.log: /);
  });
});

Deno.test(ignoreIf(missing, "main.ts refuses a wrong command line in one line with status 2"), async (t) => {
  const wrong: [flags: string[], named: string][] = [
    [["--prot=4000"], "--prot"],
    [["-p"], "-p"],
    [["-x=1"], "-x"],
    [["4000"], "4000"],
    [["--", "4000"], "4000"],
    [["--no-port"], "--no-port"],
    [["--toString"], "--toString"],
    [["--help=yes"], "--help"],
    [["--version=2"], "--version"],
    [["--hostname="], "--hostname"],
    [["--hostname"], "--hostname"],
    [["--hostname", "--port=4001"], "--hostname"],
    [["--access-log", "--"], "--access-log"],
    [["--port"], "--port"],
    [["--port="], "--port"],
    [["--port=-1"], "--port"],
    [["--port=65536"], "--port"],
    [["--port=4e3"], "--port"],
    [["--port=http"], "--port"],
    [["--access-log"], "--access-log"],
    [["--max-clients=0"], "--max-clients"],
    [["--max-clients=1.5"], "--max-clients"],
    [["--max-message=1T"], "--max-message"],
    [["--max-message=-1"], "--max-message"],
    [["--max-buffered=lots"], "--max-buffered"],
    [["--idle-timeout=1m"], "--idle-timeout"],
    [["--idle-timeout=9999999"], "--idle-timeout"],
    [["--drain-timeout="], "--drain-timeout"],
    [["--log-level=loud"], "--log-level"],
    [["--log-format=xml"], "--log-format"],
    [["--port=4000", "--log-format"], "--log-format"],
    [["--log-format=json", "--port=x"], "--port"], // as text, too: an operator who types reads it
  ];
  for (const [flags, named] of wrong) {
    await t.step(flags.join(" "), async () => {
      const line = theOneLine(await runProgram([], flags), 2);
      assertStringIncludes(line, named);
      assertMatch(line, /^echo-server: .+; see --help$/);
    });
  }
});

Deno.test(ignoreIf(missing, "main.ts names the flag of a permission that is missing"), async (t) => {
  using temporary = new TemporaryFolder();
  const folder = temporary.path;
  const flags = ["--hostname=127.0.0.1", "--port=4007", `--access-log=${folder}/log/access.log`];
  await t.step("net", async () => {
    const line = startupError(await runProgram([`--allow-write=${folder}/log`], flags));
    assertMatch(line, / --allow-net=127\.0\.0\.1:4007 before main\.ts/);
  });
  await t.step("write", async () => {
    const line = startupError(await runProgram(["--allow-net=127.0.0.1:4007"], flags));
    assertStringIncludes(line, ` --allow-write=${folder}/log before main.ts`);
  });
  await t.step("both, with no flag at all", async () => {
    assertMatch(
      startupError(await runProgram([], [])),
      / --allow-(net=0\.0\.0\.0:4000|write=\/var\/log\/echo-server) before main\.ts/,
    );
  });
});

Deno.test(ignoreIf(missing, "main.ts reports that the port is taken, and the first server serves on"), async () => {
  await using first = await Program.start();
  const { port } = first.address;
  const line = startupError(
    await runProgram([`--allow-net=127.0.0.1:${port}`, `--allow-write=${first.accessLog}`], [
      "--hostname=127.0.0.1",
      `--port=${port}`,
      `--access-log=${first.accessLog}`,
    ]),
  );
  assertStringIncludes(line, `127.0.0.1:${port}`);
  assertStringIncludes(line, "--port");
  assertEquals(await roundTrip(first.address, encode("hello")), encode("hello"));
  assertEquals(first.log(), "[client 1]: received 5 bytes\n");
});

Deno.test(ignoreIf(missing, "main.ts reports that no interface has the address of --hostname"), async () => {
  using temporary = new TemporaryFolder();
  const folder = temporary.path;
  const permissions = ["--allow-net=192.0.2.1:4007", `--allow-write=${folder}`];
  const flags = ["--hostname=192.0.2.1", "--port=4007", `--access-log=${folder}/access.log`];
  assertMatch(startupError(await runProgram(permissions, flags)), /192\.0\.2\.1:4007.*--hostname/);
});

/** An access log that cannot be opened. */
interface Unusable {
  /** Creates it in a folder and returns the log's path. */
  make: (folder: string) => string;
  /** What is reported. */
  says: RegExp;
  /** Whether only file modes prevent it, which do not apply to root. */
  byMode?: boolean;
}

const unusable: Record<string, Unusable> = {
  "a directory": {
    make(folder) {
      Deno.mkdirSync(`${folder}/access.log`);
      return `${folder}/access.log`;
    },
    says: /access\.log: Is a directory/,
  },
  "a read-only file": {
    make(folder) {
      Deno.writeTextFileSync(`${folder}/access.log`, "");
      Deno.chmodSync(`${folder}/access.log`, 0o444);
      return `${folder}/access.log`;
    },
    says: /\/access\.log: this user may not write there; /,
    byMode: true,
  },
  "in a folder that may not be created": {
    make(folder) {
      Deno.mkdirSync(`${folder}/closed`, { mode: 0o555 });
      return `${folder}/closed/log/access.log`;
    },
    says:
      /\/closed\/log\/access\.log: this user may not write there; .*sudo install -d -o "\$\(id -un\)" \S*\/closed\/log$/,
    byMode: true,
  },
};

for (const [what, { make, says, byMode }] of Object.entries(unusable)) {
  const cannot = missing || (byMode === true && unprivileged === undefined ? "needs setpriv" : "");
  Deno.test(ignoreIf(cannot, `main.ts reports why it cannot open an access log that is ${what}`), async () => {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    const permissions = ["--allow-net=127.0.0.1:0", `--allow-write=${folder}`];
    const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${make(folder)}`];
    assertMatch(startupError(await runProgram(permissions, flags, byMode ? unprivileged : [])), says);
  });
}

Deno.test(ignoreIf(missing, "main.ts refuses a FIFO as its access log"), async () => {
  using temporary = new TemporaryFolder();
  const path = `${temporary.path}/access.log`;
  assert(succeeds("mkfifo", path));
  const reader = run(["timeout", "20", "cat", path]); // until it has opened the FIFO, open(2) blocks
  const permissions = ["--allow-net=127.0.0.1:0", `--allow-write=${temporary.path}`];
  const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${path}`];
  const line = startupError(await runProgram(permissions, flags));
  assertEquals(
    line,
    `cannot open the access log ${path}: it is not a regular file; choose another with --access-log, or - for stdout`,
  );
  assertEquals((await reader).code, 0); // EOF: the program has closed it
});

const noMount = missing || (canMount ? "" : "needs root");
Deno.test(ignoreIf(noMount, "main.ts reports that the access log's file system is read-only"), async () => {
  using tmpfs = new Tmpfs("ro");
  for (const path of ["access.log", "log/access.log"]) {
    const permissions = ["--allow-net=127.0.0.1:0", `--allow-write=${tmpfs.folder}`];
    const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${tmpfs.folder}/${path}`];
    assertMatch(startupError(await runProgram(permissions, flags)), /read-only/i);
  }
});
