/** Holds the documents to the code. */

import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { DEFAULTS, HELP } from "../../lib/options.ts";
import { hasPermissions, ignoreIf } from "../support/permissions.ts";

const missing = hasPermissions({ name: "read" }) ? "" : "permissions are missing";
const read = (path: string) => Deno.readTextFileSync(new URL(`../../${path}`, import.meta.url));
const README = missing === "" ? read("README.md") : "";

/** The text of a section. */
function section(heading: string): string {
  const [, rest = ""] = README.split(`\n## ${heading}\n`);
  return rest.split("\n## ")[0] ?? "";
}

Deno.test(ignoreIf(missing, "README has at most 1,200 words"), () => {
  assert(README.split(/\s+/).filter((word) => word !== "").length <= 1200);
});

Deno.test(
  ignoreIf(missing, "the repository and the package have one name in README, deno.json and Kubernetes' manifest"),
  () => {
    const [, repository = ""] = /^\[ci\]: https:\/\/github\.com\/([\w-]+\/[\w-]+)\//m.exec(README) ?? [];
    const used = README.matchAll(/github(?:\.com|\/license|\/v\/release)\/([\w-]+\/[\w-]+)/g);
    const [image] = /ghcr\.io\/[\w-]+\/[\w-]+/.exec(read("deploy/kubernetes/echo-server.yaml")) ?? [];
    assertEquals(new Set(Array.from(used, ([, name]) => name)), new Set([repository]));
    assertEquals(image, `ghcr.io/${repository}`);
    const packages = README.matchAll(/jsr(?:\.io\/badges\/|\.io\/|:)(@\w+\/\w+)/g);
    assertEquals(new Set(Array.from(packages, ([, name]) => name)), new Set([config.name]));
  },
);

Deno.test(ignoreIf(missing, "README's flags are those that --help prints, with their defaults"), () => {
  const documented = section("Flags").matchAll(/^ {4}(--[\w-]+) {2,}(?:(\S+) {2,})?\S/gm);
  const flags = HELP.matchAll(/^ {2}(--(?!help|version)[\w-]+)(=\w+)? +.*?(?: \((\S+)\))?$/gm);
  assertEquals(
    Array.from(documented, ([, flag, value = ""]) => [flag, value]),
    Array.from(flags, ([, flag, takes, value = ""]) => [flag, takes ? value : ""]),
  );
  assertStringIncludes(README, `--allow-net=${DEFAULTS.hostname}:${DEFAULTS.port} --allow-write=`);
});

Deno.test(ignoreIf(missing, "README's signals are those that main.ts listens for"), () => {
  const items = section("Signals").matchAll(/^- (.*?):/gm);
  const documented = Array.from(items, ([, signals = ""]) => signals.replaceAll("`", "").split(", ")).flat();
  const listened = read("main.ts").matchAll(/\b(SIG[A-Z0-9]+): /g);
  assertEquals(documented.toSorted(), Array.from(listened, ([, signal = ""]) => signal).toSorted());
});

Deno.test(ignoreIf(missing, "docs/limits.md tells every limit, its default and the reason of who breaks it"), () => {
  const limits = read("docs/limits.md");
  for (const name of ["max-clients", "max-message", "max-buffered", "idle-timeout", "drain-timeout"]) {
    const [, value] = new RegExp(`--${name}=.*\\((\\S+)\\)$`, "m").exec(HELP) ?? [];
    assertStringIncludes(limits, `**\`--${name} ${value}\`**`);
  }
  for (const reason of ["message", "buffers", "idle", "drain"]) assertStringIncludes(limits, `: \`${reason}\`.`);
});

Deno.test(ignoreIf(missing, "the metrics' reasons in deploy/README.md are those of the code"), () => {
  const [, union = ""] = /export type DropReason = ([^;]+);/.exec(read("lib/client.ts")) ?? [];
  const reasons = [...union.matchAll(/"(\w+)"/g)].map(([, reason]) => `\`${reason}\``);
  assertEquals(reasons.length, 6);
  const row = read("deploy/README.md").split("\n").find((line) => line.startsWith("| `echo_server.dropped`")) ?? "";
  for (const reason of [...reasons, "`before_accept`"]) assertStringIncludes(row, reason);
});

Deno.test(ignoreIf(missing, "README's map of the code has every file, and each imports from further down only"), () => {
  const map = README.matchAll(/^ {4}(main\.ts|lib\/\w+\.ts) {2,}\S/gm);
  const files = Array.from(map, ([, file = ""]) => file);
  const lib = Array.from(Deno.readDirSync(new URL("../../lib", import.meta.url)), ({ name }) => `lib/${name}`);
  assertEquals(files.toSorted(), [...lib, "main.ts"].toSorted());
  for (const [i, file] of files.entries()) {
    for (const [, imported] of read(file).matchAll(/^(?:import|export|\}) [^;]*from "(?:\.\/lib|\.)\/(\w+\.ts)";/gm)) {
      const at = files.indexOf(`lib/${imported}`);
      assert(at > i, `${file} imports lib/${imported}, which is not below it`);
    }
  }
});

Deno.test(ignoreIf(missing, "ARCHITECTURE.md names files that there are, and what is in them"), () => {
  const text = read("ARCHITECTURE.md");
  for (const [, path = ""] of text.matchAll(/`((?:lib|tests)\/[a-z_/]+(?:\.ts)?)`/g)) {
    const { isFile, isDirectory } = Deno.statSync(new URL(`../../${path}`, import.meta.url));
    assert(isFile || isDirectory, path);
  }
  const names = Array.from(text.matchAll(/`(#?\w+)(?:\(\))?` in `((?:lib|main)[a-z_/]*\.ts)`/g));
  assertEquals(names.length, 6);
  for (const [, name = "", path = ""] of names) assertStringIncludes(read(path), name);
});

Deno.test(ignoreIf(missing, "tests/simulation/mutations/README.md has a row for each patch, and no others"), () => {
  const folder = "tests/simulation/mutations";
  const patches = Array.from(Deno.readDirSync(new URL(`../../${folder}`, import.meta.url)), ({ name }) => name)
    .filter((name) => name.endsWith(".patch"));
  const mutations = patches.map((name) => read(`${folder}/${name}`).split("\n")[0]);
  const rows = read(`${folder}/README.md`).matchAll(/^\| (.*?) +\| (?:trace \d|unit test)/gm);
  assertEquals(Array.from(rows, ([, mutation]) => mutation).toSorted(), mutations.toSorted());
});

Deno.test(ignoreIf(missing, "the documents' links lead to files"), () => {
  for (
    const document of [
      "README.md",
      "ARCHITECTURE.md",
      "CONTRIBUTING.md",
      "SECURITY.md",
      "docs/limits.md",
      "docs/sockets.md",
      "deploy/README.md",
      "bench/README.md",
      "tests/simulation/README.md",
    ]
  ) {
    for (const [, link = ""] of read(document).matchAll(/\]\((?!https?:)([^)#]+)[^)]*\)/g)) {
      const url = new URL(link, new URL(`../../${document}`, import.meta.url));
      assert(Deno.statSync(url).isFile || Deno.statSync(url).isDirectory, `${document}: ${link}`);
    }
  }
});
