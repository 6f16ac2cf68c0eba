/** `verify.ts`, typed as a stranger would. */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { NAMES } from "../../verify/checks.ts";
import { type CommandResult, run, succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { until } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";
const noTerminal = missing || (succeeds("socat", "-V") ? "" : "needs socat");
const noMounts = missing || (succeeds("unshare", "--mount", "true") ? "" : "needs root for a mount namespace");
const noNamespace = missing || (succeeds("unshare", "--net", "ip", "link") ? "" : "needs root for a network namespace");

const DENO = canRun ? Deno.execPath() : "deno";

/** What makes a run short. */
const SHORT = ["--max-message=4K", "--seconds=0.1"];

/** Runs it, with the permission for some addresses. */
function verify(allowed: string, ...args: string[]): Promise<CommandResult> {
  return run([DENO, "run", "--no-prompt", `--allow-net=${allowed}`, "verify.ts", ...args]);
}

/** Asserts that there is one line on stderr and nothing else. Returns the line. */
function theOneLine({ stdout, stderr }: CommandResult): string {
  assertEquals(stdout, "");
  assertMatch(stderr, /^verify: [^\n]+\n$/);
  return stderr.trimEnd();
}

/** An address on which nothing listens. */
function unused(): string {
  using listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  return `127.0.0.1:${listener.addr.port}`;
}

Deno.test(ignoreIf(noTerminal, "verify.ts tells a stranger at a terminal that every byte came back"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  const start = performance.now();
  await using terminal = new Terminal(`${DENO} run --allow-net=${address} verify.ts ${address}; echo "status $?"`);
  await terminal.shows(/slow-reader … \d\.\d s/); // progress
  await terminal.shows(/status 0/);
  const seconds = (performance.now() - start) / 1000;
  assert(seconds < 20, `it took ${seconds} s`);
  assertEquals(terminal.text.match(/Allow\?|requests/g), null, terminal.text);
  // deno-lint-ignore no-control-regex -- what has been cleared, and what it was cleared with
  const shown = terminal.text.replace(/[^\n]*\x1b\[K/g, "").replaceAll("\r", "").trim();
  const [rows = "", times = "", summary = ""] = shown.split("\n\n");
  const names = rows.split("\n").map((row) => /^(\S+) +passed +\d+\.\d{3} s$/.exec(row)?.[1]);
  assertEquals(names, [...NAMES], terminal.text);
  assertMatch(times, /^[\d,]+ clients\/s, p50 [\d.]+ ms, p90 [\d.]+ ms, p99 [\d.]+ ms\n( +[\d.]+ to .*(\n|$))+$/);
  assertEquals(shown.split("\n").filter((line) => line.length > 80), []);
  assertEquals(summary, `${address} passed\nstatus 0`);
});

Deno.test(ignoreIf(noTerminal, "verify.ts ends at once at Ctrl-C, with the rows so far"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  for (const flags of ["", "--json"]) {
    const command = `${DENO} run --allow-net=${address} verify.ts ${address} ${flags}`;
    await using terminal = new Terminal(`trap : INT; ${command}; echo "status $?"`);
    await terminal.shows(/slow-reader … [012]\.\d s/);
    await terminal.type("\x03");
    await terminal.shows(/status 130/);
    assertMatch(
      terminal.text,
      flags === "" ? /one-byte +passed.*\r\n[^]*\ninterrupted\r\n/ : /"passed":false.*"one-byte"/,
    );
    assertEquals(terminal.text.match(/slow-sender|slow-reader +passed/g), null, terminal.text);
  }
});

Deno.test(
  ignoreIf(noTerminal, "verify.ts does not prompt for a permission, but says which one is missing"),
  async () => {
    const others = [["127.0.0.1:4000", "127.0.0.1:4001"], ["[::1]:4000", "127.0.0.1"], ["localhost:4000", "127.0.0.1"]];
    for (const [host, allowed] of others) {
      await using terminal = new Terminal(`${DENO} run --allow-net=${allowed} verify.ts ${host}; echo "status $?"`);
      await terminal.shows(/status 1/);
      const line =
        `verify: cannot connect to ${host}: the permission is missing; run again with --allow-net=${host} before`;
      assertStringIncludes(terminal.text, line);
      assertEquals(terminal.text.match(/Allow\?/), null, terminal.text);
    }
  },
);

Deno.test(ignoreIf(noTerminal, "verify.ts takes a name with the permission for the name alone"), async () => {
  await using server = await Program.start();
  const address = `localhost:${server.address.port}`;
  const command = `${DENO} run --allow-net=${address} verify.ts ${address} ${SHORT.join(" ")}`;
  await using terminal = new Terminal(`${command}; echo "status $?"`);
  await terminal.shows(/status 0/);
  assertEquals(terminal.text.match(/Allow\?/), null, terminal.text);
  assertStringIncludes(terminal.text, `${address} passed`);
});

Deno.test(ignoreIf(noMounts, "verify.ts verifies each address of a name, or says what that needs"), async () => {
  await using server = await Program.start({ hostname: "0.0.0.0" });
  const { port } = server.address;
  using folder = new TemporaryFolder();
  Deno.writeTextFileSync(`${folder.path}/hosts`, "127.0.0.1 echo.test\n127.0.0.2 echo.test\n");
  const resolved = (allowed: string, ...flags: string[]) => {
    const program = [DENO, "run", "--no-prompt", `--allow-net=${allowed}`, "verify.ts", `echo.test:${port}`, ...flags];
    const script = 'mount --bind "$0" /etc/hosts && exec "$@"';
    return run(["unshare", "--mount", "sh", "-c", script, `${folder.path}/hosts`, ...program]);
  };
  const all = `echo.test:${port},127.0.0.1:${port},127.0.0.2:${port}`;
  const [each, name] = await Promise.all([resolved(all, "--json", ...SHORT), resolved(`echo.test:${port}`, ...SHORT)]);
  const addresses = each.stdout.trim().split("\n").map((line) => JSON.parse(line).address);
  assertEquals([addresses.toSorted(), each.stderr], [[`127.0.0.1:${port}`, `127.0.0.2:${port}`], ""]);
  assertStringIncludes(name.stdout, `echo.test:${port} passed`);
  const [, hint = ""] = /^verify: echo\.test has several.*--allow-net=(\S+)\n$/.exec(name.stderr) ?? [];
  assertEquals(hint.split(",").toSorted(), all.split(",").toSorted());
  assertEquals([each.code, name.code], [0, 0]);
});

Deno.test(ignoreIf(missing, "verify.ts --json prints one object, whose clients the access log has"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  const { code, stdout, stderr } = await verify(address, address, "--json", "--clients=3", ...SHORT);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, /^\{[^\n]+\}\n$/);
  const { checks, load, ...rest } = JSON.parse(stdout);
  assertEquals(rest, { address, passed: true, echoesEarly: false });
  for (const { name, result, seconds, ...more } of checks) {
    assert(seconds >= 0 && seconds < 10, `${name} took ${seconds} s`);
    assertEquals([result, more], ["passed", {}]);
  }
  assertEquals(checks.map(({ name }: { name: string }) => name), [...NAMES]);
  assertEquals(Object.keys(load), ["clients", "seconds", "clientsPerSecond", "p50Ms", "p90Ms", "p99Ms"]);
  assert(load.p50Ms > 0 && load.p50Ms <= load.p90Ms && load.p90Ms <= load.p99Ms, stdout);
  const sizes = [511, 512, 513, 1023, 1024, 1025, 2047, 2048, 2049, 4095, 4096];
  await until(() => server.lines().length === 2 + 1 + sizes.length + 5 + 3 + load.clients);
});

Deno.test(ignoreIf(missing, "verify.ts says in one line why it cannot connect"), async () => {
  const refused = unused();
  const results: [CommandResult, line: RegExp][] = [
    [
      await verify(refused, refused),
      /^verify: cannot connect to 127\.0\.0\.1:\d+: connection refused; nothing listens/,
    ],
    [await verify("no.invalid:1", "no.invalid:1"), /^verify: cannot connect to no\.invalid:1: the name cannot be res/],
    [
      await verify("127.0.0.1:1", "127.0.0.1:2"),
      /: the permission is missing; run again with --allow-net=127\.0\.0\.1:2 /,
    ],
  ];
  for (const [result, line] of results) {
    assertMatch(theOneLine(result), line);
    assertEquals(result.code, 1);
  }
});

Deno.test(ignoreIf(missing, "verify.ts exits with 2 at a wrong command line, and with 0 after the help"), async () => {
  const wrong = await verify("127.0.0.1:1", "127.0.0.1");
  assertMatch(theOneLine(wrong), /; see --help$/);
  assertEquals(wrong.code, 2);
  const noHost = await verify("127.0.0.1:4000", "é.example:4000");
  assertMatch(theOneLine(noHost), /, not "é\.example:4000"; see --help$/);
  assertEquals(noHost.code, 2);
  const help = await verify("127.0.0.1:1", "-h");
  assertEquals([help.code, help.stderr], [0, ""]);
  assertStringIncludes(help.stdout, "Usage: deno run --allow-net=HOST:PORT verify.ts HOST:PORT [flags]\n");
});

Deno.test(ignoreIf(missing, "deno task verify takes an address and flags"), async () => {
  const result = await run([DENO, "task", "--quiet", "verify", unused(), "--json"]);
  assertEquals([result.code, result.stderr], [1, ""]);
  assertEquals(JSON.parse(result.stdout).checks[0].seen, "connection refused");
});

Deno.test(ignoreIf(missing, "verify.ts shows no stack trace if its output is closed"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  const command = `${DENO} run --no-prompt --allow-net=${address} verify.ts ${address} ${SHORT.join(" ")}`;
  const { stdout, stderr } = await run(["sh", "-c", `${command} | head -n 1`]);
  assertMatch(stdout, /^connect +passed/);
  assertEquals(stderr, "");
});

Deno.test(ignoreIf(missing, "verify.ts says in one line that stdout is full"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  for (const args of ["--help", [address, ...SHORT].join(" "), [address, "--json", ...SHORT].join(" ")]) {
    const command = `${DENO} run --no-prompt --allow-net=${address} verify.ts ${args} > /dev/full`;
    const result = await run(["sh", "-c", command]);
    assertMatch(theOneLine(result), /^verify: cannot write to stdout: No space left on device/);
    assertEquals(result.code, 1);
  }
});

Deno.test(ignoreIf(missing, "verify.ts points to the limit of open files if that is too low"), async () => {
  await using server = await Program.start();
  const address = `127.0.0.1:${server.address.port}`;
  const command = `ulimit -n 200; ${DENO} run --no-prompt --allow-net=${address} verify.ts ${address} --clients=300`;
  const { code, stdout } = await run(["sh", "-c", `${command} ${SHORT.join(" ")}`]);
  assertMatch(stdout, /^concurrent +failed .* Too many open files.*\n +points to: this machine's limit of open files/m);
  assertEquals(code, 1);
});

Deno.test(ignoreIf(noNamespace, "verify.ts ends the load when the machine has no port left"), async () => {
  using folder = new TemporaryFolder();
  const script = `
    ip link set lo up
    echo 40000 40099 > /proc/sys/net/ipv4/ip_local_port_range
    echo 0 > /proc/sys/net/ipv4/tcp_tw_reuse
    "$0" run --allow-net=127.0.0.1:4000 --allow-write="$1" main.ts --hostname=127.0.0.1 --access-log="$1/access.log" &
    until [ -s "$1/access.log" ]; do "$0" eval 'await Deno.connect({ port: 4000 })' 2> "$1/stderr"; done
    "$0" run --allow-net=127.0.0.1:4000 verify.ts 127.0.0.1:4000 --max-message=1K --clients=8 --seconds=20
    echo "status $?"
    kill $!`;
  const { stdout } = await run(["unshare", "--net", "sh", "-c", script, DENO, folder.path]);
  assertMatch(stdout, /^load +passed +\d\.\d{3} s {2}ended early: this machine has no free port left$/m);
  assertMatch(stdout, /^status 0$/m);
});
