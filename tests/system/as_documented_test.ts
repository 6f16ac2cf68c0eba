/**
 * The ways in which it is run for real: by the documented command, as one file, and by a user who may write nothing
 * but a checkout. All need port 4000, so their tests are in one file: the tests of a file run one after the other.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { entry } from "../../deploy/compile.ts";
import { type CommandResult, ROOT, runSync, succeeds } from "../support/commands.ts";
import { cannotRun, canRun, ignoreIf } from "../support/permissions.ts";
import { isRoot } from "../support/privileges.ts";
import { Program } from "../support/program.ts";
import { readToEof, roundTrip } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Terminal } from "../support/terminal.ts";
import { delay } from "../support/wait.ts";

const missing = cannotRun;

const FOLDER = "/var/log/echo-server";
const ACCESS_LOG = `${FOLDER}/access.log`;
const ARTIFACT = "dist/echo-server";

/** A user without root's privileges. */
const USER = 1000;

/** $1: the checkout. $2: Deno. $3: Deno's cache of npm packages. $4: the folder that all of it is copied to. */
const CLONE = `
mkdir "$4/clone" "$4/cache"
cp -r "$1/main.ts" "$1/lib" "$1/deno.json" "$1/deno.lock" "$4/clone"
cp "$2" "$4/deno"
cp -r "$3" "$4/cache/npm"
if [ "$(id -u)" = 0 ]; then chown -R ${USER}:${USER} "$4"; fi
`;

const noTerminal = canRun && succeeds("socat", "-V") ? "" : "needs socat";
const compiled = canRun ? call(Deno.execPath(), "task", "compile") : undefined;
const portTaken = whyNotListen();
const cannotStart = portTaken || (isRoot ? "" : "needs root for /var/log");
const cannotCompile = cannotRun ||
  (compiled?.stderr.includes("denort") ? "needs Deno's denort, named in DENORT_BIN" : "");

Deno.test({
  ...ignoreIf(cannotStart, "main.ts serves by the documented command"),
  fn: () => serves("deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts".split(" ")),
});

for (const [source, command] of Object.entries(documentedStarts())) {
  Deno.test({
    ...ignoreIf(
      cannotStart || noTerminal,
      `the start of ${source}, typed into a terminal, prompts for nothing, echoes and exits with status 0 on Ctrl-C`,
    ),
    async fn() {
      await using cleanup = new AsyncDisposableStack();
      const log = `${ROOT}log`; // of deno task dev
      if (sizeOf(log) === undefined) cleanup.defer(() => Deno.remove(log, { recursive: true }).catch(() => {}));
      cleanup.use(restoring(ACCESS_LOG));
      const typed = command.replace(/\bdeno /, `${Deno.execPath()} `);
      const terminal = cleanup.use(new Terminal(`trap : INT\n${typed}\necho "exit status $?"`));
      await terminal.shows(/listening on (0\.0\.0\.0|127\.0\.0\.1):4000/);
      const hello = new TextEncoder().encode("hello");
      assertEquals(await roundTrip({ hostname: "127.0.0.1", port: 4000 }, hello), hello);
      using conn = await Deno.connect({ port: 4000 });
      await conn.write(hello);
      await terminal.type("\x03");
      await terminal.shows(/draining/);
      await delay(200); // a task has forwarded the signal, too
      await conn.closeWrite();
      assertEquals(await readToEof(conn), hello);
      await terminal.shows(/exit status 0/);
      assertEquals(terminal.text.match(/Allow\?|requests|permission/gi), null, terminal.text);
    },
  });
}

Deno.test({
  ...ignoreIf(
    cannotStart || noTerminal,
    "deno task start drains on Ctrl-C, which both the terminal and the task forward",
  ),
  async fn() {
    using _ = restoring(ACCESS_LOG);
    const message = new TextEncoder().encode("still here");
    for (let i = 0; i < 4; i++) { // the two signals may also come as one
      // The shell is in the terminal's foreground too; it ignores the signal, and prints the server's exit status.
      await using terminal = new Terminal(`trap : INT; ${Deno.execPath()} task start; echo "exit status $?"`);
      await terminal.shows(/listening on 0\.0\.0\.0:4000/);
      using conn = await Deno.connect({ port: 4000 });
      await conn.write(message.subarray(0, 5));
      await terminal.type("\x03");
      await terminal.shows(/draining/);
      await delay(200); // the task has forwarded it
      await conn.write(message.subarray(5));
      await conn.closeWrite();
      assertEquals(await readToEof(conn), message);
      await terminal.shows(/exit status 0/);
    }
  },
});

Deno.test({
  ...ignoreIf(
    missing || noTerminal,
    "on a terminal, Deno asks about an address that a flag names, but not with --no-prompt",
  ),
  async fn() {
    const { README = "" } = documentedStarts();
    const command = `${README.replace("deno", Deno.execPath())} --port=4001\necho "exit status $?"`;
    await using prompting = new Terminal(command);
    await prompting.shows(/net access to "0\.0\.0\.0:4001"[^]*Allow\?.*> /);
    await using silent = new Terminal(command.replace(" run ", " run --no-prompt "));
    await silent.shows(/exit status 1/);
    assertMatch(silent.text, /the permission is missing; .*--allow-net=0\.0\.0\.0:4001/);
    assertEquals(silent.text.match(/Allow\?|requests/), null);
  },
});

Deno.test({
  ...ignoreIf(portTaken, "deno task dev serves for an ordinary user, and restarts when a file changes"),
  async fn() {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder("echo-clone-"));
    const { npmCache } = JSON.parse(call(Deno.execPath(), "info", "--json").stdout);
    assert(call("sh", "-ec", CLONE, "sh", ROOT, Deno.execPath(), npmCache, folder).code === 0);
    const drop = ["setpriv", `--reuid=${USER}`, `--regid=${USER}`, "--clear-groups", "--bounding-set=-all"];
    const env = { DENO_DIR: `${folder}/cache`, HOME: folder, NO_COLOR: "1" };
    const accessLog = `${folder}/clone/log/access.log`;
    const command = [...isRoot ? drop : [], `${folder}/deno`, "task", `--config=${folder}/clone/deno.json`, "dev"];
    const program = cleanup.use(await Program.start({ command, env, accessLog }));
    // "deno task" is killed without its own child.
    const [child] = call("cat", `/proc/${program.pid}/task/${program.pid}/children`).stdout.split(" ");
    cleanup.defer(() => void call("kill", "-KILL", child ?? ""));

    const address = { hostname: "127.0.0.1", port: 4000 };
    assertEquals(program.address, address);
    const hello = new TextEncoder().encode("hello");
    assertEquals(await roundTrip(address, hello), hello);
    Deno.writeTextFileSync(`${folder}/clone/lib/clock.ts`, "// changed\n", { append: true });
    await program.line(/listening on /, 2);
    assertEquals(await roundTrip(address, hello), hello);
    assertEquals(program.log(), "[client 1]: received 5 bytes\n".repeat(2));
    assertEquals(Deno.statSync(accessLog).uid, Deno.statSync(folder).uid); // the ordinary user's
    program.kill("SIGINT"); // after SIGTERM the watcher would wait for a file to change
    await program.line(/draining/, 2);
    assertEquals(await program.exit(), 0);
  },
});

Deno.test({
  ...ignoreIf(cannotCompile || cannotStart, `${ARTIFACT} serves with the permissions in it`),
  fn: () => serves([ARTIFACT]),
});

Deno.test({
  ...ignoreIf(cannotCompile, `${ARTIFACT} may not listen or write elsewhere`),
  fn() {
    assertStringIncludes(call(ARTIFACT, "--access-log=/tmp/access.log").stderr, "--allow-write=/tmp");
    assertStringIncludes(call(ARTIFACT, "--port=4001").stderr, "--allow-net=0.0.0.0:4001");
  },
});

Deno.test({
  ...ignoreIf(missing, `deno task compile makes ${ARTIFACT}, or says in one line what is missing`),
  fn() {
    if (compiled?.code === 0) return assertStringIncludes(compiled.stdout, ARTIFACT);
    assertMatch(compiled?.stderr ?? "", /^cannot compile: .*denort.*DENORT_BIN[^\n]*\n$/m);
  },
});

Deno.test({
  ...ignoreIf(missing, "deno task compile writes the commit into what it compiles"),
  fn() {
    // The script that is compiled is in dist/ and imports from the folder above, as stdin does in a folder of the repository.
    const script = 'cd deploy; printf %s "$1" | "$0" run --no-prompt - --version';
    const { stdout } = call("sh", "-c", script, Deno.execPath(), entry());
    const commit = !succeeds("git", "--version")
      ? ""
      : call("git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*").stdout.trim();
    assertMatch(stdout, /^echo-server \d+\.\d+\.\d+ \(Deno \d+\.\d+\.\d+, commit \S+\)\n$/);
    assertStringIncludes(stdout, `commit ${commit || "unknown"})`);
  },
});

/** Every documented way to start it, word by word, by the document. */
function documentedStarts(): Record<string, string> {
  if (!canRun) return {};
  const find = (file: string, pattern: RegExp) => {
    const [, command] = pattern.exec(Deno.readTextFileSync(ROOT + file)) ?? [];
    if (command === undefined) throw new Error(`${file} has no ${pattern}`);
    return command;
  };
  return {
    "README": find("README.md", /^ {4}(deno run .*)$/m),
    "--help": find("lib/options.ts", /^Usage: (.*) \[flags\]$/m),
    "OpenTelemetry": find("deploy/README.md", /^ {4}(OTEL_DENO=[^]*?main\.ts)$/m),
    "deno task start": find("README.md", /^ {4}npx --yes (deno)@[\d.]+ task start$/m) + " task start",
    "deno task dev": "deno task dev",
  };
}

async function serves(command: string[]): Promise<void> {
  const before = sizeOf(ACCESS_LOG);
  using _ = restoring(ACCESS_LOG);
  const [name = "", ...args] = command;
  command = [name === "deno" ? Deno.execPath() : name, ...args];
  await using program = await Program.start({ hostname: "0.0.0.0", accessLog: ACCESS_LOG, command });
  assertEquals(program.address.port, 4000);
  const hello = new TextEncoder().encode("hello");
  assertEquals(await roundTrip(program.address, hello), hello);
  assertEquals(program.log().slice(before), "[client 1]: received 5 bytes\n");
}

/** Truncates a file, when it is disposed of, to what it is now. */
function restoring(path: string): Disposable {
  const before = sizeOf(path);
  return {
    [Symbol.dispose]() {
      if (before !== undefined) Deno.truncateSync(path, before);
      else if (sizeOf(path) !== undefined) Deno.removeSync(path);
    },
  };
}

/** Why none of them can be started here; empty if they can. */
function whyNotListen(): string {
  if (cannotRun !== "") return cannotRun;
  try {
    Deno.listen({ port: 4000 }).close();
    return "";
  } catch {
    return "port 4000 is taken";
  }
}

function call(...command: string[]): CommandResult {
  return runSync(command, { env: { NO_COLOR: "1" } });
}

function sizeOf(path: string): number | undefined {
  try {
    return Deno.statSync(path).size;
  } catch {
    return undefined;
  }
}
