/** What the tasks in `deno.json` do besides serving, and what is published. */

import { assertEquals, assertMatch } from "@std/assert";
import { canRun } from "../support/program.ts";

const ROOT = new URL("../..", import.meta.url);

for (const task of ["soak", "bench", "compile"]) {
  Deno.test({
    name: `deno task ${task} says in one line what is wrong with a flag`,
    ignore: !canRun,
    async fn() {
      const { code, stdout, stderr } = await deno("task", "--quiet", task, "--wrong");
      assertEquals(stdout, "");
      assertMatch(stderr, /^[^\n]*--wrong[^\n]*\n$/);
      assertEquals(code, 2);
    },
  });
}

for (const task of ["soak", "bench"]) {
  Deno.test({
    name: `deno task ${task} --help prints its flags`,
    ignore: !canRun,
    async fn() {
      const { code, stdout, stderr } = await deno("task", "--quiet", task, "--help");
      assertMatch(stdout, /^ {2}--\w+/m);
      assertEquals([code, stderr], [0, ""]);
    },
  });
}

Deno.test({
  name: "deno publish would send the program and its papers, and nothing else",
  ignore: !canRun,
  async fn() {
    const { code, stderr } = await deno("publish", "--dry-run", "--allow-dirty");
    assertEquals(code, 0, stderr);
    const files = Array.from(stderr.matchAll(/^ +file:\S*\/(\S+) \(/gm), ([, name]) => name ?? "");
    const lib = Array.from(Deno.readDirSync(new URL("lib", ROOT)), ({ name }) => name);
    assertEquals(files.sort(), ["LICENSE", "README.md", "deno.json", "main.ts", ...lib].sort());
  },
});

/** Runs Deno in the repository. */
async function deno(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const env = { NO_COLOR: "1" };
  const command = new Deno.Command(Deno.execPath(), { args, cwd: ROOT, env, stdin: "null" });
  const { code, stdout, stderr } = await command.output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
