/**
 * Mutation testing: changes the server in a copy, one mutation at a time, and has the simulation look for a violation.
 *
 * @module
 */

/** Each mutation: a line that says what it does, and a patch. */
const MUTATIONS = new URL("mutations/", import.meta.url);

/** The table of a complete run. */
const TABLE = new URL("README.md", MUTATIONS);

const ROOT = new URL("../../", import.meta.url);

/** What of the tree is copied. */
const COPIED = ["deno.json", "deno.lock", "lib", "tests"];

/** The first seed of each search, and how many traces it may take: enough for the mutation that is hardest to find. */
const SEED = 1;
const TRACES = 20_000;

/** What came of a search. */
interface Outcome {
  /** Traces up to the first violation; `undefined` if there was none. */
  after?: string;
  violation: string;
}

async function run(command: string, args: string[], cwd: string): Promise<{ code: number; out: string; err: string }> {
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd }).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr).trim() };
}

/** Simulates a copy of the server that has a patch applied; the unchanged server without one. */
async function simulate(patch?: string): Promise<Outcome> {
  const copy = await Deno.makeTempDir({ prefix: "echo-mutation-" });
  try {
    await run("cp", ["-r", ...COPIED.map((path) => new URL(path, ROOT).pathname), copy], "/");
    if (patch !== undefined) {
      const { code, err } = await run("git", ["apply", "-C1", patch], copy); // other changes nearby do no harm
      if (code !== 0) return { violation: `THE PATCH DOES NOT APPLY: ${err.split("\n")[0]}` };
    }
    const flags = ["--no-shrink", `--seed=${SEED}`, `--traces=${TRACES}`];
    const args = ["run", "--no-prompt", "--no-check", "--allow-read", "tests/simulation/simulate.ts", ...flags];
    const { code, out, err } = await run(Deno.execPath(), args, copy);
    const [, after, violation = ""] = /^VIOLATION in trace (\d+) \(.*?\): (.*)$/m.exec(out) ?? [];
    if (after !== undefined) return { after, violation };
    return { violation: code === 0 ? "NOT FOUND" : `THE SIMULATION FAILS: ${err.split("\n")[0]}` };
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

/** Formats a table as `deno fmt` does. */
function formatTable(rows: string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const pad = (cell: string, column: number) =>
    column === 1 ? cell.padStart(widths[1] ?? 0) : cell.padEnd(widths[column] ?? 0);
  const [head, ...body] = rows.map((row) => `| ${row.map(pad).join(" | ")} |\n`);
  const rule = widths.map((width, column) => column === 1 ? `${"-".repeat(width - 1)}:` : "-".repeat(width));
  return `${head}| ${rule.join(" | ")} |\n${body.join("")}`;
}

/** Tries the mutations with some names, or all. Returns the exit status: 0 if each was found. */
async function main(names: string[]): Promise<number> {
  const all = Array.from(Deno.readDirSync(MUTATIONS), ({ name }) => name).filter((name) => name.endsWith(".patch"));
  const chosen = all.filter((name) => names.length === 0 || names.includes(name.slice(0, -".patch".length))).sort();
  if (chosen.length < names.length || chosen.length === 0) {
    console.error(`usage: deno task mutations [NAME...], where a name is that of a patch without ".patch"`);
    return 2;
  }
  const unchanged = await simulate();
  if (unchanged.violation !== "NOT FOUND") {
    console.error(`the unchanged server fails: ${unchanged.violation}`);
    return 1;
  }
  const rows = [["mutation", "found in trace", "as"]];
  const failed: string[] = [];
  for (const name of chosen) {
    const patch = new URL(name, MUTATIONS);
    const [what = ""] = (await Deno.readTextFile(patch)).split("\n");
    const { after, violation } = await simulate(patch.pathname);
    console.log(`${name}: ${after === undefined ? violation : `found in trace ${after}: ${violation}`}`);
    rows.push([what, after ?? "", violation.replaceAll("|", "\\|")]);
    if (after === undefined) failed.push(name);
  }
  console.log(
    `${chosen.length - failed.length} of ${chosen.length} found${failed.map((name) => `, not ${name}`).join("")}`,
  );
  if (failed.length > 0) return 1;
  if (names.length === 0) {
    const hardest = Math.max(...rows.slice(1).map(([, after]) => Number(after)));
    const text = `# Mutations

Each row is a patch of this folder. \`deno task mutations\` writes the table when all are found, with \`--seed=${SEED}\`.

All ${chosen.length} are found; the one that is hardest to find takes ${hardest} traces.

${formatTable(rows)}`;
    await Deno.writeTextFile(TABLE, text);
  }
  return 0;
}

Deno.exitCode = await main(Deno.args);
