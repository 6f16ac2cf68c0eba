/**
 * Makes `dist/echo-server`: the program, Deno and the two permissions in one file. Run by `deno task compile`.
 *
 * @module
 */

const ENTRY = "dist/main.ts";
const ARTIFACT = "dist/echo-server";

function run(command: string, args: string[]): { success: boolean; stdout: string; stderr: string } {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  const decoder = new TextDecoder();
  return { success, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/** The commit that is compiled, as `--version` names it. */
function commit(): string {
  try {
    const { success, stdout } = run("git", ["describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]);
    if (success) return `commit ${stdout.trim()}`;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return "commit unknown";
}

/** The text of the module that is compiled. The commit is part of it, since the program may not read the repository. */
export function entry(): string {
  return `import { main } from "../main.ts";\n\nDeno.exitCode = await main(Deno.args, ${JSON.stringify(commit())});\n`;
}

function compile(): number {
  if (Deno.args.length > 0) {
    console.error(`deno task compile takes no arguments, current value is "${Deno.args.join(" ")}"`);
    return 2;
  }
  Deno.mkdirSync("dist", { recursive: true });
  Deno.writeTextFileSync(ENTRY, entry());
  const { success, stderr } = run(Deno.execPath(), [
    "compile",
    "--quiet",
    "--no-prompt",
    "--exclude-unused-npm",
    "--allow-net=0.0.0.0:4000",
    "--allow-write=/var/log/echo-server",
    `--output=${ARTIFACT}`,
    ENTRY,
  ]);
  Deno.removeSync(ENTRY);
  if (success) {
    console.log(`made ${ARTIFACT}`);
    return 0;
  }
  const missing = `cannot compile: denort of Deno ${Deno.version.deno} cannot be downloaded from here; ` +
    "download it elsewhere and set DENORT_BIN to its path";
  console.error(/denort|base binary/.test(stderr) ? missing : stderr);
  return 1;
}

if (import.meta.main) Deno.exitCode = compile();
