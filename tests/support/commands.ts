/**
 * Commands that run to their end.
 *
 * @module
 */

/** The repository's folder, with a slash at its end. */
export const ROOT: string = new URL("../..", import.meta.url).pathname;

/** How a command ended, and what it printed. */
export interface CommandResult {
  /** The exit status; 128 and the signal's number when a signal ended it. */
  code: number;
  /** Its stdout. */
  stdout: string;
  /** Its stderr. */
  stderr: string;
}

function decode({ code, stdout, stderr }: Deno.CommandOutput): CommandResult {
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}

/**
 * Runs a command in the repository, with nothing on its stdin.
 *
 * @param command The command and its arguments.
 * @param options What else `Deno.Command` takes.
 */
export async function run(command: string[], options: Deno.CommandOptions = {}): Promise<CommandResult> {
  const [name = "", ...args] = command;
  return decode(await new Deno.Command(name, { cwd: ROOT, stdin: "null", ...options, args }).output());
}

/** The same as {@linkcode run}, synchronously. */
export function runSync(command: string[], options: Deno.CommandOptions = {}): CommandResult {
  const [name = "", ...args] = command;
  return decode(new Deno.Command(name, { cwd: ROOT, stdin: "null", ...options, args }).outputSync());
}

/** Whether a command exists and ends with status 0. */
export function succeeds(...command: string[]): boolean {
  try {
    return runSync(command).code === 0;
  } catch {
    return false;
  }
}

/**
 * Runs a command that has to succeed.
 *
 * @returns Its stdout.
 * @throws {Error} If it fails; the message has its stderr.
 */
export async function output(...command: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(command);
  if (code !== 0) throw new Error(`${command.join(" ")} failed: ${stderr}`);
  return stdout;
}
