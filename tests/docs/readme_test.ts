/** Does what README says, word by word but for the port, the log's place and the repository's address. */

import { assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../lib/options.ts";
import { ROOT, run, runSync, succeeds } from "../support/commands.ts";
import { cannotRun, canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { writeAll } from "../support/tcp_client.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const README = canRun ? Deno.readTextFileSync(`${ROOT}README.md`) : "";

/** The programs that are tried, and Debian's packages that bring them. There are two of the name `nc`. */
const TOOLS: Record<string, string> = {
  "bash": "bash",
  "busybox": "busybox",
  "curl": "curl",
  "deno": "npm's deno",
  "ncat": "ncat",
  "nc.openbsd": "netcat-openbsd",
  "nc.traditional": "netcat-traditional",
  "python3": "python3",
  "socat": "socat",
  "toybox": "toybox",
};

const [transcript = "", ...scripts] = snippets(README, "Try it");

test("README's first commands print what stands below them", transcript, async (program, bin) => {
  const steps = transcript.split(/^\$ (.*\n)/m);
  assertEquals(steps.length, 7); // three commands, each followed by what it prints
  for (let i = 1; i < steps.length; i += 2) {
    assertMatch(await output(steps[i] ?? "", program, bin), printed(steps[i + 1] ?? ""));
  }
  assertMatch(program.log(), /\n\[client \d+\]: received 5 bytes\n$/);
}, []);

for (const script of scripts) {
  test(`README's hello comes back by ${tools(script)}`, script, async (program, bin) => {
    assertEquals((await output(script, program, bin)).trimEnd(), "hello");
    assertEquals(program.log(), "[client 1]: received 5 bytes\n");
  });
}

Deno.test({
  ...ignoreIf(cannotRun, "README's scripts are those that are told apart here"),
  fn: () => assertEquals(scripts.flatMap(tools), ["socat", "python3"]),
});

for (const nc of ["nc.openbsd -N", "nc.traditional -q 1", "ncat", "busybox nc", "toybox nc"]) {
  const command = `printf hello | ${nc} 127.0.0.1 ${DEFAULTS.port}`;
  test(`a client half-closes, as README says: ${command}`, command, async (program, bin) => {
    assertEquals(await output(command, program, bin), "hello");
  });
}

for (
  const command of [
    "printf hello | nc.openbsd 127.0.0.1 4000",
    "printf hello | nc.traditional 127.0.0.1 4000",
    "printf hello | curl -sS telnet://127.0.0.1:4000",
    "exec 3<>/dev/tcp/127.0.0.1/4000; printf hello >&3; cat <&3",
  ]
) {
  test(`a client waits for --idle-timeout, as README says: ${command}`, command, async (program, bin) => {
    assertEquals(await output(command, program, bin), "");
    await program.line(/dropped after 5 bytes: idle/);
  });
}

test("a client that reads before it ends waits for --idle-timeout, as README says", "", async (program) => {
  using conn = await Deno.connect(program.address); // not verify's client, which half-closes
  await writeAll(conn, new TextEncoder().encode("hello"));
  assertEquals(await conn.read(new Uint8Array(1)), null);
  await program.line(/dropped after 5 bytes: idle/);
});

const noGit = canRun && succeeds("git", "-C", ROOT, "rev-parse", "HEAD") ? "" : "needs a clone, and git";

Deno.test({
  ...ignoreIf(noGit, "README's first command clones the repository and enters it"),
  async fn() {
    const [, command = "", url = ""] = /^ {4}(git clone (\S+) .*)$/m.exec(README) ?? [];
    using folder = new TemporaryFolder();
    // The clone is taken from here.
    const env = {
      GIT_CONFIG_COUNT: "2",
      GIT_CONFIG_KEY_0: `url.${ROOT}.insteadOf`,
      GIT_CONFIG_VALUE_0: url,
      GIT_CONFIG_KEY_1: "safe.directory",
      GIT_CONFIG_VALUE_1: "*",
    };
    const { stdout, stderr } = await run(["sh", "-c", `cd "$0"; ${command} && ls`, folder.path], { env });
    for (const name of ["README.md", "deno.json", "main.ts"]) assertMatch(stdout, new RegExp(`^${name}$`, "m"), stderr);
  },
});

Deno.test({
  ...ignoreIf(canRun ? "" : "permissions are missing", "README's command for one file runs its tests"),
  async fn() {
    const [command = ""] = /(?<=^ {4}deno )task test:file .*$/m.exec(README) ?? [];
    const { code, stdout } = await run([Deno.execPath(), ...command.split(" ")], { env: { NO_COLOR: "1" } });
    assertEquals(code, 0);
    assertMatch(stdout, /^ok \| [1-9]\d* passed \| 0 failed/m);
  },
});

/** Tries what a text says on the program; `bin` is a folder with what it calls `nc` and `deno`. */
function test(
  name: string,
  text: string,
  fn: (program: Program, bin: string) => Promise<void>,
  flags: string[] = ["--idle-timeout=1"],
): void {
  const used = ["bash", ...tools(text)];
  const lacks = canRun ? used.find((tool) => where(tool) === "") : undefined;
  Deno.test({
    ...ignoreIf(lacks === undefined ? cannotRun : `needs ${lacks}: apt-get install ${TOOLS[lacks]}`, name),
    async fn() {
      await using cleanup = new AsyncDisposableStack();
      const { path: bin } = cleanup.use(new TemporaryFolder("echo-bin-"));
      for (const tool of used) await Deno.symlink(where(tool), `${bin}/${tool.replace(/\..*/, "")}`);
      await fn(cleanup.use(await Program.start({ flags })), bin);
    },
  });
}

/** The paragraphs of a section that are code. */
function snippets(markdown: string, section: string): string[] {
  const [, rest = ""] = markdown.split(`\n## ${section}\n\n`);
  const [text = ""] = rest.split("\n## ");
  return text.split(/\n{2,}/).filter((paragraph) => paragraph.startsWith("    "))
    .map((paragraph) => paragraph.replace(/^ {4}/gm, "") + "\n");
}

/** The programs that a text runs. Its flag tells which of the two it means by `nc`. */
function tools(text: string): string[] {
  const told = text.replaceAll("nc -N", "nc.openbsd").replaceAll("nc -q", "nc.traditional");
  return Object.keys(TOOLS).filter((tool) => new RegExp(`(^|\\| )${tool} `, "m").test(told));
}

/** Where a program is, empty if it is nowhere. */
function where(tool: string): string {
  if (tool === "deno") return Deno.execPath();
  return runSync(["sh", "-c", `command -v ${tool}`]).stdout.trim();
}

/** Matches what is shown: with other numbers, columns of another width, and anything where there is an ellipsis. */
function printed(shown: string): RegExp {
  const pattern = shown.replace(/[[\]()]/g, "\\$&").replace(/\d[\d,.]*/g, "\\d[\\d,.]*")
    .replace(/ {2,}/g, " +").replaceAll("…\n", "[^]*");
  return new RegExp(`^${pattern}$`);
}

/** What a command prints. */
async function output(command: string, program: Program, bin: string): Promise<string> {
  const here = command.replaceAll(`${DEFAULTS.port}`, `${program.address.port}`)
    .replaceAll(DEFAULTS.accessLog, program.accessLog);
  // The shell itself sets PATH: this test may not read the environment.
  return (await run(["bash", "-c", `PATH="$0:$PATH"; ${here}`, bin])).stdout;
}
