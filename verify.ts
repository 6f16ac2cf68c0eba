/**
 * Verifies the path to an echo server: whether every byte comes back, and if not, what that points to. `--help` says how
 * to run it.
 *
 * @module
 */

import { errorMessage } from "./lib/errors.ts";
import { UsageError } from "./lib/options.ts";
import { formatAddress } from "./lib/startup.ts";
import { resolve } from "./verify/addresses.ts";
import { Verification } from "./verify/checks.ts";
import { HELP, type Options, parseOptions } from "./verify/options.ts";
import { formatJson, formatRow, formatSummary, formatTimes, Progress } from "./verify/report.ts";

/** The exit status after Ctrl-C, as shells have it: 128 and the signal's number. */
const INTERRUPTED = 130;

/**
 * Parses the command line and verifies every address.
 *
 * @param args The command line.
 * @returns The exit status. Ctrl-C exits the process, and so does a write to stdout that fails.
 */
export async function main(args: string[]): Promise<number> {
  let options: Options | "help";
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`verify: ${error.message}; see --help`);
    return 2;
  }
  if (options === "help") {
    print(HELP);
    return 0;
  }
  const { hostname, port } = options;
  const { hostnames, denied } = await resolve(hostname, port);
  if (denied.length > 0) {
    const hosts = [hostname, ...denied].map((host) => formatAddress({ hostname: host, port }));
    console.error(`verify: ${hostname} has several addresses; to verify each, run again with --allow-net=${hosts}`);
  }
  let passed = true;
  for (const host of hostnames) passed = await verify(host, options) && passed;
  return passed ? 0 : 1;
}

/** Verifies one address and prints the report. Returns whether it passed. */
async function verify(hostname: string, options: Options): Promise<boolean> {
  const { port, json } = options;
  const address = formatAddress({ hostname, port });
  const verification = new Verification({ hostname, port }, options);
  const { times } = verification;
  using progress = new Progress(() => verification.running);
  const conclude = (end: string) => {
    progress.clear();
    if (json) print(formatJson(address, verification));
    else print(`${times.count > 0 ? `\n${formatTimes(times)}\n` : ""}\n${end}`);
  };
  const interrupt = () => {
    conclude("interrupted");
    Deno.exit(INTERRUPTED);
  };
  Deno.addSignalListener("SIGINT", interrupt);
  using _ = { [Symbol.dispose]: () => Deno.removeSignalListener("SIGINT", interrupt) };
  for await (const row of verification.run()) {
    progress.clear();
    if (json) continue;
    if (row.name === "connect" && row.result === "failed") {
      console.error(`verify: cannot connect to ${address}: ${row.seen}; ${row.pointsTo}`);
      return false;
    }
    print(formatRow(row));
  }
  conclude(formatSummary(address, verification));
  return verification.passed;
}

/** Prints to stdout. If that fails, as with a full disk, says so and exits. */
function print(text: string): void {
  try {
    console.log(text);
  } catch (error) {
    console.error(`verify: cannot write to stdout: ${errorMessage(error)}`);
    Deno.exit(1);
  }
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
