/**
 * The command line: flags, defaults, validation, the text of `--help`.
 *
 * @module
 */

import { errorMessage } from "./errors.ts";
import { LOG_FORMATS, LOG_LEVELS, type LogFormat, type LogLevel } from "./logger.ts";

const GIB = 1024 ** 3;

/** The default options. */
export const DEFAULTS = {
  /** The address to listen on. */
  hostname: "0.0.0.0",
  /** The port to listen on. */
  port: 4000,
  /** Whether other servers may listen on the same port; the kernel then spreads the clients over all of them. */
  reusePort: false,
  /** The path of the access log. */
  accessLog: "/var/log/echo-server/access.log",
  // The limits, as in server.ts.
  maxClients: 10_000,
  maxMessage: 1 * GIB,
  maxBuffered: 2 * GIB,
  idleTimeout: 60,
  drainTimeout: 10,
  /** The least severe level that is reported. */
  logLevel: "info" as LogLevel,
  /** The format of the diagnostics. */
  logFormat: "text" as LogFormat,
};

/** The options of the server. */
export type Options = typeof DEFAULTS;

/** The text that `--help` prints. */
export const HELP = `\
A TCP echo server: reads what a client sends until the client half-closes,
sends exactly those bytes back, appends one line to its access log and closes.

Usage: deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts [flags]

  --hostname=ADDRESS    listen on this address (0.0.0.0)
  --port=N              listen on this port (4000)
  --access-log=PATH     a line for each client served; - is stdout (/var/log/echo-server/access.log)
  --max-clients=N       clients in flight; more wait in the backlog (10000)
  --max-message=SIZE    largest message; a client that sends more is dropped (1G)
  --max-buffered=SIZE   memory for all messages; a client that needs more is dropped (2G)
  --idle-timeout=SEC    drop a client after SEC seconds without a byte; 0 disables it (60)
  --drain-timeout=SEC   on SIGTERM, let clients finish for up to SEC seconds (10)
  --log-level=LEVEL     least severe report: ${LOG_LEVELS.join(", ")} (info)
  --log-format=FORMAT   format of the reports: ${LOG_FORMATS.join(", ")} (text)
  --reuse-port          share the port with other servers that have this flag; Linux only
  -h, --help            print this
  --version             print the version

SIZE is in bytes and takes K, M, G (powers of 1024). SEC may have decimals.
Signals: TERM and INT drain; repeated after a second, they drop all clients and exit.
HUP reopens the access log, or drains if the terminal is gone. USR2 reports a status line.`;

/** Thrown when the command line is wrong. The message is one line. */
export class UsageError extends Error {}

/** Returns a function that sets an option from its flag. `parse` returns undefined if the value is invalid. */
function sets<K extends keyof Options>(option: K, takes: string, parse: (value: string) => Options[K] | undefined) {
  return (options: Options, flag: string, value: string) => {
    const parsed = parse(value);
    if (parsed === undefined) throw new UsageError(`--${flag} takes ${takes}, not "${value}"`);
    options[option] = parsed;
  };
}

/** Returns a parser of whole numbers in a range. */
export const integer = (min: number, max: number) => (value: string) =>
  /^\d+$/.test(value) && Number(value) >= min && Number(value) <= max ? Number(value) : undefined;

const oneOf = <T extends string>(values: readonly T[]) => (value: string) => values.find((one) => one === value);

const level = (value: string) => oneOf(LOG_LEVELS)(value === "warn" ? "warning" : value);

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: GIB };

/** Parses a {@linkcode SIZE}, in bytes. */
export function size(value: string): number | undefined {
  const [, digits, unit = ""] = /^(\d+)([KMG]?)$/i.exec(value) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}

const MAX_SECONDS = 2_147_483; // setTimeout takes at most 2 ** 31 - 1 ms

/** Parses {@linkcode SECONDS}. */
export function seconds(value: string): number | undefined {
  return /^\d+(\.\d+)?$/.test(value) && Number(value) <= MAX_SECONDS ? Number(value) : undefined;
}

/** What a flag for a size takes. */
export const SIZE = "a number of bytes such as 4096, 64K, 1M or 2G";
/** What a flag for a time takes. */
export const SECONDS = `seconds from 0 to ${MAX_SECONDS}, such as 60 or 0.5`;

const FLAGS: Readonly<Record<string, ReturnType<typeof sets>>> = {
  "hostname": sets("hostname", "an address", (value) => value || undefined),
  "port": sets("port", "a whole number from 0 to 65535", integer(0, 65_535)),
  "access-log": sets("accessLog", "a path", (value) => value || undefined),
  "max-clients": sets("maxClients", "a whole number, at least 1", integer(1, Number.MAX_SAFE_INTEGER)),
  "max-message": sets("maxMessage", SIZE, size),
  "max-buffered": sets("maxBuffered", SIZE, size),
  "idle-timeout": sets("idleTimeout", SECONDS, seconds),
  "drain-timeout": sets("drainTimeout", SECONDS, seconds),
  "log-level": sets("logLevel", `one of ${LOG_LEVELS.join(", ")}`, level),
  "log-format": sets("logFormat", `one of ${LOG_FORMATS.join(", ")}`, oneOf(LOG_FORMATS)),
};

/**
 * Reads the command line.
 *
 * @param args The arguments that the program was started with.
 * @returns What to do: serve with these options, or print the help or the version.
 * @throws {UsageError} If an argument is wrong.
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
  if (args.some((arg) => arg === "-h" || arg === "--help")) return "help"; // also beside a flag that is wrong
  // Loaded only if needed: a start without flags would take a third longer with it.
  const { parseArgs } = await import("node:util");
  const strings = Object.keys(FLAGS).map((flag) => [flag, { type: "string" }] as const);
  const boolean = { type: "boolean" } as const;
  const flags = { ...Object.fromEntries(strings), "reuse-port": boolean, "help": boolean, "version": boolean };
  try {
    const { values } = parseArgs({ args, options: flags });
    if (values.version) return "version";
    options.reusePort = values["reuse-port"] === true;
    for (const [flag, value] of Object.entries(values)) FLAGS[flag]?.(options, flag, String(value));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    const message = errorMessage(error);
    const [, typo] = /^Unknown option '--(.+?)'/.exec(message) ?? [];
    const closest = typo && (await import("@std/text")).closestString(typo, Object.keys(flags));
    const known = closest && `Unknown option '--${typo}', did you mean --${closest}?`;
    throw new UsageError(known || message.replace(/\.?\n[^]*/, ""), { cause: error }); // the rest explains a syntax
  }
  return options;
}
