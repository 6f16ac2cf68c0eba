/**
 * Regenerates what the documents show of real runs: `deno task docs`.
 *
 * @module
 */

import { summaryTable, targetsTable } from "../bench/report.ts";
import type { Results } from "../bench/results.ts";
import { judge } from "../bench/targets.ts";
import { output, ROOT } from "../tests/support/commands.ts";
import { stateTable } from "./socket_states.ts";
import { explain, systemCalls } from "./system_calls.ts";
import { record } from "./terminal_session.ts";

/** The parts of documents that are generated, by the names in their markers. */
export const SECTIONS: Record<string, Record<string, () => Promise<string>>> = {
  "docs/sockets.md": {
    "minimal": async () =>
      `\`\`\`ts ignore\n${(await Deno.readTextFile(`${ROOT}examples/minimal.ts`)).trimEnd()}\n\`\`\``,
    "system calls": async () => explain(await systemCalls()),
    "deadlock": async () => {
      const command = "run --allow-net=127.0.0.1 docs/deadlock.ts";
      const printed = await output(Deno.execPath(), ...command.split(" "));
      return `    $ deno ${command}\n${printed.trimEnd().replaceAll(/^/gm, "    ")}`;
    },
    "states": stateTable,
  },
  "bench/README.md": {
    "results": async () => summaryTable(await results()),
    "targets": async () => targetsTable(judge(await results())),
  },
};

/** The results of the benchmark's last full run. */
export async function results(): Promise<Results> {
  return JSON.parse(await Deno.readTextFile(`${ROOT}bench/results.json`));
}

/** The recorded terminals. */
export const IMAGE = `${ROOT}docs/terminal.svg`;

/**
 * Replaces a generated section of a document.
 *
 * @param document The document's text. It has `<!-- generated: NAME -->` and, behind the section, `<!-- end: NAME -->`.
 * @param name The section's name.
 * @param section Its new text.
 */
export function replaceSection(document: string, name: string, section: string): string {
  const [before = "", rest] = document.split(`<!-- generated: ${name} -->\n`);
  const [, after] = rest?.split(`<!-- end: ${name} -->\n`) ?? [];
  if (after === undefined) throw new Error(`the document has no section "${name}"`);
  return `${before}<!-- generated: ${name} -->\n\n${section}\n\n<!-- end: ${name} -->\n${after}`;
}

/** Formats Markdown as `deno fmt` does. */
export async function format(markdown: string): Promise<string> {
  const args = ["fmt", `--config=${ROOT}deno.json`, "--ext=md", "-"];
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "piped", stdout: "piped" }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(markdown));
  await writer.close();
  const { success, stdout } = await child.output();
  if (!success) throw new Error("deno fmt failed, see above");
  return new TextDecoder().decode(stdout);
}

if (import.meta.main) {
  for (const [path, sections] of Object.entries(SECTIONS)) {
    let document = await Deno.readTextFile(ROOT + path);
    for (const [name, generate] of Object.entries(sections)) {
      document = replaceSection(document, name, await generate());
    }
    await Deno.writeTextFile(ROOT + path, await format(document));
  }
  await Deno.writeTextFile(IMAGE, await record());
}
