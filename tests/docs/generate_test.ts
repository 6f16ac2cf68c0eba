/** Holds what `deno task docs` generates to the code, the kernel and the benchmark's results. */

import { assertEquals } from "@std/assert";
import { format, IMAGE, replaceSection, results, SECTIONS } from "../../docs/generate.ts";
import { canTrace } from "../../docs/system_calls.ts";
import { canRecord, record } from "../../docs/terminal_session.ts";
import { brief } from "../../bench/report.ts";
import { ROOT, succeeds } from "../support/commands.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";

const missing = canRun ? "" : "permissions are missing";

/** What a section's generator needs. */
const NEEDS: Record<string, string> = {
  "system calls": canTrace() ? "" : "needs strace",
  "states": succeeds("ss", "-V") ? "" : "needs iproute2",
};

for (const [path, sections] of Object.entries(SECTIONS)) {
  for (const [name, generate] of Object.entries(sections)) {
    test(`the section "${name}" of ${path} is what deno task docs generates`, NEEDS[name], async () => {
      const document = await Deno.readTextFile(ROOT + path);
      const generated = await format(replaceSection(document, name, await generate()));
      // What the kernel's buffers hold differs from machine to machine.
      const normalize = (text: string) => text.replaceAll(/^( {4}echo at once:) \d+/gm, "$1 N");
      assertEquals(normalize(generated), normalize(document));
    });
  }
}

test("docs/terminal.svg is what deno task docs records", canRecord() ? "" : "needs namespaces, socat, nc", async () => {
  assertEquals(await record(), await Deno.readTextFile(IMAGE));
});

test("README's figures are those of the benchmark's last run", "", async () => {
  const { figures, floods = {} } = await results();
  const of = (value: (server: string) => number | undefined) =>
    ["echo-server", "C epoll", "Go", "Node"].map((server) => brief(value(server)));
  const rows = {
    "64 B: CPU, µs": of((server) => figures["64 B x 64"]?.[server]?.cpuPerClient),
    "4 MB: CPU, µs": of((server) => figures["4 MB x 16"]?.[server]?.cpuPerClient),
    "1,000 clients: p99, ms": of((server) => figures["64 B x 1000"]?.[server]?.p99),
    "beside a flood: p99, ms": of((server) => floods["flood 1000 x 1000 B"]?.[server]?.p99),
    "idle client, KiB": of((server) => (figures["10000 idle"]?.[server]?.perIdleClient ?? NaN) / 1024),
  };
  const readme = await Deno.readTextFile(`${ROOT}README.md`);
  for (const [title, expected] of Object.entries(rows)) {
    const row = readme.split("\n").find((line) => line.startsWith(`    ${title} `));
    assertEquals(row?.slice(title.length + 4).trim().split(/ +/), expected, title);
  }
});

function test(name: string, needs: string | undefined, fn: () => Promise<void>): void {
  Deno.test(ignoreIf(missing || needs || "", name), fn);
}
