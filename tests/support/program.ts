/**
 * The whole program as a subprocess, with exactly the two permissions that it is documented to need.
 *
 * @module
 */

import { formatAddress } from "../../lib/startup.ts";
import { type Line, parseLines } from "./access_log_lines.ts";
import { ROOT } from "./commands.ts";
import { listeningPorts, type ProcessStatistics, processStatistics } from "./process_statistics.ts";
import { parseStatusLine, STATUS_LINE, type StatusLine } from "./status_line.ts";
import { StreamLines } from "./stream_lines.ts";
import { TemporaryFolder } from "./temporary_folder.ts";
import { settles, until } from "./wait.ts";

/** Where clients connect to. */
export interface Address {
  /** An IP address. */
  hostname: string;
  /** A port. */
  port: number;
}

/** How the program is started. */
export interface StartOptions {
  /** Flags that follow `--hostname`, `--port` and `--access-log`. */
  flags?: string[];
  /** The address to listen on. Default: 127.0.0.1. */
  hostname?: string;
  /** The port to listen on. Default: one that is free. */
  port?: number;
  /** The access log; `-` for standard output. Default: one in a folder that is missing yet, in a temporary folder of its own. */
  accessLog?: string;
  /** Whether stdout is read from the start. Default: true. */
  readStdout?: boolean;
  /** A command that ends by executing its arguments, and so becomes the program, such as `["nice"]`. */
  launcher?: string[];
  /** The Deno that runs it. Default: the one that runs the tests. */
  executable?: string;
  /** Environment variables besides the inherited ones. */
  env?: Record<string, string>;
  /** Flags for Deno, such as `--inspect`. */
  deno?: string[];
  /** The script that is run. Default: `main.ts`. */
  script?: string;
  /** Called with the process before anything is waited for. */
  onSpawn?: (process: Deno.ChildProcess) => void;
  /** The command that is run instead of the usual one. `hostname` and `accessLog` must say what it does. */
  command?: string[];
}

/**
 * The program, running.
 *
 * @example Start it and end it
 * ```ts ignore
 * await using program = await Program.start({ flags: ["--max-clients=3"] });
 * program.kill("SIGTERM");
 * assertEquals(await program.exit(), 0);
 * ```
 */
export class Program implements AsyncDisposable {
  /** Where clients reach it. */
  readonly address: Address = { hostname: "127.0.0.1", port: 0 };
  /** Where its access log is. */
  readonly accessLog: string;
  /** What came on stdout so far. */
  stdout = "";

  readonly #child: Deno.ChildProcess;
  readonly #folder = new TemporaryFolder();
  readonly #stderr: StreamLines;
  readonly #streams: Promise<unknown>;

  private constructor(options: StartOptions) {
    this.accessLog = options.accessLog ?? `${this.#folder.path}/log/access.log`;
    const hostname = options.hostname ?? "127.0.0.1";
    const port = options.port ?? 0;
    this.address.hostname = hostname === "0.0.0.0" ? "127.0.0.1" : hostname;
    const [command = "", ...args] = options.command ?? [
      ...options.launcher ?? [],
      ...[options.executable ?? Deno.execPath(), "run", "--no-prompt"],
      `--allow-net=${formatAddress({ hostname, port })}`,
      ...this.accessLog === "-" ? [] : [`--allow-write=${this.accessLog.slice(0, this.accessLog.lastIndexOf("/"))}`],
      ...options.deno ?? [],
      ...[options.script ?? "main.ts", `--hostname=${hostname}`, `--port=${port}`, `--access-log=${this.accessLog}`],
      ...options.flags ?? [],
    ];
    this.#child = new Deno.Command(command, {
      args,
      cwd: ROOT,
      env: options.env ?? {},
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    options.onSpawn?.(this.#child);
    this.#stderr = new StreamLines(this.#child.stderr);
    const { readStdout = true } = options;
    this.#streams = Promise.all([readStdout ? this.readStdout() : undefined, this.#stderr.ended]);
  }

  /**
   * Starts the program and waits until it listens.
   *
   * @param options How it is started.
   * @returns The program. Disposing of it kills it and removes its temporary folder.
   */
  static async start(options: StartOptions = {}): Promise<Program> {
    const program = new Program(options);
    try {
      const [, port] = await program.line(/listening on (?!ws:)\S+:(\d+)/);
      program.address.port = Number(port);
      return program;
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** The process. */
  get pid(): number {
    return this.#child.pid;
  }

  /** The lines on stderr so far. */
  get stderr(): string[] {
    return this.#stderr.all;
  }

  /** The lines on stderr so far that match. */
  matches(pattern: RegExp): RegExpExecArray[] {
    return this.#stderr.matches(pattern);
  }

  /**
   * Waits for a line on stderr, unless it is there already.
   *
   * @param pattern What the line is to match.
   * @param nth Which of the matching lines, counted from 1.
   * @returns The match.
   * @throws {Error} If the program ends without it, or it does not come in time; the message shows what came.
   */
  line(pattern: RegExp, nth: number = 1): Promise<RegExpExecArray> {
    return this.#stderr.find(pattern, nth);
  }

  /** Sends it a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Calls back while it stands still: whatever clients and signals do meanwhile, it finds all of it at once. */
  async whileStopped<T>(callback: () => Promise<T>): Promise<T> {
    this.kill("SIGSTOP");
    const result = await callback();
    this.kill("SIGCONT");
    return result;
  }

  /**
   * Waits until it has ended.
   *
   * @returns Its exit status; 128 and the signal's number when a signal ended it.
   * @throws {Error} If it does not end in time.
   */
  async exit(): Promise<number> {
    await settles(this.#streams, () => `the program's exit; on stderr came:\n${this.stderr.slice(-30).join("\n")}`);
    return (await this.#child.status).code;
  }

  /** Reads stdout to its end, if it was not read from the start. */
  async readStdout(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) this.stdout += text;
  }

  /** Closes the reading end of stdout, which is not being read. */
  closeStdout(): Promise<void> {
    return this.#child.stdout.cancel();
  }

  /** The access log's text at this moment. */
  log(): string {
    return Deno.readTextFileSync(this.accessLog);
  }

  /** The access log's lines at this moment. */
  lines(): Line[] {
    return parseLines(this.log());
  }

  /** What its process uses at this moment. */
  statistics(): Promise<ProcessStatistics> {
    return processStatistics(this.pid);
  }

  /** The TCP ports over IPv4 that it listens on at this moment. */
  listeningPorts(): Promise<number[]> {
    return listeningPorts(this.pid);
  }

  /** Waits until it does not listen any more, without connecting to it and without a process that a busy machine delays. */
  listenerClosed(): Promise<void> {
    return until(() => {
      try {
        Deno.listen(this.address).close();
        return true;
      } catch (error) {
        if (error instanceof Deno.errors.AddrInUse) return false;
        throw error;
      }
    });
  }

  /** Asks for a status line by SIGUSR2 and reads it. Only for diagnostics in text. */
  async status(): Promise<StatusLine> {
    const before = this.matches(STATUS_LINE).length;
    this.kill("SIGUSR2");
    return parseStatusLine(await this.line(STATUS_LINE, before + 1));
  }

  /**
   * Asks for status lines until one is as it should be.
   *
   * @param wanted Whether it is.
   * @returns That one.
   * @throws {Error} If none is in time; the message shows the last.
   */
  async statusWhen(wanted: (status: StatusLine) => boolean): Promise<StatusLine> {
    let status = await this.status();
    try {
      await until(async () => wanted(status) || wanted(status = await this.status()));
    } catch (cause) {
      throw new Error(`the status stays at ${JSON.stringify(status)}`, { cause });
    }
    return status;
  }

  /** Kills it and removes its temporary folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended.
    }
    await this.#child.status;
    await this.#streams;
    this.#folder[Symbol.dispose]();
  }
}
