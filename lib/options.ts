/**
 * The command line: flags, defaults, checks, the help.
 *
 * @module
 */

import type { LogFormat } from "./diagnostics.ts";
import type { Limits } from "./server.ts";

/** The levels that `--log-level` takes, from all reports to the gravest. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;

/** The looks that `--log-format` takes. */
export const LOG_FORMATS = ["text", "json", "journal"] as const;

/** What the server is to do. */
export interface Options extends Limits {
  /** The address to listen on. */
  hostname: string;
  /** The port to listen on. */
  port: number;
  /** Whether other servers may listen on the same address and port; the kernel then spreads clients over all. */
  reusePort: boolean;
  /** Where the access log is. */
  accessLog: string;
  /** The least severe level that is reported. */
  logLevel: typeof LOG_LEVELS[number];
  /** How reports look. */
  logFormat: LogFormat;
}

/** What is done when the command line says nothing. */
export const DEFAULTS: Readonly<Options> = {
  hostname: "0.0.0.0",
  port: 4000,
  reusePort: false,
  accessLog: "/var/log/echo-server/access.log",
  maxClients: 10_000,
  maxMessage: 1_073_741_824,
  maxBuffered: 2_147_483_648,
  idleTimeout: 60,
  drainTimeout: 10,
  logLevel: "info",
  logFormat: "text",
};

/** The text that `--help` prints. */
export const HELP = `\
A TCP echo server: reads what a client sends until the client half-closes,
sends exactly those bytes back, logs one line and closes.

Usage: deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts [flags]

  --hostname=ADDRESS    listen on this address (0.0.0.0)
  --port=N              listen on this port (4000)
  --access-log=PATH     append a line for each client served (/var/log/echo-server/access.log)
  --max-clients=N       clients served at a time, more wait (10000)
  --max-message=SIZE    largest message; a client that sends more is let go (1G)
  --max-buffered=SIZE   memory for all messages; a client that needs more is let go (2G)
  --idle-timeout=SEC    let a client go after so long without a byte, 0: never (60)
  --drain-timeout=SEC   on SIGTERM, let clients finish for so long (10)
  --log-level=LEVEL     least severe report on stderr: debug, info, warning, error (info)
  --log-format=FORMAT   text, json or journal, for systemd (text)
  --reuse-port          share the port with other servers that have this flag; Linux only
  --help                print this
  --version             print the version

SIZE is in bytes and takes K, M, G (powers of 1024). SEC may be a fraction.
Signals: TERM and INT drain and end, twice at once. HUP reopens the access log.
USR2 reports a line of figures, and so does USR1.
`;

/** Thrown when the command line is wrong. The message is one line that names what is wrong and what would be right. */
export class WrongUsage extends Error {
  /** Tells it from other errors. */
  override readonly name = "WrongUsage";
}

type Check = (flag: string, value: string) => Partial<Options>;

/** How each flag that takes a value is read. */
const FLAGS: Record<string, Check> = {
  "hostname": (flag, value) => ({ hostname: text(flag, value, "an address") }),
  "port": (flag, value) => ({ port: count(flag, value, 0, 65_535) }),
  "access-log": (flag, value) => ({ accessLog: text(flag, value, "a path") }),
  "max-clients": (flag, value) => ({ maxClients: count(flag, value, 1, Number.MAX_SAFE_INTEGER) }),
  "max-message": (flag, value) => ({ maxMessage: size(flag, value) }),
  "max-buffered": (flag, value) => ({ maxBuffered: size(flag, value) }),
  "idle-timeout": (flag, value) => ({ idleTimeout: seconds(flag, value) }),
  "drain-timeout": (flag, value) => ({ drainTimeout: seconds(flag, value) }),
  "log-level": (flag, value) => ({ logLevel: oneOf(flag, value, LOG_LEVELS) }),
  "log-format": (flag, value) => ({ logFormat: oneOf(flag, value, LOG_FORMATS) }),
};

/** The flags that take no value. */
const SWITCHES = ["reuse-port", "help", "version"];

/**
 * Reads the command line.
 *
 * @param args The arguments that the program was started with.
 * @returns What to do: serve with these options, or print the help or the version.
 * @throws {WrongUsage} If an argument is wrong.
 *
 * @example Read a command line
 * ```ts
 * import { assertEquals } from "@std/assert";
 * import { DEFAULTS, parseOptions } from "./options.ts";
 *
 * assertEquals(await parseOptions(["--port=7", "--max-message=1M"]), { ...DEFAULTS, port: 7, maxMessage: 1_048_576 });
 * assertEquals(await parseOptions(["--help"]), "help");
 * ```
 */
export async function parseOptions(args: string[]): Promise<Options | "help" | "version"> {
  const options = { ...DEFAULTS };
  if (args.length === 0) return options;
  // Loaded only here: the parser would cost the plain start a quarter of its time.
  const { parseArgs } = await import("node:util");
  const flags = Object.keys(FLAGS).map((name) => [name, { type: "string" }] as const);
  const switches = SWITCHES.map((name) => [name, { type: "boolean" }] as const);
  const { tokens } = parseArgs({
    args,
    options: Object.fromEntries([...flags, ...switches]),
    strict: false,
    tokens: true,
  });
  for (const token of tokens) {
    if (token.kind === "positional") throw new WrongUsage(`unexpected argument "${token.value}": only flags are taken`);
    if (token.kind === "option-terminator") continue;
    const { name, rawName, value } = token;
    if (SWITCHES.includes(name) && value !== undefined) {
      throw new WrongUsage(`${rawName} takes no value, not "${value}"`);
    }
    if (name === "help" || name === "version") return name;
    if (name === "reuse-port") {
      options.reusePort = true;
      continue;
    }
    const check = Object.hasOwn(FLAGS, name) ? FLAGS[name] : undefined;
    if (check === undefined) {
      const known = [...Object.keys(FLAGS), ...SWITCHES].map((flag) => `--${flag}`).join(", ");
      throw new WrongUsage(`unknown flag ${rawName}: there are ${known}`);
    }
    Object.assign(options, check(rawName, value ?? ""));
  }
  return options;
}

function wrong(flag: string, value: string, right: string): WrongUsage {
  return new WrongUsage(`${flag} takes ${right}, ${value === "" ? "but none is given" : `not "${value}"`}`);
}

function text(flag: string, value: string, what: string): string {
  if (value === "") throw wrong(flag, value, what);
  return value;
}

function count(flag: string, value: string, min: number, max: number): number {
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  const range = max === Number.MAX_SAFE_INTEGER ? `from ${min} up` : `from ${min} to ${max}`;
  throw wrong(flag, value, `a whole number ${range}`);
}

const UNITS: Record<string, number> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

function size(flag: string, value: string): number {
  const [, digits = "", unit = ""] = /^(\d+)([KMG]?)$/i.exec(value) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? NaN);
  if (digits !== "" && Number.isSafeInteger(bytes)) return bytes;
  throw wrong(flag, value, "a number of bytes such as 4096, 64K, 1M or 2G");
}

function seconds(flag: string, value: string): number {
  const number = Number(value);
  // A timer counts milliseconds in 31 bits.
  if (/^\d+(\.\d+)?$/.test(value) && number <= 2_147_483) return number;
  throw wrong(flag, value, "seconds from 0 to 2147483, such as 60 or 0.5");
}

function oneOf<T extends string>(flag: string, value: string, all: readonly T[]): T {
  const found = all.find((one) => one === value);
  if (found === undefined) throw wrong(flag, value, `one of ${all.join(", ")}`);
  return found;
}
