/**
 * The two ways in which it is run for real: by the documented command, and as one file. Both need port 4000 and
 * `/var/log`, so their tests stand in one file: those of a file run one after the other.
 */

import { assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { isRoot } from "./privileges.ts";
import { canRun, Program } from "./program.ts";
import { roundTrip } from "./tcp.ts";

const FOLDER = "/var/log/echo-server";
const ACCESS_LOG = `${FOLDER}/access.log`;
const ARTIFACT = "dist/echo-server";
const ROOT = new URL("..", import.meta.url);

const compiled = canRun ? run(Deno.execPath(), "task", "compile") : undefined;
const cannotStart = whyNotStart();
const cannotCompile = !canRun
  ? "permissions are missing"
  : compiled?.stderr.includes("denort")
  ? "needs Deno's denort, named in DENORT_BIN"
  : "";

Deno.test({
  name: `main.ts serves by the documented command${because(cannotStart)}`,
  ignore: cannotStart !== "",
  fn: () => serves("deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts".split(" ")),
});

Deno.test({
  name: `${ARTIFACT} serves with the permissions in it${because(cannotCompile || cannotStart)}`,
  ignore: (cannotCompile || cannotStart) !== "",
  fn: () => serves([ARTIFACT]),
});

Deno.test({
  name: `${ARTIFACT} may listen nowhere else, and write nowhere else${because(cannotCompile)}`,
  ignore: cannotCompile !== "",
  fn() {
    assertStringIncludes(run(ARTIFACT, "--access-log=/tmp/access.log").stderr, "--allow-write=/tmp");
    assertStringIncludes(run(ARTIFACT, "--port=4001").stderr, "--allow-net=0.0.0.0:4001");
  },
});

Deno.test({
  name: `deno task compile makes ${ARTIFACT}, or says in one line what is missing`,
  ignore: !canRun,
  fn() {
    if (compiled?.success) return assertStringIncludes(compiled.stdout, ARTIFACT);
    assertMatch(compiled?.stderr ?? "", /^cannot compile: .*denort.*DENORT_BIN\n$/m);
  },
});

Deno.test({
  name: "deno task compile writes the commit into what it compiles",
  ignore: !canRun,
  fn() {
    const { stdout } = run(Deno.execPath(), "run", "--no-prompt", "dist/main.ts", "--version");
    const commit = run("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").stdout.trim();
    assertMatch(stdout, /^echo-server \d+\.\d+\.\d+ \(Deno \d+\.\d+\.\d+, commit \S+\)\n$/);
    assertStringIncludes(stdout, `commit ${commit || "unknown"})`);
  },
});

async function serves(command: string[]): Promise<void> {
  const before = sizeOf(ACCESS_LOG);
  using _ = {
    [Symbol.dispose]: () => before === undefined ? Deno.removeSync(ACCESS_LOG) : Deno.truncateSync(ACCESS_LOG, before),
  };
  const [name = "", ...args] = command;
  command = [name === "deno" ? Deno.execPath() : name, ...args];
  await using program = await Program.start({ hostname: "0.0.0.0", accessLog: ACCESS_LOG, command });
  assertEquals(program.address.port, 4000);
  const hello = new TextEncoder().encode("hello");
  assertEquals(await roundTrip(program.address, hello), hello);
  assertEquals(program.log().slice(before), "[client 1]: received 5 bytes\n");
}

/** Why neither can be started here; empty if they can. */
function whyNotStart(): string {
  if (!canRun) return "permissions are missing";
  if (!isRoot) return "needs root for /var/log";
  try {
    Deno.listen({ port: 4000 }).close();
    return "";
  } catch {
    return "port 4000 is taken";
  }
}

function because(reason: string): string {
  return reason === "" ? "" : ` (ignored: ${reason})`;
}

function run(command: string, ...args: string[]): { success: boolean; stdout: string; stderr: string } {
  const env = { NO_COLOR: "1" };
  const { success, stdout, stderr } = new Deno.Command(command, { args, cwd: ROOT, env }).outputSync();
  const decoder = new TextDecoder();
  return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

function sizeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).size;
  } catch {
    return undefined;
  }
}
