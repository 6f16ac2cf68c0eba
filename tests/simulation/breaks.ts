/**
 * Breaks the server on purpose, in a copy, to see that the simulation finds out.
 *
 * @module
 */

/** Where the ways to break it are: a line that tells what, then a patch. */
const BREAKS = new URL("breaks/", import.meta.url);

/** The tree. */
const ROOT = new URL("../../", import.meta.url);

/** What of the tree is copied. */
const COPIED = ["deno.json", "deno.lock", "main.ts", "lib", "tests"];

/** Thrown when a break cannot be tried. The message is one line that says why. */
export class CannotBreak extends Error {
  /** Tells it from other errors. */
  override readonly name = "CannotBreak";
}

/** Runs a command that may end with one of some statuses. Returns what it prints. */
async function run(command: string, args: string[], cwd: string, statuses = [0]): Promise<string> {
  try {
    const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
    const decoder = new TextDecoder();
    if (statuses.includes(code)) return decoder.decode(stdout);
    throw new Error(decoder.decode(stderr).trim().split("\n").at(-1));
  } catch (error) {
    throw new CannotBreak(`${command} ${args[0]}: ${error instanceof Error ? error.message : error}`);
  }
}

/** Applies one and searches. Returns its row of the table. */
async function tryBreak(name: string, seed: number, histories: number): Promise<{ row: string; found: boolean }> {
  const patch = new URL(name, BREAKS).pathname;
  const [what = ""] = (await Deno.readTextFile(patch)).split("\n");
  const copy = await Deno.makeTempDir({ prefix: "echo-break-" });
  try {
    await run("cp", ["-r", ...COPIED.map((path) => new URL(path, ROOT).pathname), copy], "/");
    await run("git", ["apply", "-C1", patch], copy); // one line about a change is enough to find its place
    const out = await run("deno", ["task", "simulate", `--seed=${seed}`, `--histories=${histories}`], copy, [0, 1]);
    const [, after, how] = /^BROKEN in history (\d+) \(.*?\): (.*)$/m.exec(out) ?? [];
    return { row: `| ${what} | ${after ?? "not found"} | ${how ?? ""} |`, found: after !== undefined };
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

/**
 * Tries every way to break it, and prints a table.
 *
 * @param seed The first seed of each search.
 * @param histories Histories in which each must be found.
 * @returns The exit status: 1 if one was not found.
 */
export async function tryBreaks(seed: number, histories: number): Promise<number> {
  const names = [...Deno.readDirSync(BREAKS)].map(({ name }) => name).filter((name) => name.endsWith(".patch")).sort();
  console.log("| break | found in history | as |\n|---|---:|---|");
  let found = 0;
  for (const name of names) {
    const outcome = await tryBreak(name, seed, histories);
    if (outcome.found) found++;
    console.log(outcome.row);
  }
  console.log(`\n${found} of ${names.length} found, with --seed=${seed}`);
  return found === names.length ? 0 : 1;
}
