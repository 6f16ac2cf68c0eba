import { assert, assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../lib/options.ts";
import { output, run } from "../support/commands.ts";
import { Program } from "../support/program.ts";
import { pattern, readToEof, ResettingClient, writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { until } from "../support/wait.ts";
import { Installation } from "./installation.ts";
import { echo, Load, loggedSizes } from "./load.ts";
import { replace } from "./replace.ts";
import { needing } from "./requirements.ts";
import { allowedCalls } from "./syscall_filter.ts";
import { Unit } from "./unit.ts";

const FOLDER = new URL("../../deploy/systemd/", import.meta.url).pathname;
const PATH = `${FOLDER}echo-server.service`;

/** What is needed to run the server as the unit does. */
const SANDBOX = ["root", "mount namespaces", "prlimit", "setpriv"] as const;

async function unit(path = PATH): Promise<Unit> {
  return new Unit(await Deno.readTextFile(path));
}

Deno.test({
  ...needing("systemd-analyze verify has no complaint about echo-server.service", "systemd-analyze"),
  async fn() {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder("echo-unit-"));
    // Deno need not be in /usr/bin on the machine that runs the tests.
    const text = replace(await Deno.readTextFile(PATH), "/usr/bin/deno", Deno.execPath());
    await Deno.writeTextFile(`${folder}/echo-server.service`, text);
    const { code, stdout, stderr } = await run(["systemd-analyze", "verify", `${folder}/echo-server.service`]);
    assertEquals(stdout + stderr, "");
    assertEquals(code, 0);
  },
});

Deno.test({
  ...needing("systemd-analyze security rates echo-server.service 1.5 or less", "systemd-analyze"),
  async fn() {
    const report = await output("systemd-analyze", "security", "--offline=true", "--no-pager", PATH);
    const [, score] = /Overall exposure level for echo-server\.service: ([\d.]+)/.exec(report) ?? [];
    assert(Number(score) <= 1.5, report);
  },
});

Deno.test({
  ...needing("echo-server@.service differs from echo-server.service only in what is specific to an instance"),
  async fn() {
    const one = await unit();
    const template = await unit(`${FOLDER}echo-server@.service`);
    const own = ["Description", "Environment", "ExecStart", "LogsDirectory", "SyslogIdentifier", "User"];
    for (const name of new Set([...one.names, ...template.names])) {
      assertEquals(own.includes(name), String(one.all(name)) !== String(template.all(name)), name);
    }
    const log = template.get("LogsDirectory");
    assertEquals(
      template.get("ExecStart"),
      replace(one.get("ExecStart"), "0.0.0.0", "${ADDRESS}").replace("/var/log/echo-server", `/var/log/${log}`) +
        ` --hostname=\${ADDRESS} --access-log=/var/log/${log}/access.log $FLAGS`,
    );
  },
});

Deno.test({
  ...needing("echo-server.service fits the server's defaults"),
  async fn() {
    const settings = await unit();
    assert(settings.number("LimitNOFILE") > DEFAULTS.maxClients);
    const [, orphans] = /tcp_max_orphans = (\d+)/.exec(await Deno.readTextFile(`${FOLDER}sysctl.conf`)) ?? [];
    const kernel = 65_536 * (DEFAULTS.maxClients + Number(orphans));
    assert(settings.number("MemoryMax") >= DEFAULTS.maxBuffered + kernel + 268_435_456);
    assert(settings.number("TimeoutStopSec") > DEFAULTS.drainTimeout);
    const folder = `/var/log/${settings.get("LogsDirectory")}`;
    assertEquals(DEFAULTS.accessLog, `${folder}/access.log`);
    assertMatch(settings.get("ExecStart"), new RegExp(` --allow-write=${folder} `));
    assertMatch(settings.get("ExecStart"), new RegExp(` --allow-net=${DEFAULTS.hostname}:${DEFAULTS.port} `));
    assertEquals(settings.all("MemoryDenyWriteExecute"), []);
  },
});

Deno.test({
  ...needing(
    "echo-server.service's limit of descriptors is enough for 10000 clients in flight",
    ...SANDBOX,
    "descriptors",
  ),
  async fn() {
    const settings = await unit();
    await using installation = await Installation.make(settings);
    const { accessLog } = installation;
    await using server = await Program.start({ accessLog, command: installation.command() });
    using clients = new DisposableStack();
    const conns: Deno.TcpConn[] = [];
    while (conns.length < DEFAULTS.maxClients) conns.push(clients.use(await Deno.connect(server.address)));
    await server.statusWhen(({ active }) => active === DEFAULTS.maxClients);
    const late = echo(server.address, pattern(7)); // waits in the backlog

    await conns[0]?.closeWrite();
    assertEquals(await late, undefined);
    await Promise.all(conns.slice(1).map((conn) => conn.closeWrite()));
    for (const conn of conns) assertEquals((await readToEof(conn)).length, 0);
    assertEquals(loggedSizes(server.lines()), [...conns.map(() => 0), 7]);
    assertEquals(server.matches(/warn|error/i), []);
    const { mode } = await Deno.stat(accessLog);
    assertEquals((mode ?? 0) & 0o777, 0o666 & ~parseInt(settings.get("UMask"), 8));

    assertEquals(settings.get("ExecReload"), "/bin/kill -HUP $MAINPID");
    server.kill("SIGHUP");
    await server.line(/access log reopened/);
    server.kill("SIGTERM");
    assertEquals(await server.exit(), 0);
  },
});

Deno.test({
  ...needing("echo-server.service's memory limit is enough for --max-buffered", ...SANDBOX, "memory cgroups"),
  async fn() {
    const settings = await unit();
    await using installation = await Installation.make(settings);
    const group =
      (await output("sh", "-ec", 'echo "/sys/fs/cgroup/memory$(sed -n s/^.*:memory://p /proc/self/cgroup)/echo-$$"'))
        .trim();
    const enter = `mkdir ${group}; echo ${settings.get("MemoryMax")} > ${group}/memory.limit_in_bytes
      echo $$ > ${group}/cgroup.procs; exec "$@"`;
    await using cleanup = new AsyncDisposableStack();
    cleanup.defer(async () => void await output("rmdir", group));
    const command = ["sh", "-ec", enter, "sh", ...installation.command()];
    await using server = await Program.start({ accessLog: installation.accessLog, command });

    // Clients that fill --max-buffered, and one whose message exceeds it.
    using clients = new DisposableStack();
    const message = pattern(DEFAULTS.maxBuffered / 8);
    const conns: Deno.TcpConn[] = [];
    while (conns.length < 7) {
      const conn = clients.use(await Deno.connect(server.address));
      await writeAll(conn, message);
      conns.push(conn);
    }
    await server.statusWhen(({ buffered }) => buffered >= 7 * message.length);
    using refused = await Deno.connect(server.address);
    const writing = writeAll(refused, message).then(() => writeAll(refused, message)).catch(() => "dropped");
    await server.line(/client 8 .* dropped after \d+ bytes: buffers/);
    assertEquals(await writing, "dropped");

    const [conn] = conns;
    await conn?.closeWrite();
    assertEquals(conn && (await readToEof(conn)).length, message.length);
    assertEquals(server.log(), `[client 1]: received ${message.length} bytes\n`);
    assertMatch(await output("cat", `${group}/memory.oom_control`), /^oom_kill 0$/m);
  },
});

Deno.test({
  ...needing(
    "echo-server.service's SystemCallFilter allows all that the server does",
    ...SANDBOX,
    "systemd-analyze",
    "strace",
  ),
  async fn() {
    const settings = await unit();
    await using installation = await Installation.make(settings);
    const { accessLog } = installation;
    const calls = (await allowedCalls(settings)).filter((name) => name !== "clone3").map((name) => `?${name}`).join();
    assertEquals(settings.get("SystemCallErrorNumber"), "EPERM");
    // RestrictNamespaces= makes clone3 fail with ENOSYS, since a filter cannot see its flags.
    const trace = `${accessLog}.trace`;
    const strace = `strace -D -f -q --seccomp-bpf -o ${trace} -e trace='!${calls}' ` +
      `-e inject='!${calls}:error=EPERM' -e inject=clone3:error=ENOSYS`;
    await using server = await Program.start({ accessLog, command: installation.command(strace) });
    await using load = new Load(server.address, 16, 262_144);
    await load.serves(200);
    server.kill("SIGHUP");
    await server.line(/access log reopened/);
    await load.serves(200);
    await load.stop();
    const resetting = await ResettingClient.connect(server.address);
    await resetting.write(pattern(3));
    await server.statusWhen(({ buffered }) => buffered > 0);
    await resetting.reset();
    await server.line(/dropped after 3 bytes: reset/);
    server.kill("SIGTERM");
    assertEquals(await server.exit(), 0);
    assertEquals(load.failures, []);
    assertEquals(loggedSizes(server.lines()), load.served);
    // Deno does without what is refused: it uses clone instead of clone3, and memory without protection keys.
    const ended = new RegExp(String.raw`^${server.pid} +\+\+\+ exited`, "m");
    await until(() => ended.test(Deno.readTextFileSync(trace)));
    const refused = (await Deno.readTextFile(trace)).matchAll(/^\d+ +(\w+)\(.* \(INJECTED\)$/gm).map(([, name]) =>
      name
    );
    assertEquals([...new Set(refused)].sort(), ["clone3", "pkey_alloc"]);
  },
});
