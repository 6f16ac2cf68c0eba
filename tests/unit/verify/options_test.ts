import { assertEquals, assertMatch, assertStringIncludes, assertThrows } from "@std/assert";
import { UsageError } from "../../../lib/options.ts";
import { HELP, parseOptions } from "../../../verify/options.ts";

const DEFAULTS = {
  hostname: "127.0.0.1",
  port: 4000,
  clients: 16,
  timeout: 10,
  maxMessage: 16 * 1024 ** 2,
  seconds: 1,
  json: false,
};

Deno.test("parseOptions() takes an address and has defaults for the rest", () => {
  assertEquals(parseOptions(["127.0.0.1:4000"]), DEFAULTS);
  assertEquals(parseOptions(["[2001:db8::1]:7"]), { ...DEFAULTS, hostname: "2001:db8::1", port: 7 });
  for (const hostname of ["echo.example", "localhost", "a.", "_a-b.xn--e-ufa", "127.1", "a".repeat(63)]) {
    assertEquals(parseOptions([`${hostname}:65535`]), { ...DEFAULTS, hostname, port: 65_535 });
  }
});

Deno.test("parseOptions() takes every flag that the help prints, which prints the defaults", () => {
  const args = ["--clients=3", "--timeout=0.5", "--max-message=64K", "--seconds=60", "--json", "127.0.0.1:4000"];
  const options = { ...DEFAULTS, clients: 3, timeout: 0.5, maxMessage: 65_536, seconds: 60, json: true };
  assertEquals(parseOptions(args), options);
  const flags = HELP.match(/^ {2}--[\w-]+/gm)?.map((flag) => flag.trim());
  assertEquals(args.slice(0, -1).map((arg) => arg.replace(/=.*/, "")), flags);
  const defaults = Array.from(HELP.matchAll(/^ {2}--.*\((\w+)\)$/gm), ([, value]) => value);
  assertEquals(defaults, ["16", "10", "16M", "1"]);
});

Deno.test("parseOptions() returns help for --help and -h, whatever else there is", () => {
  for (const args of [["--help"], ["-h"], ["nonsense", "-h"], ["--nonsense", "-h"], ["--clients", "--help"]]) {
    assertEquals(parseOptions(args), "help");
  }
});

Deno.test("parseOptions() says in one line what is wrong", () => {
  const wrong: [args: string[], says: string][] = [
    [[], "HOST:PORT is missing"],
    [["127.0.0.1"], 'not "127.0.0.1"'],
    [["127.0.0.1:"], 'not "127.0.0.1:"'],
    [["127.0.0.1:0"], 'not "127.0.0.1:0"'],
    [["127.0.0.1:65536"], 'not "127.0.0.1:65536"'],
    [["::1:4000"], 'not "::1:4000"'],
    [["[::1]"], 'not "[::1]"'],
    [["é.example:4000"], 'not "é.example:4000"'],
    [["a b:4000"], 'not "a b:4000"'],
    [["a\nb:4000"], 'not "a\\nb:4000"'],
    [["..:4000"], 'not "..:4000"'],
    [["*:4000"], 'not "*:4000"'],
    [["x%y:4000"], 'not "x%y:4000"'],
    [[`${"a".repeat(64)}:4000`], 'aaa:4000"'],
    [[`${"a.".repeat(127)}:4000`], 'a.:4000"'],
    [["[:::::]:4000"], 'not "[:::::]:4000"'],
    [["[127.0.0.1]:4000"], 'not "[127.0.0.1]:4000"'],
    [["[]:4000"], 'not "[]:4000"'],
    [["http://127.0.0.1:4000"], 'not "http://127.0.0.1:4000"'],
    [["a:1", "b:2"], 'not also "b:2"'],
    [["a:1", "--clients=0"], '--clients takes a whole number from 1 to 10000, not "0"'],
    [["a:1", "--timeout=-1"], '--timeout takes seconds from 0 to 2147483, such as 60 or 0.5, not "-1"'],
    [
      ["a:1", "--max-message=1T"],
      '--max-message takes a number of bytes such as 4096, 64K, 1M or 2G, at least 5, not "1T"',
    ],
    [["a:1", "--max-message=4"], '64K, 1M or 2G, at least 5, not "4"'],
    [["a:1", "--seconds=x"], '--seconds takes seconds from 0 to 2147483, such as 60 or 0.5, not "x"'],
    [["a:1", "--wrong"], "--wrong"],
    [["a:1", "--json=1"], "--json"],
    [["a:1", "--clients"], "--clients"],
  ];
  for (const [args, says] of wrong) {
    const { message } = assertThrows(() => parseOptions(args), UsageError);
    assertStringIncludes(message, says);
    assertMatch(message, /^[^\n]+[^.\n]$/);
  }
});

Deno.test("the help fits a terminal of 100 columns", () => {
  assertEquals(HELP.split("\n").filter((line) => line.length > 100), []);
});
