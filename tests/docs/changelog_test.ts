/** Holds the changelog to its form, and the release notes to the changelog. */

import { assert, assertEquals, assertMatch } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { output, ROOT } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";

const missing = canRun ? "" : "permissions are missing";

/** The versions in the changelog: the heading of each without its version, and its text. */
async function versions(): Promise<Map<string, { date: string; text: string }>> {
  const [, ...sections] = (await Deno.readTextFile(`${ROOT}CHANGELOG.md`)).split(/^## /m);
  return new Map(sections.map((section) => {
    const [, version = "", date = "", text = ""] = /^(\S+) — (.+)\n([^]*)$/.exec(section) ?? [];
    return [version, { date, text }];
  }));
}

Deno.test({
  ...ignoreIf(
    missing,
    "CHANGELOG has the version in deno.json, and dates, the newest first; the first may be unreleased",
  ),
  async fn() {
    const all = await versions();
    assert(all.has(config.version), config.version);
    const dates = Array.from(all.values(), ({ date }) => date);
    const released = dates[0] === "unreleased" ? dates.slice(1) : dates;
    for (const date of released) assertMatch(date, /^\d{4}-\d{2}-\d{2}$/);
    assertEquals(released, released.toSorted().toReversed());
  },
});

Deno.test({
  ...ignoreIf(missing, "release.yml takes a version's notes from CHANGELOG"),
  async fn() {
    const workflow = await Deno.readTextFile(`${ROOT}.github/workflows/release.yml`);
    const [, script = ""] = /- name: Take the notes from the changelog\n +run: (.*)/.exec(workflow) ?? [];
    using folder = new TemporaryFolder();
    await Deno.copyFile(`${ROOT}CHANGELOG.md`, `${folder.path}/CHANGELOG.md`);
    for (const [version, { text }] of await versions()) {
      await output("env", `--chdir=${folder.path}`, `GITHUB_REF_NAME=v${version}`, "bash", "-ec", script);
      assertEquals(await Deno.readTextFile(`${folder.path}/notes.md`), text, version);
    }
  },
});
