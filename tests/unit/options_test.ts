import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import { DEFAULTS, HELP, LOG_FORMATS, LOG_LEVELS, type Options, parseOptions, WrongUsage } from "../../lib/options.ts";

/** The options of each flag that takes a value, and how a value is written on the command line. */
const FLAGS: Record<string, keyof Options> = {
  "--hostname": "hostname",
  "--port": "port",
  "--access-log": "accessLog",
  "--max-clients": "maxClients",
  "--max-message": "maxMessage",
  "--max-buffered": "maxBuffered",
  "--idle-timeout": "idleTimeout",
  "--drain-timeout": "drainTimeout",
  "--log-level": "logLevel",
  "--log-format": "logFormat",
};

/** The flags that take no value. */
const SWITCHES = ["--reuse-port", "--help", "--version"];

/** Parses what is wrong. Returns the message, having checked that it is one line. */
async function wrong(...args: string[]): Promise<string> {
  const error = await assertRejects(() => parseOptions(args), WrongUsage, "", args.join(" "));
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

Deno.test("parseOptions() gives the defaults of the contract for an empty command line", async () => {
  assertEquals(await parseOptions([]), {
    hostname: "0.0.0.0",
    port: 4000,
    reusePort: false,
    accessLog: "/var/log/echo-server/access.log",
    maxClients: 10_000,
    maxMessage: 1024 ** 3,
    maxBuffered: 2 * 1024 ** 3,
    idleTimeout: 60,
    drainTimeout: 10,
    logLevel: "info",
    logFormat: "text",
  });
});

Deno.test("parseOptions() gives the defaults anew each time", async () => {
  const options = await parseOptions([]);
  if (typeof options === "string") throw new Error(options);
  options.port = 1;
  assertEquals(await parseOptions([]), DEFAULTS);
});

/** Right values of each flag, those at the ends of its range among them. */
const RIGHT: [flag: string, value: string, option: Options[keyof Options]][] = [
  ["--hostname", "127.0.0.1", "127.0.0.1"],
  ["--hostname", "::1", "::1"],
  ["--hostname", "localhost", "localhost"],
  ["--port", "0", 0],
  ["--port", "1", 1],
  ["--port", "65535", 65_535],
  ["--port", "0080", 80],
  ["--access-log", "access.log", "access.log"],
  ["--access-log", "/a folder/ä=b.log", "/a folder/ä=b.log"],
  ["--max-clients", "1", 1],
  ["--max-clients", "9007199254740991", Number.MAX_SAFE_INTEGER],
  ["--max-message", "0", 0],
  ["--max-message", "1", 1],
  ["--max-message", "4k", 4096],
  ["--max-message", "4K", 4096],
  ["--max-message", "3m", 3 * 1024 ** 2],
  ["--max-message", "3M", 3 * 1024 ** 2],
  ["--max-buffered", "5g", 5 * 1024 ** 3],
  ["--max-buffered", "5G", 5 * 1024 ** 3],
  ["--max-buffered", "9007199254740991", Number.MAX_SAFE_INTEGER],
  ["--max-buffered", "8388607G", 8_388_607 * 1024 ** 3],
  ["--idle-timeout", "0", 0],
  ["--idle-timeout", "0.25", 0.25],
  ["--idle-timeout", "2147483", 2_147_483],
  ["--drain-timeout", "0", 0],
  ["--drain-timeout", "1.5", 1.5],
  ...LOG_LEVELS.map((level): [string, string, string] => ["--log-level", level, level]),
  ...LOG_FORMATS.map((format): [string, string, string] => ["--log-format", format, format]),
];

for (const [flag, key] of Object.entries(FLAGS)) {
  Deno.test(`parseOptions() takes ${flag} with any right value, after a space too, and leaves the rest alone`, async () => {
    for (const [, value, option] of RIGHT.filter(([of]) => of === flag)) {
      for (const args of [[`${flag}=${value}`], [flag, value]]) {
        assertEquals(await parseOptions(args), { ...DEFAULTS, [key]: option });
      }
    }
  });
}

/** Wrong values of each flag, and what the message says would be right. */
const WRONG: [flag: string, values: string[], right: string][] = [
  ["--hostname", [], "an address"],
  ["--access-log", [], "a path"],
  ["--port", ["65536", "-1", "4000.5", "1e3", "0x50", "http", " 80", "80 ", "4_000", "+80", "٣"], "from 0 to 65535"],
  ["--max-clients", ["0", "-1", "1.5", "9007199254740992", "1K", "many"], "a whole number from 1 up"],
  ["--max-message", ["-1", "1.5M", "M", "1T", "1MB", "1 M", "9007199254740992", "8388608G", "all"], "64K, 1M or 2G"],
  ["--max-buffered", ["-1", "1KK", "1e9", "Infinity", "NaN"], "a number of bytes"],
  ["--idle-timeout", ["-1", ".5", "1.", "1s", "1e3", "2147484", "2147483.5", "Infinity"], "seconds from 0 to 2147483"],
  ["--drain-timeout", ["-0.5", "1,5", "ten", "0x10"], "such as 60 or 0.5"],
  ["--log-level", ["INFO", "warn", "trace", "fatal", "toString"], "one of debug, info, warning, error"],
  ["--log-format", ["JSON", "xml", "length"], "one of text, json, journal"],
];

for (const [flag, values, right] of WRONG) {
  Deno.test(`parseOptions() names ${flag}, its wrong value and what would be right`, async () => {
    for (const value of values) {
      const message = await wrong(`${flag}=${value}`);
      assertStringIncludes(message, `${flag} takes `);
      assertStringIncludes(message, right);
      assert(message.endsWith(`, not "${value}"`), message);
    }
    for (const args of [[flag], [`${flag}=`], [flag, ""], ["--port=1", flag]]) {
      const message = await wrong(...args);
      assertStringIncludes(message, `${flag} takes `);
      assertStringIncludes(message, right);
      assert(message.endsWith(", but none is given"), message);
    }
  });
}

Deno.test("the tables of right and wrong values leave no flag out", () => {
  const all = Object.keys(FLAGS).sort();
  assertEquals([...new Set(RIGHT.map(([flag]) => flag))].sort(), all);
  assertEquals(WRONG.map(([flag]) => flag).sort(), all);
  assertEquals([...Object.values(FLAGS), "reusePort"].sort(), Object.keys(DEFAULTS).sort());
});

Deno.test("parseOptions() takes the last of a flag that is repeated, and checks the others too", async () => {
  assertEquals(await parseOptions(["--port=1", "--hostname=::1", "--port", "2"]), {
    ...DEFAULTS,
    hostname: "::1",
    port: 2,
  });
  assertStringIncludes(await wrong("--port=x", "--port=2"), '--port takes a whole number from 0 to 65535, not "x"');
});

Deno.test("parseOptions() names an unknown flag and those that there are", async () => {
  for (const flag of ["--prot", "--no-port", "--maxClients", "--PORT", "-p", "-h", "--constructor", "--__proto__"]) {
    const message = await wrong(flag);
    assertStringIncludes(message, `unknown flag ${flag}: there are --hostname, --port, `);
    for (const known of [...Object.keys(FLAGS), ...SWITCHES]) assertStringIncludes(message, known);
  }
  assertStringIncludes(await wrong("--prot=4000"), "unknown flag --prot:");
  assertStringIncludes(await wrong("-p4000"), "unknown flag -p:");
});

Deno.test("parseOptions() names an argument that is no flag", async () => {
  for (const args of [["4000"], ["--port=1", "4000"], ["--", "4000"], ["--port=1", "--", "4000"]]) {
    assertEquals(await wrong(...args), 'unexpected argument "4000": only flags are taken');
  }
  assertStringIncludes(await wrong("--", "--port=1"), '"--port=1"');
  assertStringIncludes(await wrong("-"), '"-"');
});

Deno.test("parseOptions() takes -- for the end of the flags", async () => {
  assertEquals(await parseOptions(["--port=1", "--"]), { ...DEFAULTS, port: 1 });
});

Deno.test("parseOptions() answers --help and --version, also among other flags", async () => {
  for (const [flag, answer] of [["--help", "help"], ["--version", "version"]] as const) {
    assertEquals(await parseOptions([flag]), answer);
    assertEquals(await parseOptions(["--port=1", flag, "--log-level=error"]), answer);
    assertEquals(await wrong(`${flag}=yes`), `${flag} takes no value, not "yes"`);
  }
  assertEquals(await parseOptions(["--help", "--version"]), "help");
  assertEquals(await parseOptions(["--version", "--help"]), "version");
  assertEquals(await parseOptions(["--help", "--port=wrong", "what"]), "help", "who asks for help gets it");
});

Deno.test("parseOptions() takes --reuse-port, which has no value", async () => {
  assertEquals(await parseOptions(["--reuse-port"]), { ...DEFAULTS, reusePort: true });
  assertEquals(await parseOptions(["--reuse-port", "--port=1"]), { ...DEFAULTS, reusePort: true, port: 1 });
  for (const value of ["", "true", "false"]) {
    assertEquals(await wrong(`--reuse-port=${value}`), `--reuse-port takes no value, not "${value}"`);
  }
  assertEquals(await wrong("--reuse-port", "no"), 'unexpected argument "no": only flags are taken');
});

Deno.test("parseOptions() takes any size of whole bytes", async () => {
  const units = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };
  const unit = fc.constantFrom(...Object.entries(units));
  await fc.assert(fc.asyncProperty(fc.nat(8_388_607), unit, fc.boolean(), async (count, [letter, bytes], small) => {
    const options = await parseOptions([`--max-message=${count}${small ? letter.toLowerCase() : letter}`]);
    assertEquals(options, { ...DEFAULTS, maxMessage: count * bytes });
  }));
});

Deno.test("parseOptions() throws WrongUsage or answers, whatever it is given", async () => {
  const known = fc.constantFrom(...Object.keys(FLAGS), ...SWITCHES, "--", "-", "=");
  const argument = fc.oneof(
    fc.string(),
    known,
    fc.tuple(known, fc.string()).map(([flag, value]) => `${flag}=${value}`),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(argument, { maxLength: 5 }), async (args) => {
      try {
        const options = await parseOptions(args);
        if (typeof options === "string") assert(["help", "version"].includes(options));
        else assertEquals(Object.keys(options).sort(), Object.keys(DEFAULTS).sort());
      } catch (error) {
        assertInstanceOf(error, WrongUsage);
      }
    }),
    { numRuns: 500 },
  );
});

/** Each flag that the help names, its default, and its line. */
function helpLines(): Map<string, { line: string; byDefault: string | undefined }> {
  const lines = HELP.split("\n").filter((line) => line.startsWith("  --"));
  return new Map(lines.map((line) => [
    /--[a-z-]+/.exec(line)?.[0] ?? "",
    { line, byDefault: /\(([^()]+)\)$/.exec(line)?.[1] },
  ]));
}

Deno.test("HELP names every flag, and no other", () => {
  assertEquals([...helpLines().keys()], [...Object.keys(FLAGS), ...SWITCHES]);
});

Deno.test("HELP names every default, as it is written on the command line", async () => {
  for (const flag of Object.keys(FLAGS)) {
    const { byDefault } = helpLines().get(flag) ?? {};
    if (byDefault === undefined) throw new Error(`HELP names no default of ${flag}`);
    // Another value stands before it, so that it is the help's that is seen.
    const other = RIGHT.findLast(([of]) => of === flag)?.[1];
    assertNotEquals(await parseOptions([`${flag}=${other}`]), DEFAULTS);
    assertEquals(await parseOptions([`${flag}=${other}`, `${flag}=${byDefault}`]), DEFAULTS, flag);
  }
});

Deno.test("HELP names every level and format, and the permissions of the defaults", () => {
  for (const level of LOG_LEVELS) assertStringIncludes(helpLines().get("--log-level")?.line ?? "", level);
  for (const format of LOG_FORMATS) assertStringIncludes(helpLines().get("--log-format")?.line ?? "", format);
  const folder = DEFAULTS.accessLog.slice(0, DEFAULTS.accessLog.lastIndexOf("/"));
  assertStringIncludes(HELP, `--allow-net=${DEFAULTS.hostname}:${DEFAULTS.port} --allow-write=${folder} main.ts`);
});

Deno.test("HELP ends in one newline and fits a terminal of 100 columns", () => {
  assert(HELP.endsWith("\n") && !HELP.endsWith("\n\n"));
  for (const line of HELP.split("\n")) assert(line.length <= 100, line);
});
