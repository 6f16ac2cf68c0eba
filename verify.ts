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
import { formatHistogram, formatJson, formatRow, formatSummary, Progress } from "./verify/report.ts";

/** The exit status after Ctrl-C, as a shell has it: 128 and the signal's number. */
const INTERRUPTED = 130;

/**
 * Parses the command line and verifies every address.
 *
 * @param args The command line.
 * @returns The exit status. Ctrl-C exits the process.
 */
export async function main(args: string[]): Promise<number> {
  let options: Options | "help";
  try {
    options = parseOptions(args);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    console.error(`verify: ${errorMessage(error)}; see --help`);
    return 2;
  }
  if (options === "help") {
    console.log(HELP);
    return 0;
  }
  const { hostname, port } = options;
  const { hostnames, denied } = await resolve(hostname, port);
  if (denied.length > 0) {
    const all = [hostname, ...denied].map((one) => formatAddress(one, port)).join();
    console.error(`verify: the name has several addresses; to verify each, run again with --allow-net=${all}`);
  }
  let passed = true;
  for (const one of hostnames) passed = await verify(one, options) && passed;
  return passed ? 0 : 1;
}

/** Verifies one address and prints the report. Returns whether it passed. */
async function verify(hostname: string, options: Options): Promise<boolean> {
  const { port, json } = options;
  const address = formatAddress({ hostname, port });
  const verification = new Verification({ hostname, port }, options);
  using progress = new Progress(() => verification.running);

  const interrupt = () => {
    progress.clear();
    if (json) console.log(formatJson(address, verification));
    console.error("interrupted");
    Deno.exit(INTERRUPTED);
  };
  Deno.addSignalListener("SIGINT", interrupt);
  try {
    for await (const row of verification.run()) {
      progress.clear();
      if (json) continue;
      if (row.name === "connect" && row.result === "failed") {
        console.error(`verify: cannot connect to ${address}: ${row.seen}; this points to ${row.pointsTo}`);
        return false;
      }
      console.log(formatRow(row));
    }
  } finally {
    Deno.removeSignalListener("SIGINT", interrupt);
  }
  if (json) {
    console.log(formatJson(address, verification));
  } else {
    if (verification.statistics.count > 0) console.log(`\n${formatHistogram(verification.statistics)}`);
    console.log(`\n${formatSummary(address, verification)}`);
  }
  return verification.passed;
}

if (import.meta.main) Deno.exitCode = await main(Deno.args);
