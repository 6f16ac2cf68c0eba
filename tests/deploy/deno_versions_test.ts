/** The lowest version of Deno that README names, and the newest that npm has. */

import { assert, assertEquals } from "@std/assert";
import { output, ROOT, run } from "../support/commands.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { needing } from "./requirements.ts";
import { firstMinute } from "./first_minute.ts";

Deno.test({
  ...needing("the program runs on the lowest Deno that README names, and on the newest", "npm"),
  async fn(t) {
    const readme = await Deno.readTextFile(`${ROOT}README.md`);
    const lowest = /Deno (\d+\.\d+\.\d+) or later/.exec(readme)?.[1] ?? "";
    const newest = await newestVersion();
    const isRunning = newest === Deno.version.deno ? ", which runs the other tests as well" : "";
    for (const [version, which] of [[lowest, "the lowest"], [newest, `the newest on npm${isRunning}`]]) {
      const passed = await t.step(
        `Deno ${version}, ${which}: checks the types, starts, echoes and drains`,
        async () => {
          const executable = await install(version ?? "");
          // A cache of its own: other versions of Deno would discard each other's compiled code.
          using folder = new TemporaryFolder();
          const { npmCache } = JSON.parse(await output(Deno.execPath(), "info", "--json"));
          await Deno.symlink(npmCache, `${folder.path}/npm`);
          const env = { DENO_DIR: folder.path, NO_COLOR: "1" };
          const { code, stderr } = await run([executable, "check", "main.ts"], { env });
          assertEquals(code, 0, stderr);
          await firstMinute({ executable, deno: ["--cached-only"], env }, [0, 5, 3_000_000]);
        },
      );
      assert(passed);
    }
  },
});

/** Asks npm's registry, or the cache of an earlier answer if there is no network. */
async function newestVersion(): Promise<string> {
  const view = (...args: string[]) => run(["npm", ...args, "view", "deno", "version"]);
  const online = await view("--fetch-retries=0");
  const { code, stdout, stderr } = online.code === 0 ? online : await view("--offline");
  assertEquals(code, 0, stderr);
  return stdout.trim();
}

/** Installs a version of Deno in npx's cache, and returns the path of its executable: npx would pass on no signal. */
async function install(version: string): Promise<string> {
  const path = "console.log(Deno.execPath(), Deno.version.deno)";
  const printed = await output("npx", "--yes", "--prefer-offline", `deno@${version}`, "eval", path);
  const [executable = "", installed] = printed.trim().split(" ");
  assertEquals(installed, version);
  return executable;
}
