/** What the tasks in `deno.json` do besides serving, and what is published. */

import { assertEquals, assertMatch } from "@std/assert";
import { dirname, join } from "node:path";
import { type CommandResult, ROOT, run } from "../support/commands.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";

for (const task of ["soak", "bench", "compile"]) {
  Deno.test({
    ...ignoreIf(cannotRun, `deno task ${task} says in one line what is wrong with a flag`),
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
    ...ignoreIf(cannotRun, `deno task ${task} --help prints its flags`),
    async fn() {
      const { code, stdout, stderr } = await deno("task", "--quiet", task, "--help");
      assertMatch(stdout, /^ {2}--\w+/m);
      assertEquals([code, stderr], [0, ""]);
    },
  });
}

Deno.test({
  ...ignoreIf(
    cannotRun,
    "deno publish would send the program, the documents that README links with their images, and nothing else",
  ),
  async fn() {
    const { code, stderr } = await deno("publish", "--dry-run", "--allow-dirty");
    assertEquals(code, 0, stderr);
    const files = Array.from(stderr.matchAll(/^ +file:\/\/(\S+) \(/gm), ([, path = ""]) => path.replace(ROOT, ""));
    const parts = ["lib", "verify"].flatMap((folder) =>
      [...Deno.readDirSync(`${ROOT}${folder}`)].map(({ name }) => `${folder}/${name}`)
    );
    const readme = Deno.readTextFileSync(`${ROOT}README.md`);
    const linked = Array.from(readme.matchAll(/\]\((?!https?:)([^)#]+)/g), ([, path = ""]) => path);
    const papers = new Set(["README.md", "CHANGELOG.md", ...linked]);
    const images = [...papers].filter((path) => path.endsWith(".md")).flatMap((path) => {
      const shown = Deno.readTextFileSync(ROOT + path).matchAll(/!\[[^\]]*\]\((?!https?:)([^)]+)/g);
      return Array.from(shown, ([, image = ""]) => join(dirname(path), image));
    });
    const published = new Set(["deno.json", "main.ts", "verify.ts", ...papers, ...images, ...parts]);
    assertEquals(files.sort(), [...published].sort());
  },
});

/** Runs Deno in the repository. */
function deno(...args: string[]): Promise<CommandResult> {
  return run([Deno.execPath(), ...args], { env: { NO_COLOR: "1" } });
}
