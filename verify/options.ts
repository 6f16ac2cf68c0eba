/**
 * The command line: flags, defaults, validation, the text of `--help`.
 *
 * @module
 */

import { isIPv6 } from "node:net";
import { parseArgs } from "node:util";
import { errorMessage } from "../lib/errors.ts";
import { integer, SECONDS, seconds, SIZE, size, UsageError } from "../lib/options.ts";

/** What is verified, and how. */
export interface Options {
  /** An IP address or a name. */
  hostname: string;
  /** The port. */
  port: number;
  /** Clients at a time, where several are tried. */
  clients: number;
  /** Seconds without a byte, after which a client gives up; 0 for no limit. */
  timeout: number;
  /** Bytes of the largest message. */
  maxMessage: number;
  /** Seconds for which small clients are repeated. */
  seconds: number;
  /** Whether the report is JSON. */
  json: boolean;
}

/** The text that `--help` prints. */
export const HELP = `\
Verifies the path to an echo server: sends messages, half-closes, compares every byte
that comes back, and says what a failure points to.

Usage: deno run --allow-net=HOST:PORT verify.ts HOST:PORT [flags]

  --clients=N           clients at a time in "concurrent" and "load" (16)
  --timeout=SEC         give up after SEC seconds without a byte; 0 disables it (10)
  --max-message=SIZE    largest message, at least 5 bytes (16M)
  --seconds=SEC         repeat clients with small messages for SEC seconds (1)
  --json                print a JSON object for each address
  -h, --help            print this

HOST is an IP address or a name, an IPv6 address in brackets: [::1]:4000. SIZE takes K, M, G
(powers of 1024). SEC may have decimals. Each client leaves a line in the server's access log.
Exit status 0: all is right. 1: something is not. 2: wrong command line. 130: interrupted.`;

/** The bytes of a small message: no message can be limited to less. */
export const SMALL_BYTES = 5;

/** What Deno accepts as the name of a host, or as an IPv4 address. A name with other letters has a form with these: xn--… */
const NAME = /^(?=.{1,253}$)[\w-]{1,63}(\.[\w-]{1,63})*\.?$/;

/**
 * Reads the command line.
 *
 * @throws {UsageError} If an argument is wrong.
 */
export function parseOptions(args: string[]): Options | "help" {
  if (args.some((arg) => arg === "-h" || arg === "--help")) return "help"; // also beside a flag that is wrong
  const { values, positionals } = parse(args);
  const [address, ...more] = positionals;
  if (address === undefined) throw new UsageError("HOST:PORT is missing");
  if (more.length > 0) throw new UsageError(`takes one HOST:PORT, not also ${JSON.stringify(more[0])}`);
  const [, ipv6 = "", name = "", digits = ""] = /^(?:\[([\da-f:.]+)\]|([^:]+)):(\d+)$/i.exec(address) ?? [];
  const port = integer(1, 65_535)(digits);
  if (port === undefined || !isIPv6(ipv6) && !NAME.test(name)) {
    throw new UsageError(
      `takes HOST:PORT, such as 127.0.0.1:4000 or [::1]:4000, not ${JSON.stringify(address)}`, // may have line breaks
    );
  }

  const valid = <T>(flag: Exclude<keyof typeof values, "json">, takes: string, read: (value: string) => T) => {
    const parsed = read(values[flag]);
    if (parsed === undefined) throw new UsageError(`--${flag} takes ${takes}, not ${JSON.stringify(values[flag])}`);
    return parsed;
  };
  return {
    hostname: ipv6 || name,
    port,
    clients: valid("clients", "a whole number from 1 to 10000", integer(1, 10_000)),
    timeout: valid("timeout", SECONDS, seconds),
    maxMessage: valid("max-message", `${SIZE}, at least ${SMALL_BYTES}`, (value) => {
      const bytes = size(value);
      return bytes !== undefined && bytes >= SMALL_BYTES ? bytes : undefined;
    }),
    seconds: valid("seconds", SECONDS, seconds),
    json: values.json,
  };
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        "clients": { type: "string", default: "16" },
        "timeout": { type: "string", default: "10" },
        "max-message": { type: "string", default: "16M" },
        "seconds": { type: "string", default: "1" },
        "json": { type: "boolean", default: false },
      },
    });
  } catch (error) {
    throw new UsageError(errorMessage(error).replace(/\.?\n[^]*/, "").replace(/\. To specify.*/, ""), { cause: error });
  }
}
