/**
 * The program, run until it exits by itself.
 *
 * @module
 */

import { type CommandResult, run } from "./commands.ts";

/** Milliseconds after which a program that does not exit is killed. */
const DEADLINE_MS = 20_000;

/**
 * Runs the program until it exits by itself.
 *
 * @param permissions Deno's flags, such as `--allow-net`.
 * @param flags The program's own.
 * @param launcher A command that ends by executing its arguments.
 */
export function runProgram(
  permissions: string[],
  flags: string[],
  launcher: string[] = [],
): Promise<CommandResult> {
  const command = [...launcher, Deno.execPath(), "run", "--no-prompt", ...permissions, "main.ts", ...flags];
  return run(command, { signal: AbortSignal.timeout(DEADLINE_MS) });
}
