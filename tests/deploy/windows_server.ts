/**
 * The server on Windows: how it is started under Wine.
 *
 * @module
 */

import { run } from "../support/commands.ts";
import { type Address, Program } from "../support/program.ts";
import { pattern, roundTrip } from "../support/tcp_client.ts";
import { Terminal } from "../support/terminal.ts";
import { until } from "../support/wait.ts";
import { DENO, quote, SHARED, type Wine } from "./wine.ts";

/** The access log. Its folder is missing at first. The test finds it at `log/access.log` in the shared folder. */
export const LOG = String.raw`${SHARED}\log\access.log`;

/** Runs a program, and prints its exit code: that of Wine's own process is not always the same. */
const PRINT_CODE = `Deno.addSignalListener("SIGINT", () => {}); // Ctrl-C goes to all processes on the console
const { code } = await new Deno.Command(Deno.execPath(), { args: Deno.args }).spawn().status;
console.log(\`exit code \${code}\`);`;

/** Deno's arguments, for a shell. */
function deno(flags: string[], log: string = LOG, port: number = 0): string {
  const folder = log.slice(0, log.lastIndexOf("\\"));
  return `run --no-prompt --cached-only --no-check --allow-net=127.0.0.1:${port} ${quote(`--allow-write=${folder}`)} ` +
    `main.ts --hostname=127.0.0.1 --port=${port} ${quote(`--access-log=${log}`)} ${flags.join(" ")}`;
}

/**
 * Starts the server without a console.
 *
 * @param wine Where.
 * @param shared The folder that is shared with it.
 * @param flags Flags that follow `--hostname`, `--port` and `--access-log`.
 */
export function start(wine: Wine, shared: string, ...flags: string[]): Promise<Program> {
  const command = wine.command(shared, `exec ${DENO} ${deno(flags)}`);
  return Program.start({ command, accessLog: `${shared}/log/access.log` });
}

/**
 * Runs a server that cannot start.
 *
 * @param wine Where.
 * @param shared The folder that is shared with it.
 * @param log Its access log.
 * @returns What it printed; within 10 s it is killed.
 */
export function runToExit(wine: Wine, shared: string, log: string): Promise<{ stdout: string; stderr: string }> {
  return run(wine.command(shared, `timeout 10 ${DENO} eval ${quote(PRINT_CODE)} ${deno([], log)}`));
}

/** The server on a terminal, which is its console. Its stderr is elsewhere, since Wine would break the lines there. */
export class ServerOnConsole implements AsyncDisposable {
  readonly #shared: string;
  readonly #terminal: Terminal;

  private constructor(shared: string, terminal: Terminal, readonly address: Address) {
    this.#shared = shared;
    this.#terminal = terminal;
  }

  /**
   * Starts it, and waits until it serves. The wait is its first client.
   *
   * @param wine Where.
   * @param shared The folder that is shared with it.
   * @param stderr What its stderr is: a file, or a pipe that is not read.
   * @param flags Flags that follow `--hostname`, `--port` and `--access-log`.
   */
  static async start(
    wine: Wine,
    shared: string,
    stderr: "file" | "unread pipe",
    ...flags: string[]
  ): Promise<ServerOnConsole> {
    using free = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { addr: address } = free;
    free.close();
    const open = stderr === "file" ? "" : "mkfifo /shared/stderr; sleep infinity </shared/stderr & ";
    const command = `${DENO} eval ${quote(PRINT_CODE)} ${deno(flags, LOG, address.port)} 2>/shared/stderr`;
    const terminal = new Terminal(`exec ${wine.command(shared, open + command).map(quote).join(" ")}`);
    const server = new ServerOnConsole(shared, terminal, address);
    try {
      // To connect would not do: until it has been served, the server may not listen for Ctrl-C yet.
      await until(() => roundTrip(address, pattern(0)).then(() => true, () => false), "the server to serve");
      return server;
    } catch (error) {
      await server[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Presses Ctrl-C. */
  pressCtrlC(): Promise<void> {
    return this.#terminal.type("\x03");
  }

  /** Waits until its stderr, a file, has some text. */
  prints(text: string): Promise<void> {
    return until(() => Deno.readTextFileSync(`${this.#shared}/stderr`).includes(text), `"${text}"`);
  }

  /** Waits until it has ended, and returns its exit code. */
  async exitCode(): Promise<number> {
    const [, code] = await this.#terminal.shows(/exit code (\d+)/);
    return Number(code);
  }

  /** Closes the terminal, and kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#terminal[Symbol.asyncDispose]();
  }
}
