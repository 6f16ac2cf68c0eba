import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import type { CommandResult } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { unprivileged } from "../support/privileges.ts";
import { Program } from "../support/program.ts";
import { runProgram } from "../support/run_program.ts";
import { equal, pattern, readToEof, roundTrip, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";

const missing = canRun ? "" : "permissions are missing";
const encode = (text: string) => new TextEncoder().encode(text);

/** The program could not start: one line on stderr, nothing else. Returns the line. */
function theOneLine({ code, stdout, stderr }: CommandResult, status: number): string {
  assertEquals(code, status, stderr);
  assertEquals(stdout, "");
  assertMatch(stderr, /^echo-server: [^\n]+\n$/);
  return stderr.trimEnd();
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
    "one chunk to the brim": pattern(4096),
    "one byte more than a chunk": pattern(4097),
    "64 MiB, written before anything is read": pattern(64 * 1024 ** 2),
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

Deno.test(ignoreIf(missing, "main.ts lets a slow client hold up nobody, and logs in the order of ending"), async () => {
  await using program = await Program.start();
  using slow = await Deno.connect(program.address);
  await writeAll(slow, encode("s"));
  for (let i = 0; i < 20; i++) assertEquals(await roundTrip(program.address, encode("quick")), encode("quick"));
  await writeAll(slow, encode("low"));
  await slow.closeWrite();
  assertEquals(await readToEof(slow), encode("slow"));
  assertEquals(program.lines().map(({ client }) => client), [...Array.from({ length: 20 }, (_, i) => i + 2), 1]);
});

Deno.test(ignoreIf(missing, "main.ts has written a client's line when the client sees the end"), async () => {
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
  ignoreIf(missing, "main.ts has written a client's line when the client sees the end, however many end at once"),
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
  ignoreIf(missing, "main.ts creates the log's folder, appends to what is there, and opens the file once"),
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
    // The permission of the port itself, as is documented: the first one's was for any that is free.
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
    ignoreIf(missing, `main.ts ends on ${signal} with status 0 once the client in flight is served`),
    async () => {
      await using program = await Program.start();
      using conn = await Deno.connect(program.address);
      await program.statusWhen(({ active }) => active === 1);
      program.kill(signal);
      await program.line(/stopping/);
      await writeAll(conn, encode("still here"));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), encode("still here"));
      assertEquals(await program.exit(), 0);
      assertEquals(program.log(), "[client 1]: received 10 bytes\n");
      assertEquals(program.stdout, "");
      assertEquals(program.stderr.join("").includes("\x1b"), false); // no colours in a pipe
    },
  );
}

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

Deno.test(ignoreIf(missing, "main.ts --help says in one line with status 1 that nobody takes the help"), async () => {
  for (const [redirect, why] of [[">/dev/full", "No space left"], ["| true", "Broken pipe"]]) {
    // The reader of a pipe has gone before anything is written: sh waits for it.
    const script = `{ sleep 0.2; "$0" "$@"; echo "status $?" >&2; } ${redirect}`;
    const { stderr } = await runProgram([], ["--help"], ["sh", "-c", script]);
    assertMatch(stderr, new RegExp(`^echo-server: cannot print to stdout: ${why}[^\\n]*\\nstatus 1\\n$`));
  }
});

Deno.test(
  ignoreIf(missing, "main.ts says in JSON why it does not start, once it has read --log-format=json"),
  async () => {
    const message = async (flags: string[], status: number, permissions: string[] = []) => {
      const { code, stderr, stdout } = await runProgram(permissions, flags);
      assertEquals([code, stdout, stderr.indexOf("\n")], [status, "", stderr.length - 1]);
      return stderr.startsWith("{") ? JSON.parse(stderr).message : stderr;
    };
    const json = "--log-format=json";
    assertMatch(
      await message([json, "--port=x"], 2),
      /^--port takes a whole number from 0 to 65535, not "x"; see --help$/,
    );
    assertMatch(await message(["--port=x", json], 2), /^echo-server: --port/); // it has not come that far
    assertMatch(await message([json, "--port=4007"], 1), /^cannot listen on 0\.0\.0\.0:4007: .*--allow-net/);
    const folder = ["--allow-net=127.0.0.1:0"];
    const local = ["--hostname=127.0.0.1", "--port=0", json];
    assertMatch(
      await message([...local, "--access-log=/x/{y}.log"], 1, folder),
      /^cannot open the access log \/x\/\{y\}\.log: /,
    );
  },
);

Deno.test(ignoreIf(missing, "main.ts warns of a --max-message that --max-buffered does not let in"), async () => {
  await using program = await Program.start({ flags: ["--max-message=2M", "--max-buffered=1M"] });
  await program.line(/ warning: no message can be as large as --max-message, since --max-buffered is less$/);
  await using fine = await Program.start({ flags: ["--max-message=1M", "--max-buffered=1M"] });
  await fine.status();
  assertEquals(fine.matches(/ warning: /), []);
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
  ];
  for (const [flags, named] of wrong) {
    await t.step(flags.join(" "), async () => {
      const line = theOneLine(await runProgram([], flags), 2);
      assertStringIncludes(line, named);
      assertMatch(line, /see --help$/);
    });
  }
});

Deno.test(ignoreIf(missing, "main.ts names the flag of a permission that is missing"), async (t) => {
  using temporary = new TemporaryFolder();
  const folder = temporary.path;
  const flags = ["--hostname=127.0.0.1", "--port=4007", `--access-log=${folder}/log/access.log`];
  await t.step("net", async () => {
    const line = theOneLine(await runProgram([`--allow-write=${folder}/log`], flags), 1);
    assertMatch(line, / --allow-net=127\.0\.0\.1:4007 before main\.ts/);
  });
  await t.step("write", async () => {
    const line = theOneLine(await runProgram(["--allow-net=127.0.0.1:4007"], flags), 1);
    assertStringIncludes(line, ` --allow-write=${folder}/log before main.ts`);
  });
  await t.step("both, with no flag at all", async () => {
    assertMatch(
      theOneLine(await runProgram([], []), 1),
      / --allow-(net=0\.0\.0\.0:4000|write=\/var\/log\/echo-server) before main\.ts/,
    );
  });
});

Deno.test(ignoreIf(missing, "main.ts says that the port is taken, and the first server goes on"), async () => {
  await using first = await Program.start();
  const { port } = first.address;
  const line = theOneLine(
    await runProgram([`--allow-net=127.0.0.1:${port}`, `--allow-write=${first.accessLog}`], [
      "--hostname=127.0.0.1",
      `--port=${port}`,
      `--access-log=${first.accessLog}`,
    ]),
    1,
  );
  assertStringIncludes(line, `127.0.0.1:${port}`);
  assertStringIncludes(line, "--port");
  assertEquals(await roundTrip(first.address, encode("hello")), encode("hello"));
  assertEquals(first.log(), "[client 1]: received 5 bytes\n");
});

Deno.test(ignoreIf(missing, "main.ts says why it cannot listen on an address that no interface has"), async () => {
  using temporary = new TemporaryFolder();
  const folder = temporary.path;
  const permissions = ["--allow-net=192.0.2.1:4007", `--allow-write=${folder}`];
  const flags = ["--hostname=192.0.2.1", "--port=4007", `--access-log=${folder}/access.log`];
  assertMatch(theOneLine(await runProgram(permissions, flags), 1), /192\.0\.2\.1:4007.*--hostname/);
});

/** An access log that cannot be opened. */
interface Unusable {
  /** Makes it so in a folder and returns the log's path. */
  make: (folder: string) => string;
  /** What the one line says. */
  says: RegExp;
  /** Whether only the modes of files stand in the way, which do not count for root. */
  byMode?: boolean;
}

const unusable: Record<string, Unusable> = {
  "a directory": {
    make(folder) {
      Deno.mkdirSync(`${folder}/access.log`);
      return `${folder}/access.log`;
    },
    says: /access\.log: it is a directory/,
  },
  "a broken link": {
    make(folder) {
      Deno.symlinkSync(`${folder}/missing/access.log`, `${folder}/access.log`);
      return `${folder}/access.log`;
    },
    says: /access\.log: it is a broken link/,
  },
  "in a folder that is a file": {
    make(folder) {
      Deno.writeTextFileSync(`${folder}/log`, "");
      return `${folder}/log/access.log`;
    },
    says: /log\/access\.log: a file stands where one of its folders should be/,
  },
  "a read-only file": {
    make(folder) {
      Deno.writeTextFileSync(`${folder}/access.log`, "");
      Deno.chmodSync(`${folder}/access.log`, 0o444);
      return `${folder}/access.log`;
    },
    says: /access\.log: the system does not let this user write it; .*sudo chown/,
    byMode: true,
  },
  "in a folder that may not be created": {
    make(folder) {
      Deno.mkdirSync(`${folder}/closed`, { mode: 0o555 });
      return `${folder}/closed/log/access.log`;
    },
    says: /cannot create the folder \S*\/closed\/log for .*sudo install -d -o "\$\(id -un\)" \S*\/closed\/log$/,
    byMode: true,
  },
};

for (const [what, { make, says, byMode }] of Object.entries(unusable)) {
  const cannot = missing || (byMode === true && unprivileged === undefined ? "needs setpriv" : "");
  Deno.test(ignoreIf(cannot, `main.ts says why it cannot open an access log that is ${what}`), async () => {
    using temporary = new TemporaryFolder();
    const folder = temporary.path;
    const permissions = ["--allow-net=127.0.0.1:0", `--allow-write=${folder}`];
    const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${make(folder)}`];
    assertMatch(theOneLine(await runProgram(permissions, flags, byMode ? unprivileged : []), 1), says);
  });
}

const noMount = missing || (canMount ? "" : "needs root");
Deno.test(ignoreIf(noMount, "main.ts says that the access log's file system is read-only"), async () => {
  using tmpfs = new Tmpfs("ro");
  for (const path of ["access.log", "log/access.log"]) {
    const permissions = ["--allow-net=127.0.0.1:0", `--allow-write=${tmpfs.folder}`];
    const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${tmpfs.folder}/${path}`];
    assertMatch(theOneLine(await runProgram(permissions, flags), 1), /read-only/i);
  }
});
