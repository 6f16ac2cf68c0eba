/**
 * Every block of commands in a document is run: here, by another test that is named here, or by the tests of a machine
 * through `documented()`. A block that is not run has its reason here.
 */

import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { ROOT, run } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";

/** Runs a block; or a file that runs it, and what in that file finds or repeats it; or why it is not run. */
type Handling = ((script: string) => Promise<void>) | [file: string, evidence: string] | string;

const OUTPUT = "it is not a command";
const TRY_IT: Handling = ["tests/docs/readme_test.ts", '"Try it"'];

/** By the document and the beginning of a block; besides these, the tests of a machine run blocks of deploy/README.md. */
const BLOCKS: Record<string, Record<string, Handling>> = {
  "README.md": {
    "git clone": ["tests/docs/readme_test.ts", "(git clone "],
    "npx --yes deno@2.9.6 task start": ["tests/system/as_documented_test.ts", "npx --yes (deno)"],
    "deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts": [
      "tests/system/as_documented_test.ts",
      "(deno run .*)",
    ],
    "deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server jsr:": "it is not published yet",
    "deno task test:file": ["tests/docs/readme_test.ts", "test:file .*$"],
    "$ deno task verify": TRY_IT,
    "printf hello | socat": TRY_IT,
    "python3 -c": TRY_IT,
    "--hostname": OUTPUT,
    "                        echo-server      C": OUTPUT,
    "main.ts ": OUTPUT,
  },
  "CONTRIBUTING.md": {
    "npx --yes deno@2.9.6 task ok": [".ci/run", "npx --yes deno@2.9.6 task ok"],
    "deno task test:file": async (script) => {
      assertEquals((await shell(script)).match(/^ok \| [1-9]\d* passed/gm)?.length, 3);
    },
    "deno task docs": ["tests/docs/generate_test.ts", "Object.entries(SECTIONS)"],
  },
  "bench/README.md": {
    "deno task bench\n": "it needs a quarter of an hour and a quiet machine",
    "deno task bench --quick": async (script) => {
      await shell(lines(script, /--show|--help/)); // the others measure for minutes
      const help = await shell("deno task bench --help");
      for (const [, names = ""] of script.matchAll(/--(?:peers|workloads)="(.*?)"/g)) {
        for (const name of names.split(",")) assertMatch(help, new RegExp(`[:,] +${name}(,|\n|$)`));
      }
    },
    "workloads.ts": OUTPUT,
  },
  "deploy/README.md": {
    "MemoryMax = ": OUTPUT,
    "docker build": "it needs Docker and a registry",
    "kubectl apply": "it needs a cluster",
    "status uptime=": OUTPUT,
    "OTEL_DENO=true": ["tests/system/as_documented_test.ts", "(OTEL_DENO="],
    "deploy/haproxy/rolling_restart.sh": "it needs several machines; the tests of a machine run it without ssh",
    "deno task verify": async (script) => {
      await using server = await Program.start();
      const address = `127.0.0.1:${server.address.port}`;
      assertStringIncludes(await shell(script.replace("proxy.example:4000", address)), `\n${address} passed\n`);
    },
  },
  "docs/limits.md": { "2026-": OUTPUT },
  "tests/simulation/README.md": {
    "deno task simulate": async (script) => {
      const simulated = await shell(lines(script.replace("--seconds=600", "--seconds=1"), /simulate/));
      assertEquals(simulated.match(/^ +no invariant is violated$/gm)?.length, 1);
      // Mutations take minutes: .ci/run tries ten.
      assertStringIncludes(script, "deno task mutations --sample=10");
      assertStringIncludes(read(".ci/run"), "task mutations --sample=10");
    },
  },
};

const missing = canRun ? "" : "permissions are missing";

Deno.test(ignoreIf(missing, "every block of commands in a document has a test that runs it, or a reason"), async () => {
  const inMachine = [...Deno.readDirSync(`${ROOT}tests/deploy/machine`)].flatMap(({ name }) => documentedIn(name));
  for (const document of await markdown()) {
    const handlings = Object.entries(BLOCKS[document] ?? {});
    const begins = handlings.map(([begin]) => begin);
    if (document === "deploy/README.md") begins.push(...new Set(inMachine));
    const scripts = blocks(read(document));
    for (const script of scripts) {
      const count = begins.filter((begin) => script.startsWith(begin)).length;
      assertEquals(count, 1, `${document}: tests/docs/commands_test.ts has to say what runs this:\n${script}`);
    }
    for (const begin of begins) {
      assert(scripts.some((script) => script.startsWith(begin)), `${document} has no block "${begin}"`);
    }
    for (const [, handling] of handlings) {
      if (Array.isArray(handling)) assertStringIncludes(read(handling[0]), handling[1]);
    }
  }
});

for (const [document, handlings] of Object.entries(BLOCKS)) {
  for (const [begin, handling] of Object.entries(handlings)) {
    if (typeof handling !== "function") continue;
    Deno.test(ignoreIf(missing, `the commands of ${document} from "${begin}" on work`), async () => {
      await handling(blocks(read(document)).find((script) => script.startsWith(begin)) ?? "");
    });
  }
}

/** The paths of all documents. */
async function markdown(): Promise<string[]> {
  const found = await run(["find", ".", "-name", "*.md", "-not", "-path", "*/.*", "-printf", "%P\\n"]);
  return found.stdout.trim().split("\n").sort();
}

/** Blocks that are indented, or fenced as a shell's or nobody's, except for what is generated from real runs. */
function blocks(text: string): string[] {
  const written = text.replaceAll(/<!-- generated: [^]*?<!-- end: /g, "");
  const fences = Array.from(written.matchAll(/^```(?:sh|bash|console)?\n([^]*?)^```$/gm), ([, code = ""]) => code);
  const indented = written.split(/\n{2,}/).filter((paragraph) => paragraph.startsWith("    "))
    .map((paragraph) => paragraph.replace(/^ {4}/gm, "").trimEnd() + "\n");
  return [...fences, ...indented];
}

/** What the blocks begin with that a file of the machine's tests runs. */
function documentedIn(file: string): string[] {
  const calls = read(`tests/deploy/machine/${file}`).matchAll(/documented\(("[^"]*")\)/g);
  return Array.from(calls, ([, begins = ""]): string => JSON.parse(begins));
}

function read(path: string): string {
  return Deno.readTextFileSync(ROOT + path);
}

function lines(script: string, pattern: RegExp): string {
  return script.split("\n").filter((line) => pattern.test(line)).join("\n");
}

/** Runs a script in the repository, with this Deno. Returns what it prints to stdout. */
async function shell(script: string): Promise<string> {
  const bin = Deno.execPath().replace(/\/[^/]*$/, "");
  // The shell itself sets PATH: this test may not read the environment.
  const command = ["bash", "-ec", `PATH="$0:$PATH"\n${script}`, bin];
  const { code, stdout, stderr } = await run(command, { env: { NO_COLOR: "1" } });
  assertEquals(code, 0, `${script}\n${stdout}${stderr}`);
  return stdout;
}
