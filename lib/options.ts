/**
 * The command line: flags, defaults, checks, the help.
 *
 * @module
 */

import type { Level, LogFormat } from "./diagnostics.ts";
import type { Limits } from "./server.ts";

/** The levels that `--log-level` takes, from all reports to the gravest. */
export const LOG_LEVELS: readonly Level[] = ["debug", "info", "warning", "error"];

/** The looks that `--log-format` takes. */
export const LOG_FORMATS: readonly LogFormat[] = ["text", "json", "journal"];

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
  logLevel: Level;
  /** How reports look. */
  logFormat: LogFormat;
}

const GIB = 1024 ** 3;

/** What is done when the command line says nothing. */
export const DEFAULTS: Readonly<Options> = {
  hostname: "0.0.0.0",
  port: 4000,
  reusePort: false,
  accessLog: "/var/log/echo-server/access.log",
  maxClients: 10_000,
  maxMessage: 1 * GIB,
  maxBuffered: 2 * GIB,
  idleTimeout: 60,
  drainTimeout: 10,
  logLevel: "info",
  logFormat: "text",
};

/** Thrown when the command line is wrong. The message is one line that names what is wrong and what would be right. */
export class WrongUsage extends Error {
  /** Tells it from other errors. */
  override readonly name = "WrongUsage";
  /** How reports are to look, as far as is known. */
  logFormat: LogFormat = "text";
}

/** How a value is read: what is right, and the value, or nothing if it is wrong. */
type Kind<T> = [right: string, read: (text: string) => T | undefined];

const text = (right: string): Kind<string> => [right, (text) => text || undefined];

const count = (min: number, max: number): Kind<number> => [
  `a whole number from ${min} ${max === Number.MAX_SAFE_INTEGER ? "up" : `to ${max}`}`,
  (text) => /^\d+$/.test(text) && Number(text) >= min && Number(text) <= max ? Number(text) : undefined,
];

const UNITS: Readonly<Record<string, number>> = { "": 1, K: 1024, M: 1024 ** 2, G: GIB };

const size: Kind<number> = ["a number of bytes such as 4096, 64K, 1M or 2G", (text) => {
  const [, digits, unit = ""] = /^(\d+)([KMG]?)$/i.exec(text) ?? [];
  const bytes = Number(digits) * (UNITS[unit.toUpperCase()] ?? NaN);
  return Number.isSafeInteger(bytes) ? bytes : undefined;
}];

const MAX_SECONDS = 2_147_483; // a timer counts milliseconds in 31 bits

const seconds: Kind<number> = [
  `seconds from 0 to ${MAX_SECONDS}, such as 60 or 0.5`,
  (text) => /^\d+(\.\d+)?$/.test(text) && Number(text) <= MAX_SECONDS ? Number(text) : undefined,
];

const oneOf = <T extends string>(all: readonly T[]): Kind<T> => [
  `one of ${all.join(", ")}`,
  (text) => all.find((one) => one === text),
];

/** A flag. */
interface Flag {
  /** How it stands in the help, after its name. */
  usage: string;
  /** What it is for, and what holds without it. */
  help: string;
  /** Puts what was given into the options. None for a flag that takes no value. */
  set?: (options: Options, rawName: string, text: string) => void;
}

function flag<K extends keyof Options>(sets: K, takes: string, help: string, [right, read]: Kind<Options[K]>): Flag {
  const value = DEFAULTS[sets];
  return {
    usage: `=${takes}`,
    help: `${help} (${typeof value === "number" && value >= GIB ? `${value / GIB}G` : value})`,
    set(options, rawName, text) {
      const value = read(text);
      if (value !== undefined) options[sets] = value;
      else throw new WrongUsage(`${rawName} takes ${right}, ${text === "" ? "but none is given" : `not "${text}"`}`);
    },
  };
}

const FLAGS: Readonly<Record<string, Flag>> = {
  "hostname": flag("hostname", "ADDRESS", "listen on this address", text("an address")),
  "port": flag("port", "N", "listen on this port", count(0, 65_535)),
  "access-log": flag("accessLog", "PATH", "append a line for each client served", text("a path")),
  "max-clients": flag("maxClients", "N", "clients served at a time, more wait", count(1, Number.MAX_SAFE_INTEGER)),
  "max-message": flag("maxMessage", "SIZE", "largest message; a client that sends more is dropped", size),
  "max-buffered": flag("maxBuffered", "SIZE", "memory for all messages; a client that needs more is dropped", size),
  "idle-timeout": flag("idleTimeout", "SEC", "drop a client after so long without a byte, 0: never", seconds),
  "drain-timeout": flag("drainTimeout", "SEC", "on SIGTERM, let clients finish for so long", seconds),
  "log-level": flag("logLevel", "LEVEL", `least severe report: ${LOG_LEVELS.join(", ")}`, oneOf(LOG_LEVELS)),
  "log-format": flag("logFormat", "FORMAT", `how reports look: ${LOG_FORMATS.join(", ")}`, oneOf(LOG_FORMATS)),
  "reuse-port": { usage: "", help: "share the port with other servers that have this flag; Linux only" },
  "help": { usage: "", help: "print this" },
  "version": { usage: "", help: "print the version" },
};

/** The text that `--help` prints. */
export const HELP = `\
A TCP echo server: reads what a client sends until the client half-closes,
sends exactly those bytes back, logs one line and closes.

Usage: deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server main.ts [flags]

${Object.entries(FLAGS).map(([name, { usage, help }]) => `  --${name}${usage}`.padEnd(24) + help).join("\n")}

SIZE is in bytes and takes K, M, G (powers of 1024). SEC may be a fraction.
Signals: TERM and INT drain and end; again after a second, they drop everybody.
HUP reopens the access log, or drains if the terminal is gone. USR2 reports a line of figures.
`;

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
  const types = Object.entries(FLAGS).map(([name, { set }]) => [name, { type: set ? "string" : "boolean" }] as const);
  const { tokens } = parseArgs({ args, options: Object.fromEntries(types), strict: false, tokens: true });
  try {
    for (const token of tokens) {
      if (token.kind === "option-terminator") continue;
      if (token.kind === "positional") {
        throw new WrongUsage(`unexpected argument "${token.value}": only flags are taken`);
      }
      const { name, rawName, value = "", inlineValue = false } = token;
      if (!Object.hasOwn(FLAGS, name)) {
        throw new WrongUsage(
          `unknown flag ${rawName}: there are ${Object.keys(FLAGS).map((one) => `--${one}`).join(", ")}`,
        );
      }
      const set = FLAGS[name]?.set;
      if (set === undefined && inlineValue) throw new WrongUsage(`${rawName} takes no value, not "${value}"`);
      if (name === "help" || name === "version") return name;
      if (name === "reuse-port") options.reusePort = true;
      // A flag that follows is no value, unless it is joined to this one by "=".
      set?.(options, rawName, value.startsWith("--") && !inlineValue ? "" : value);
    }
  } catch (error) {
    if (error instanceof WrongUsage) error.logFormat = options.logFormat;
    throw error;
  }
  return options;
}
