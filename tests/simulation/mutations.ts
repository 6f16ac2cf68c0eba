/**
 * Mutation testing: changes the server in a copy, one mutation at a time. The simulation must find a violation, or else a
 * unit test must fail.
 *
 * @module
 */

import { parseArgs } from "node:util";

/** Each mutation: a line that says what it does, and a patch. */
const MUTATIONS = new URL("mutations/", import.meta.url);

/** The table of a complete run. */
const TABLE = new URL("README.md", MUTATIONS);

const ROOT = new URL("../../", import.meta.url);

/** What of the tree is copied. */
const COPIED = ["deno.json", "deno.lock", "main.ts", "lib", "verify", "tests"];

const SIMULATE = ["run", "--no-prompt", "--no-check", "--allow-read", "tests/simulation/simulate.ts", "--no-shrink"];
const PERMISSIONS = ["--allow-net", "--allow-read", "--allow-write", "--allow-run"];
const UNIT_TESTS = ["tests/unit", "tests/simulation/main_test.ts"];
const OTHER_TESTS = "--ignore=tests/unit/verify"; // of what no mutation changes
const TEST_UNITS = [
  "test",
  "--no-prompt",
  "--no-check",
  "--parallel",
  "--fail-fast",
  OTHER_TESTS,
  ...PERMISSIONS,
  ...UNIT_TESTS,
];

/** The first seed of each search, how many traces it may take before the unit tests are run, and how many after them. */
const SEED = 1;
const FEW_TRACES = 1000;
const MANY_TRACES = 20_000;

/** Milliseconds after which unit tests count as failed. (Measured: 3 s for all of them.) */
const UNIT_TIMEOUT_MS = 120_000;

/** What has found a mutation, and as what. */
interface Outcome {
  /** A trace or a unit test; `undefined` if nothing has found it. */
  by?: string;
  as: string;
}

async function run(command: string, args: string[], cwd: string, timeout?: number) {
  const signal = timeout === undefined ? {} : { signal: AbortSignal.timeout(timeout) };
  const options = { args, cwd, env: { NO_COLOR: "1" }, ...signal };
  const { code, stdout, stderr } = await new Deno.Command(command, options).output();
  const decoder = new TextDecoder();
  return { code, out: decoder.decode(stdout), err: decoder.decode(stderr).trim() };
}

async function simulate(copy: string, traces: number): Promise<Outcome> {
  const args = [...SIMULATE, `--seed=${SEED}`, `--traces=${traces}`];
  const { code, out, err } = await run(Deno.execPath(), args, copy);
  const [, after, as = ""] = /^VIOLATION in trace (\d+) \(.*?\): (.*)$/m.exec(out) ?? [];
  if (after !== undefined) return { by: `trace ${after}`, as };
  return { as: code === 0 ? "NOT FOUND" : `THE SIMULATION FAILS: ${err.split("\n")[0]}` };
}

async function testUnits(copy: string): Promise<Outcome> {
  const { code, out } = await run(Deno.execPath(), TEST_UNITS, copy, UNIT_TIMEOUT_MS);
  if (code === 0) return { as: "NOT FOUND" };
  const [, test = "the unit tests do not end, or an error is uncaught"] =
    /^(?:\S+ => )?(.*) \.\.\. .*FAILED/m.exec(out) ?? [];
  return { by: "unit test", as: test };
}

/** Looks for a mutation in a copy of the server; without one both the simulation and the unit tests must find nothing. */
async function find(patch?: string): Promise<Outcome> {
  const copy = await Deno.makeTempDir({ prefix: "echo-mutation-" });
  try {
    await run("cp", ["-r", ...COPIED.map((path) => new URL(path, ROOT).pathname), copy], "/");
    if (patch !== undefined) {
      const { code, err } = await run("git", ["apply", "-C1", patch], copy); // other changes nearby do no harm
      if (code !== 0) return { as: `THE PATCH DOES NOT APPLY: ${err.split("\n")[0]}` };
    }
    let outcome = await simulate(copy, FEW_TRACES);
    if (outcome.as === "NOT FOUND") outcome = await testUnits(copy);
    if (outcome.as === "NOT FOUND" && patch !== undefined) outcome = await simulate(copy, MANY_TRACES);
    return outcome;
  } finally {
    await Deno.remove(copy, { recursive: true });
  }
}

/** Formats a table as `deno fmt` does. */
function formatTable(rows: string[][]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  const line = (row: string[], fill = " ") =>
    `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0, fill)).join(" | ")} |\n`;
  const [head = [], ...body] = rows;
  return line(head) + line(head.map(() => ""), "-") + body.map((row) => line(row)).join("");
}

/** Draws so many names. The same seed draws the same. */
async function draw(names: string[], count: number, seed: string): Promise<string[]> {
  const keys = await Promise.all(names.map(async (name) => {
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${seed} ${name}`));
    return { name, key: new DataView(hash).getUint32(0) };
  }));
  return keys.sort((a, b) => a.key - b.key).slice(0, count).map(({ name }) => name);
}

/** Tries the mutations with some names, or a sample, or all. Returns the exit status: 0 if each was found. */
async function main(names: string[], sample?: string, seed: string = `${Date.now()}`): Promise<number> {
  const all = Array.from(Deno.readDirSync(MUTATIONS), ({ name }) => name).filter((name) => name.endsWith(".patch"))
    .map((name) => name.slice(0, -".patch".length)).sort();
  const isAll = names.length === 0 && sample === undefined;
  const chosen = sample !== undefined
    ? await draw(all, Number(sample), seed)
    : all.filter((name) => isAll || names.includes(name));
  if (chosen.length < names.length || chosen.length === 0) {
    console.error(`usage: deno task mutations [--sample=N [--seed=N]] [NAME...], where a name is that of a patch`);
    return 2;
  }
  if (sample !== undefined) console.log(`mutations --sample=${sample} --seed=${seed}: ${chosen.join(", ")}`);
  const { by, as } = await find();
  if (by !== undefined || as !== "NOT FOUND") {
    console.error(`the unchanged server fails: ${as}`);
    return 1;
  }
  const rows = [["mutation", "found by", "as"]];
  const failed: string[] = [];
  for (const name of chosen) {
    const patch = new URL(`${name}.patch`, MUTATIONS);
    const [what = ""] = (await Deno.readTextFile(patch)).split("\n");
    const { by, as } = await find(patch.pathname);
    console.log(`${name}: ${by === undefined ? as : `found by ${by}: ${as}`}`);
    rows.push([what, by ?? "", as.replaceAll("|", "\\|")]);
    if (by === undefined) failed.push(name);
  }
  console.log(
    `${chosen.length - failed.length} of ${chosen.length} found${failed.map((name) => `, not ${name}`).join("")}`,
  );
  if (failed.length > 0) return 1;
  if (isAll) {
    const traces = rows.flatMap(([, by]) => by?.startsWith("trace ") ? [Number(by.slice("trace ".length))] : []);
    const units = chosen.length - traces.length;
    const found = `All ${chosen.length} are found: ${traces.length} by the simulation, within ` +
      `${Math.max(...traces)} traces, and ${units} by a unit test.`;
    const text = `# Mutations

Each row is a patch in this folder: one defect in the server. \`deno task mutations\` generates this page when all are
found. Traces are counted from \`--seed=${SEED}\`.

${found}

${formatTable(rows)}`;
    await Deno.writeTextFile(TABLE, text);
  }
  return 0;
}

const { values: { sample, seed }, positionals } = parseArgs({
  options: { sample: { type: "string" }, seed: { type: "string" } },
  allowPositionals: true,
});
Deno.exitCode = await main(positionals, sample, seed);
