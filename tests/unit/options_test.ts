import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertNotEquals,
  assertRejects,
  assertStringIncludes,
} from "@std/assert";
import fc from "fast-check";
import { LOG_FORMATS, LOG_LEVELS } from "../../lib/logger.ts";
import { DEFAULTS, HELP, type Options, parseOptions, UsageError } from "../../lib/options.ts";

/** The option that each flag with a value sets. */
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

/** Parses a wrong command line. Returns the message, which is one line. */
async function usageError(...args: string[]): Promise<string> {
  const error = await assertRejects(() => parseOptions(args), UsageError, "", args.join(" "));
  assert(!error.message.includes("\n"), error.message);
  return error.message;
}

Deno.test("parseOptions() returns the defaults of the contract for an empty command line", async () => {
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

Deno.test("parseOptions() returns a new object each time", async () => {
  Object.assign(await parseOptions([]), { port: 1 });
  assertEquals(await parseOptions([]), DEFAULTS);
});

/** Right values of each flag, with those at the ends of its range. */
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
  ["--log-level", "warn", "warning"],
  ...LOG_FORMATS.map((format): [string, string, string] => ["--log-format", format, format]),
];

for (const [flag, key] of Object.entries(FLAGS)) {
  Deno.test(`parseOptions() takes ${flag} with any right value, also after a space, and changes no other option`, async () => {
    for (const [, value, option] of RIGHT.filter(([of]) => of === flag)) {
      for (const args of [[`${flag}=${value}`], [flag, value]]) {
        assertEquals(await parseOptions(args), { ...DEFAULTS, [key]: option });
      }
    }
  });
}

/** Wrong values of each flag, and what the message says that it takes. */
const WRONG: [flag: string, values: string[], takes: string][] = [
  ["--hostname", [""], "an address"],
  ["--access-log", [""], "a path"],
  [
    "--port",
    ["", "65536", "-1", "4000.5", "1e3", "0x50", "http", " 80", "80 ", "4_000", "+80", "٣"],
    "from 0 to 65535",
  ],
  ["--max-clients", ["", "0", "-1", "1.5", "9007199254740992", "1K", "4. 5"], "a whole number, at least 1"],
  ["--max-message", ["", "-1", "1.5M", "M", "1T", "1MB", "1 M", "9007199254740992", "8388608G"], "64K, 1M or 2G"],
  ["--max-buffered", ["", "-1", "1KK", "1e9", "Infinity", "NaN"], "a number of bytes"],
  ["--idle-timeout", ["", "-1", ".5", "1.", "1s", "1e3", "2147484", "2147483.5"], "seconds from 0 to 2147483"],
  ["--drain-timeout", ["", "-0.5", "1,5", "ten", "0x10", "Infinity"], "such as 60 or 0.5"],
  ["--log-level", ["", "INFO", "warned", "trace", "fatal", "toString"], "one of debug, info, warning, error"],
  ["--log-format", ["", "JSON", "xml", "length"], "one of text, json, journal"],
];

for (const [flag, values, takes] of WRONG) {
  Deno.test(`parseOptions() names ${flag}, its wrong value and what it takes`, async () => {
    for (const value of values) {
      const message = await usageError(`${flag}=${value}`);
      assert(message.startsWith(`${flag} takes `), message);
      assertStringIncludes(message, takes);
      assert(message.endsWith(`, not "${value}"`), message);
    }
    assertEquals(await usageError("--version", flag), `Option '${flag} <value>' argument missing`);
  });
}

Deno.test("the tables of right and wrong values leave no flag out", () => {
  const all = Object.keys(FLAGS).sort();
  assertEquals([...new Set(RIGHT.map(([flag]) => flag))].sort(), all);
  assertEquals(WRONG.map(([flag]) => flag).sort(), all);
  assertEquals([...Object.values(FLAGS), "reusePort"].sort(), Object.keys(DEFAULTS).sort());
});

Deno.test("parseOptions() takes the last value of a repeated flag", async () => {
  assertEquals(await parseOptions(["--port=1", "--hostname=::1", "--port", "2"]), {
    ...DEFAULTS,
    hostname: "::1",
    port: 2,
  });
});

Deno.test("parseOptions() names an unknown flag in one line, and the closest known one", async () => {
  const closest = [
    ["--prot", "--port"],
    ["--no-port", "--port"],
    ["--maxClients", "--max-clients"],
    ["--PORT", "--port"],
    ["--versoin", "--version"],
    ["--reuseport", "--reuse-port"],
  ] as const;
  for (const [flag, known] of closest) {
    for (const arg of [flag, `${flag}=4000`]) {
      assertEquals(await usageError(arg), `Unknown option '${flag}', did you mean ${known}?`);
    }
  }
  for (const flag of ["--constructor", "--__proto__"]) {
    assertStringIncludes(await usageError(flag), `Unknown option '${flag}', did you mean --`);
  }
  for (const arg of ["-p", "-p4000"]) assertEquals(await usageError(arg), "Unknown option '-p'");
});

Deno.test("parseOptions() names an argument that is no flag", async () => {
  for (const args of [["4000"], ["--port=1", "4000"], ["--", "4000"], ["--reuse-port", "4000"]]) {
    assertEquals(
      await usageError(...args),
      "Unexpected argument '4000'. This command does not take positional arguments",
    );
  }
  assertEquals(
    await usageError("--", "--port=1"),
    "Unexpected argument '--port=1'. This command does not take positional arguments",
  );
  assertEquals(await parseOptions(["--port=1", "--"]), { ...DEFAULTS, port: 1 });
});

Deno.test("parseOptions() answers -h, --help and --version, also among other flags", async () => {
  for (const [flag, answer] of [["-h", "help"], ["--help", "help"], ["--version", "version"]] as const) {
    assertEquals(await parseOptions([flag]), answer);
    assertEquals(await parseOptions(["--port=wrong", flag, "--log-level=error"]), answer);
  }
  assertEquals(await parseOptions(["--prot=1", "--help"]), "help");
  assertEquals(await parseOptions(["--version", "--help"]), "help");
});

Deno.test("parseOptions() takes --reuse-port", async () => {
  assertEquals(await parseOptions(["--reuse-port"]), { ...DEFAULTS, reusePort: true });
  assertEquals(await parseOptions(["--reuse-port", "--port=1"]), { ...DEFAULTS, reusePort: true, port: 1 });
});

Deno.test("parseOptions() takes no value for a flag that has none", async () => {
  for (const flag of SWITCHES) {
    for (const value of ["", "true", "false"]) {
      const message = await usageError(`${flag}=${value}`);
      assertStringIncludes(message, `${flag}' does not take an argument`);
    }
  }
});

Deno.test("parseOptions() takes any size of whole bytes", async () => {
  const units = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };
  const unit = fc.constantFrom(...Object.entries(units));
  await fc.assert(fc.asyncProperty(fc.nat(8_388_607), unit, fc.boolean(), async (count, [letter, bytes], small) => {
    const options = await parseOptions([`--max-message=${count}${small ? letter.toLowerCase() : letter}`]);
    assertEquals(options, { ...DEFAULTS, maxMessage: count * bytes });
  }));
});

Deno.test("parseOptions() throws UsageError or returns options, whatever it is given", async () => {
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
        assertInstanceOf(error, UsageError);
      }
    }),
    { numRuns: 500 },
  );
});

/** Each flag that HELP has a line for, and the default at the end of that line. */
function helpLines(): Map<string, string | undefined> {
  const lines = HELP.split("\n").filter((line) => line.startsWith("  -"));
  return new Map(lines.map((line) => [/--[a-z-]+/.exec(line)?.[0] ?? line, /\(([^()]+)\)$/.exec(line)?.[1]]));
}

Deno.test("HELP has a line for every flag, and for no other", async () => {
  assertEquals([...helpLines().keys()].sort(), [...Object.keys(FLAGS), ...SWITCHES].sort());
  assertStringIncludes(HELP, "\n  -h, --help  ");
  for (const flag of helpLines().keys()) {
    const error = await parseOptions([flag]).catch((error) => error);
    assert(!(error instanceof UsageError && error.message.startsWith("Unknown")), flag);
  }
});

Deno.test("HELP has every default as it is written on the command line", async () => {
  for (const [flag, option] of Object.entries(FLAGS)) {
    const value = helpLines().get(flag);
    assert(value !== undefined, `HELP has no default of ${flag}`);
    // Another value comes before it: options that are the defaults in the end took the value from HELP.
    const other = RIGHT.find(([name, , parsed]) => name === flag && parsed !== DEFAULTS[option])?.[1];
    assertNotEquals(await parseOptions([`${flag}=${other}`]), DEFAULTS);
    assertEquals(await parseOptions([`${flag}=${other}`, `${flag}=${value}`]), DEFAULTS, flag);
  }
  for (const flag of SWITCHES) assertEquals(helpLines().get(flag), undefined);
});

Deno.test("HELP has the permissions that the defaults need", () => {
  const folder = DEFAULTS.accessLog.slice(0, DEFAULTS.accessLog.lastIndexOf("/"));
  assertStringIncludes(HELP, `--allow-net=${DEFAULTS.hostname}:${DEFAULTS.port} --allow-write=${folder} main.ts`);
});

Deno.test("HELP fits a terminal of 100 columns, and leaves the newline at its end to what prints it", () => {
  for (const line of HELP.split("\n")) assert(line.length <= 100, line);
  assertEquals(HELP, HELP.trim());
});
