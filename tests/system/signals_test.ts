import { assert, assertEquals, assertMatch } from "@std/assert";
import { parseLines } from "../support/access_log_lines.ts";
import { run, succeeds } from "../support/commands.ts";
import { OtlpReceiver } from "../support/otlp_receiver.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { delay, until } from "../support/wait.ts";

const missing = cannotRun;
const encode = (text: string) => new TextEncoder().encode(text);

/** The status of a server without clients, but for its uptime. */
const AT_REST = {
  active: 0,
  served: 0,
  bytes: 0,
  buffered: 0,
  queued_lines: 0,
  dropped_reset: 0,
  dropped_idle: 0,
  dropped_message: 0,
  dropped_buffers: 0,
  dropped_drain: 0,
  dropped_failed: 0,
  dropped_before_accept: 0,
};

Deno.test(
  ignoreIf(missing, "main.ts counts signals within a second as one, and drops every client on a later one"),
  async () => {
    await using program = await Program.start({ flags: ["--drain-timeout=1000"] });
    await roundTrip(program.address, encode("hello"));
    using stuck = await Deno.connect(program.address);
    await program.statusWhen(({ active }) => active === 1);
    program.kill("SIGSTOP"); // so that both arrive together, however busy the machine is
    for (const signal of ["SIGTERM", "SIGINT"] as const) program.kill(signal);
    program.kill("SIGCONT");
    await program.line(/draining/);
    await delay(1200);
    await program.statusWhen(({ active }) => active === 1);
    program.kill("SIGINT");
    assertEquals(await program.exit(), 0); // fails long before the drain timeout
    await waitForClose(stuck);
    assertEquals(program.matches(/draining/).length, 1);
    assertEquals(program.matches(/client 2 .* dropped after 0 bytes: drain: not finished at the repeated/).length, 1);
    assertEquals(program.log(), "[client 1]: received 5 bytes\n");
  },
);

for (const signal of ["SIGHUP", "SIGTERM", "SIGINT"] as const) {
  Deno.test(ignoreIf(missing, `main.ts serves or has exited after ${signal} at any moment of its start`), async () => {
    let started = 0;
    for (let ms = 0; started < 4; ms += 7) {
      let sent = false;
      const onSpawn = (process: Deno.ChildProcess) =>
        void setTimeout(() => {
          process.kill(signal);
          sent = true;
        }, ms);
      try {
        await using program = await Program.start({ onSpawn });
        await until(() => sent);
        if (signal === "SIGHUP") {
          await program.line(/access log reopened/);
          assertEquals(await roundTrip(program.address, encode("hello")), encode("hello"));
          program.kill("SIGTERM");
        }
        assertEquals(await program.exit(), 0);
        started++;
      } catch (error) {
        assert(error instanceof Error && error.message.startsWith("the program ended without"), String(error));
      }
    }
  });
}

Deno.test(
  ignoreIf(missing, "main.ts has written the line of each client that was served before SIGKILL, and no partial line"),
  async () => {
    await using program = await Program.start();
    const done: number[] = [];
    let next = 1000;
    let killed = false;
    // The size tells the clients apart.
    const serveMany = async () => {
      while (!killed) {
        const size = next++;
        try {
          const { length } = await roundTrip(program.address, pattern(size));
          if (!killed && length === size) done.push(size);
        } catch (error) {
          if (!killed) throw error;
        }
      }
    };
    const load = Promise.all(Array.from({ length: 20 }, serveMany));
    await until(() => done.length >= 500);
    killed = true;
    program.kill("SIGKILL");
    await program.exit();
    await load;
    const logged = new Set(program.lines().map(({ bytes }) => bytes));
    assertEquals(logged.size, program.lines().length);
    assertEquals(done.filter((size) => !logged.has(size)), []);
  },
);

Deno.test(ignoreIf(missing, "main.ts opens a new log on SIGHUP once the old one is renamed"), async () => {
  await using program = await Program.start();
  const old = `${program.accessLog}.1`;
  for (let i = 1; i <= 10; i++) await roundTrip(program.address, pattern(i));
  Deno.renameSync(program.accessLog, old);
  for (let i = 11; i <= 20; i++) await roundTrip(program.address, pattern(i));
  program.kill("SIGHUP");
  await program.line(/info: access log reopened/);
  for (let i = 21; i <= 30; i++) await roundTrip(program.address, pattern(i));
  const lines = (from: number, to: number) =>
    Array.from({ length: to - from + 1 }, (_, i) => ({ client: from + i, bytes: from + i }));
  assertEquals(parseLines(Deno.readTextFileSync(old)), lines(1, 20));
  assertEquals(program.lines(), lines(21, 30));
});

Deno.test(
  ignoreIf(missing, "main.ts writes no partial, duplicate or lost line while the log is rotated under load"),
  async () => {
    await using program = await Program.start();
    const { descriptors } = await program.statistics();
    let count = 0;
    let rotated = 0;
    const serveMany = async () => {
      while (rotated < 10) {
        count++;
        await roundTrip(program.address, pattern(100));
      }
    };
    const load = Promise.all(Array.from({ length: 10 }, serveMany));
    for (; rotated < 10; rotated++) {
      Deno.renameSync(program.accessLog, `${program.accessLog}.${rotated}`);
      program.kill("SIGHUP");
      await program.line(/access log reopened/, rotated + 1);
    }
    await load;
    await program.statusWhen(({ active }) => active === 0);
    assertEquals((await program.statistics()).descriptors, descriptors); // the old files are closed
    const lines = Array.from(
      { length: rotated },
      (_, i) => parseLines(Deno.readTextFileSync(`${program.accessLog}.${i}`)),
    ).concat(program.lines()).flat();
    assertEquals(
      lines.map(({ client }) => client).toSorted((a, b) => a - b),
      Array.from({ length: count }, (_, i) => i + 1),
    );
  },
);

Deno.test(
  ignoreIf(missing, "main.ts keeps the old log on SIGHUP when the new one cannot be opened, and reports it"),
  async () => {
    await using program = await Program.start();
    const old = `${program.accessLog}.1`;
    await roundTrip(program.address, encode("one"));
    Deno.renameSync(program.accessLog, old);
    Deno.mkdirSync(program.accessLog);
    program.kill("SIGHUP");
    await program.line(/error: keeping the old access log: .*access\.log: Is a directory/);
    await roundTrip(program.address, encode("three"));
    assertEquals(parseLines(Deno.readTextFileSync(old)), [{ client: 1, bytes: 3 }, { client: 2, bytes: 5 }]);

    Deno.removeSync(program.accessLog);
    program.kill("SIGHUP");
    await program.line(/access log reopened/);
    await roundTrip(program.address, encode("seventh"));
    assertEquals(program.lines(), [{ client: 3, bytes: 7 }]);
  },
);

Deno.test(
  ignoreIf(missing, "main.ts keeps the old log on SIGHUP when a FIFO has replaced it, and reports it"),
  async () => {
    await using program = await Program.start();
    const old = `${program.accessLog}.1`;
    Deno.renameSync(program.accessLog, old);
    assert(succeeds("mkfifo", program.accessLog));
    const reader = run(["timeout", "20", "cat", program.accessLog]);
    program.kill("SIGHUP"); // its open(2) blocks until the reader has opened the FIFO
    await program.line(/error: keeping the old access log: .*access\.log: it is not a regular file/);
    assertEquals((await reader).code, 0); // EOF: the program has closed it
    await roundTrip(program.address, encode("one"));
    assertEquals(parseLines(Deno.readTextFileSync(old)), [{ client: 1, bytes: 3 }]);
  },
);

Deno.test(ignoreIf(missing, "main.ts reports its status in one line of logfmt on SIGUSR2"), async () => {
  await using program = await Program.start();
  await roundTrip(program.address, encode("hello"));
  using _ = await Deno.connect(program.address);
  const { uptime, ...status } = await program.statusWhen(({ active }) => active === 1);
  assert(uptime > 0 && uptime < 300, `uptime ${uptime} s`);
  assertEquals(status, { ...AT_REST, active: 1, served: 1, bytes: 5, buffered: 4096 });
});

Deno.test(ignoreIf(missing, "main.ts names the fields of its status line like its metrics"), async () => {
  await using receiver = new OtlpReceiver();
  await using program = await Program.start({ env: receiver.env(50) });
  await receiver.metricsWhen((metrics) => Object.keys(metrics).length > 0);
  const metrics = Object.entries(receiver.metrics).flatMap(([name, { values }]) =>
    Object.keys(values).map((reason) => reason === "" ? name : `${name}_${reason}`)
  );
  const fields = Object.keys(await program.status()).filter((name) => name !== "uptime");
  assertEquals(fields.map((name) => `echo_server.${name}`).toSorted(), metrics.toSorted());
});

Deno.test(ignoreIf(missing, "main.ts reports its status as one JSON object on SIGUSR2"), async () => {
  await using program = await Program.start({ flags: ["--log-format=json"] });
  await roundTrip(program.address, encode("hello"));
  program.kill("SIGUSR2");
  const { input } = await program.line(/"logger":"echo-server.status"/);
  const { uptime, ...status } = JSON.parse(input).properties;
  assert(uptime > 0 && uptime < 300, `uptime ${uptime} s`);
  assertEquals(status, { ...AT_REST, served: 1, bytes: 5 });
});

/** Sends SIGUSR1 until Deno has opened its debugger. Deno 2.9.6 does so from half a second after its start. */
async function openDebugger(program: Program): Promise<void> {
  const opened = program.matches(/Debugger listening on/).length;
  await until(() => {
    program.kill("SIGUSR1");
    return program.matches(/Debugger listening on/).length > opened;
  });
}

for (const flag of ["", "--inspect=127.0.0.1:0"]) {
  const whose = flag === "" ? "the debugger that Deno opens" : "every debugger, also that of --inspect,";
  Deno.test(ignoreIf(missing, `main.ts closes ${whose} on SIGUSR1, and does nothing else`), async () => {
    await using program = await Program.start({ deno: flag === "" ? [] : [flag] });
    assertEquals((await program.listeningPorts()).length, flag === "" ? 1 : 2);
    for (let i = 0; i < 3; i++) {
      await openDebugger(program);
      await until(async () => (await program.listeningPorts()).every((port) => port === program.address.port));
    }
    assertEquals(await roundTrip(program.address, encode("hello")), encode("hello"));
    const [listening, ...others] = program.stderr.filter((line) => !/^Debugger |chrome:\/\/inspect/.test(line));
    assertMatch(listening ?? "", /listening on/);
    assertEquals(others, []);
  });
}

const noTerminal = missing || (succeeds("socat", "-V") ? "" : "needs socat");

for (const launcher of ["", "nohup "]) {
  const name = launcher === ""
    ? "main.ts reopens its log on SIGHUP while its terminal is open, and drains once that is closed"
    : "main.ts reopens its log on SIGHUP and serves on, though the terminal is closed, when nohup has started it";
  Deno.test(ignoreIf(noTerminal, name), async () => {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder());
    const [log, stderr] = [`${folder}/access.log`, `${folder}/stderr`];
    const deno = `${Deno.execPath()} run --no-prompt --allow-net=127.0.0.1:0 --allow-write=${folder} main.ts`;
    const redirect = launcher === "" ? `2> ${stderr}` : `> ${stderr} 2>&1`;
    const server = `${launcher}${deno} --hostname=127.0.0.1 --port=0 --access-log=${log} ${redirect}`;
    const terminal = new Terminal(`echo pid $$; exec ${server}`);
    cleanup.use(terminal);
    const pid = Number((await terminal.shows(/pid (\d+)/))[1]);
    cleanup.defer(() => {
      if (alive(pid)) Deno.kill(pid, "SIGKILL");
    });
    const said = (pattern: RegExp) => until(() => pattern.test(readIfThere(stderr)));
    await said(/listening on/);
    const [, port] = /listening on \S+:(\d+)/.exec(Deno.readTextFileSync(stderr)) ?? [];
    const address = { hostname: "127.0.0.1", port: Number(port) };
    Deno.kill(pid, "SIGHUP");
    await said(/access log reopened/);

    using conn = await Deno.connect(address);
    await writeAll(conn, encode("hel"));
    assertEquals(await roundTrip(address, encode("other")), encode("other")); // so the first has been accepted
    await terminal[Symbol.asyncDispose]();
    await said(launcher === "" ? /draining/ : /reopened[^]*reopened/);
    await writeAll(conn, encode("lo"));
    await conn.closeWrite();
    assertEquals(await readToEof(conn), encode("hello"));
    if (launcher !== "") Deno.kill(pid, "SIGTERM");
    await until(() => !alive(pid));
    assertEquals(Deno.readTextFileSync(log), "[client 2]: received 5 bytes\n[client 1]: received 5 bytes\n");
  });
}

function alive(pid: number): boolean {
  return succeeds("kill", "-0", `${pid}`);
}

function readIfThere(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch {
    return "";
  }
}
