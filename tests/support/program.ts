/**
 * The whole program as a subprocess, with exactly the two permissions that it is documented to need.
 *
 * @module
 */

import { granted } from "./permissions.ts";

/** Milliseconds after which a wait fails. Far more than any wait takes: it only ends a test that would hang. */
const DEADLINE = 20_000;

/** Clock ticks a second in `/proc`: the same on every Linux. */
const TICKS_PER_SECOND = 100;

/** The folder that `main.ts` is in. */
const ROOT = new URL("../..", import.meta.url);

/** Whether this test run may start the program, talk to it and look after it. */
export const canRun: boolean = granted(
  { name: "run" },
  { name: "net" },
  { name: "read" },
  { name: "write" },
);

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
  /** The access log. Default: one in a folder that is missing yet, in a temporary folder of its own. */
  accessLog?: string;
  /** A command that ends by executing its arguments, and so becomes the program, such as `["nice"]`. */
  launcher?: string[];
  /** Environment variables besides the inherited ones. */
  env?: Record<string, string>;
  /** Flags for Deno, such as `--inspect`. */
  deno?: string[];
  /** The script that is run. Default: `main.ts`. */
  script?: string;
  /** Called with the process before anything is waited for. */
  onSpawn?: (process: Deno.ChildProcess) => void;
  /** The command that is run in place of the usual one. `hostname` and `accessLog` must say what it does. */
  command?: string[];
}

/** What the kernel says of the program's process. */
export interface Figures {
  /** Seconds of CPU used since it was started, in all its threads. */
  cpu: number;
  /** Resident memory at this moment, in bytes. */
  resident: number;
  /** The most resident memory there ever was, in bytes. */
  residentPeak: number;
  /** Descriptors that are open. */
  descriptors: number;
}

/** The figures of the program's status line. */
export interface StatusLine {
  /** Clients in flight. */
  active: number;
  /** Clients served to the end. */
  served: number;
  /** Bytes echoed to them. */
  bytes: number;
  /** Bytes of memory that messages hold. */
  buffered: number;
  /** Lines that wait for the disk. */
  queued: number;
  /** Clients dropped because they reset the connection. */
  reset: number;
  /** Clients dropped because no byte moved for too long. */
  idle: number;
  /** Clients dropped because their message was too large. */
  message: number;
  /** Clients dropped because all messages together were too large. */
  buffers: number;
  /** Clients dropped at the drain timeout. */
  drain: number;
  /** Clients dropped for any other reason. */
  failed: number;
  /** Clients that were gone before they were accepted. */
  goneBeforeAccept: number;
}

/** What every status line in text looks like. */
export const STATUS_LINE =
  /: up [\d.]+ s: (\d+) clients active, (\d+) served, (\d+) bytes echoed, (\d+) bytes buffered, (\d+) lines queued; dropped: (\d+) reset, (\d+) idle, (\d+) over the message limit, (\d+) over the buffer limit, (\d+) at the drain timeout, (\d+) failed; (\d+) gone before accept$/;

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
  /** The lines on stderr so far. */
  readonly stderr: string[] = [];
  /** What came on stdout so far. */
  stdout = "";

  readonly #child: Deno.ChildProcess;
  readonly #folder: string;
  readonly #streams: Promise<unknown>;
  readonly #waiting = new Set<() => void>(); // each looks at the lines again
  #ended = false; // whether stderr is at its end

  private constructor(options: StartOptions) {
    this.#folder = Deno.makeTempDirSync({ prefix: "echo-server-" });
    this.accessLog = options.accessLog ?? `${this.#folder}/log/access.log`;
    const hostname = options.hostname ?? "127.0.0.1";
    const port = options.port ?? 0;
    this.address.hostname = hostname === "0.0.0.0" ? "127.0.0.1" : hostname;
    const [command = "", ...args] = options.command ?? [
      ...options.launcher ?? [],
      ...[Deno.execPath(), "run", "--no-prompt"],
      `--allow-net=${hostname}:${port}`,
      `--allow-write=${this.accessLog.slice(0, this.accessLog.lastIndexOf("/"))}`,
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
    this.#streams = Promise.all([this.#readStdout(), this.#readStderr()]);
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

  /**
   * Waits for a line on stderr, unless it is there already.
   *
   * @param pattern What the line is to match.
   * @param nth Which of the matching lines, counted from 1.
   * @returns The match.
   * @throws {Error} If the program ends without it, or it does not come in time; the message shows what came.
   */
  async line(pattern: RegExp, nth: number = 1): Promise<RegExpExecArray> {
    const found = () => this.matches(pattern)[nth - 1];
    await this.#wait(() => found() !== undefined || this.#ended, () => `line ${nth} that matches ${pattern}`);
    const match = found();
    if (match === undefined) {
      throw new Error(`the program ended without line ${nth} that matches ${pattern}${this.#said}`);
    }
    return match;
  }

  /** The lines on stderr so far that match. */
  matches(pattern: RegExp): RegExpExecArray[] {
    return this.stderr.map((line) => pattern.exec(line)).filter((match) => match !== null);
  }

  /** Sends it a signal. */
  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /**
   * Waits until it has ended.
   *
   * @returns Its exit status; 128 and the signal's number when a signal ended it.
   * @throws {Error} If it does not end in time.
   */
  async exit(): Promise<number> {
    await this.#wait(() => this.#ended, () => "the end of the program");
    await this.#streams;
    return (await this.#child.status).code;
  }

  /** The access log's text at this moment. */
  log(): string {
    return Deno.readTextFileSync(this.accessLog);
  }

  /** The access log's lines at this moment. */
  lines(): Line[] {
    return parseLines(this.log());
  }

  /** What the kernel says of its process at this moment. */
  async figures(): Promise<Figures> {
    // Deno itself reads nothing in /proc unless it is granted everything.
    const read = `cd /proc/${this.pid} && cat stat status && echo Descriptors: $(ls fd | wc -l)`;
    const { stdout } = await new Deno.Command("sh", { args: ["-c", read] }).output();
    const [stat = "", ...status] = new TextDecoder().decode(stdout).split("\n");
    const number = (name: string) => parseInt(status.find((line) => line.startsWith(`${name}:`))?.split(":")[1] ?? "");
    // After the name, which stands in parentheses, the fields are counted from the third: state.
    const fields = stat.replace(/^.*\) /, "").split(" ");
    return {
      cpu: (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND,
      resident: number("VmRSS") * 1024,
      residentPeak: number("VmHWM") * 1024,
      descriptors: number("Descriptors"),
    };
  }

  /** The TCP ports over IPv4 that it listens on at this moment. */
  async listeningPorts(): Promise<number[]> {
    const read = `cd /proc/${this.pid} && ls -l fd && cat net/tcp`;
    const { stdout } = await new Deno.Command("sh", { args: ["-c", read] }).output();
    const text = new TextDecoder().decode(stdout);
    const inodes = new Set(Array.from(text.matchAll(/socket:\[(\d+)\]/g), ([, inode]) => inode));
    return text.split("\n").map((line) => line.trim().split(/\s+/))
      .filter(([, , , state, , , , , , inode]) => state === "0A" && inodes.has(inode))
      .map(([, local]) => parseInt(local?.split(":")[1] ?? "", 16));
  }

  /** Asks for a status line by SIGUSR2 and reads it. Only for diagnostics in text. */
  async status(): Promise<StatusLine> {
    const before = this.matches(STATUS_LINE).length;
    this.kill("SIGUSR2");
    const [active = 0, served = 0, bytes = 0, buffered = 0, queued = 0, ...dropped] =
      (await this.line(STATUS_LINE, before + 1)).slice(1).map(Number);
    const [reset = 0, idle = 0, message = 0, buffers = 0, drain = 0, failed = 0, goneBeforeAccept = 0] = dropped;
    return { active, served, bytes, buffered, queued, reset, idle, message, buffers, drain, failed, goneBeforeAccept };
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
    await Deno.remove(this.#folder, { recursive: true });
  }

  async #readStdout(): Promise<void> {
    for await (const text of this.#child.stdout.pipeThrough(new TextDecoderStream())) this.stdout += text;
  }

  async #readStderr(): Promise<void> {
    let rest = "";
    for await (const text of this.#child.stderr.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      this.stderr.push(...lines);
      this.#look();
    }
    if (rest !== "") this.stderr.push(rest);
    this.#ended = true;
    this.#look();
  }

  #look(): void {
    for (const look of this.#waiting) look();
  }

  /** Waits until something is so of the lines; looks when a line comes. */
  async #wait(isSo: () => boolean, what: () => string): Promise<void> {
    if (isSo()) return;
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    const look = () => isSo() && resolve();
    this.#waiting.add(look);
    const timer = setTimeout(() => {
      reject(new Error(`waited ${DEADLINE / 1000} s for ${what()}${this.#said}`));
    }, DEADLINE);
    try {
      await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(look);
    }
  }

  get #said(): string {
    return `; on stderr came:\n${this.stderr.slice(-30).join("\n")}`;
  }
}

/** A line of the access log. */
export interface Line {
  /** The client's number. */
  client: number;
  /** Bytes received from it. */
  bytes: number;
}

/**
 * Reads lines of an access log.
 *
 * @param text The lines.
 * @returns What they say, in their order.
 * @throws {Error} If one is not whole.
 */
export function parseLines(text: string): Line[] {
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new Error(`the last line is torn: ${text.slice(-80)}`);
  return lines.map((line) => {
    const [, client, bytes] = /^\[client (\d+)\]: received (\d+) bytes$/.exec(line) ?? [];
    if (client === undefined || bytes === undefined) throw new Error(`not a line of the access log: "${line}"`);
    return { client: Number(client), bytes: Number(bytes) };
  });
}

/**
 * Looks at something again and again until it is so.
 *
 * @param isSo Whether it is.
 * @throws {Error} If it is not in time; the message shows the condition.
 */
export async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
  for (const start = performance.now(); !(await isSo());) {
    if (performance.now() - start > DEADLINE) throw new Error(`waited ${DEADLINE / 1000} s in vain for ${isSo}`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** What a run left behind that ended by itself. */
export interface Ended {
  /** The exit status. */
  code: number;
  /** What came on stdout. */
  stdout: string;
  /** What came on stderr. */
  stderr: string;
}

/**
 * Runs the program until it ends by itself.
 *
 * @param permissions Deno's flags, such as `--allow-net`.
 * @param flags The program's own.
 * @param launcher A command that ends by executing its arguments.
 * @returns What it left behind.
 */
export async function runToEnd(permissions: string[], flags: string[], launcher: string[] = []): Promise<Ended> {
  const [command = "", ...args] = [
    ...launcher,
    ...[Deno.execPath(), "run", "--no-prompt"],
    ...permissions,
    "main.ts",
    ...flags,
  ];
  const signal = AbortSignal.timeout(DEADLINE);
  const { code, stdout, stderr } = await new Deno.Command(command, { args, cwd: ROOT, stdin: "null", signal }).output();
  const decoder = new TextDecoder();
  return { code, stdout: decoder.decode(stdout), stderr: decoder.decode(stderr) };
}
