/**
 * A TCP echo server: reads what a client sends until the client half-closes, sends exactly those bytes back, logs one
 * line and closes. `README.md` tells how to run it.
 *
 * @module
 */

import config from "./deno.json" with { type: "json" };
import { AccessLog } from "./lib/access_log.ts";
import { CannotStart } from "./lib/cannot_start.ts";
import { monotonic } from "./lib/clock.ts";
import { type Diagnostics, type LogFormat, messageOf, setUpDiagnostics } from "./lib/diagnostics.ts";
import { addressOf, listen } from "./lib/listen.ts";
import { openLogFile } from "./lib/log_file.ts";
import { exportMetrics } from "./lib/metrics.ts";
import { HELP, type Options, parseOptions, WrongUsage } from "./lib/options.ts";
import { Reports, stderr } from "./lib/reports.ts";
import { Server } from "./lib/server.ts";
import { write } from "./lib/stdio.ts";

/**
 * Serves as the command line says, until a signal ends it.
 *
 * @param args The command line.
 * @param build What `--version` says of where the program comes from.
 * @param os The system that this is.
 * @returns The exit status.
 */
export async function main(args: string[], build = "run from source", os = Deno.build.os): Promise<number> {
  let options: Options | "help" | "version" | undefined;
  try {
    options = await parseOptions(args);
    if (options === "help") return print(HELP);
    if (options === "version") return print(`echo-server ${config.version} (Deno ${Deno.version.deno}, ${build})\n`);
    return await serve(options, os);
  } catch (error) {
    if (error instanceof WrongUsage) return fail(`${error.message}; see --help`, 2, error.logFormat);
    if (error instanceof CannotStart) {
      return fail(error.message, 1, typeof options === "object" ? options.logFormat : "text");
    }
    throw error;
  }
}

async function serve(options: Options, os: typeof Deno.build.os): Promise<number> {
  const { logFormat, logLevel, accessLog } = options;
  const reports = new Reports({
    write: stderr(),
    onDropped: (count) => diagnostics.warn("{count} reports were dropped, since nobody read stderr", { count }),
    clock: monotonic,
  });
  const { diagnostics, status } = setUpDiagnostics({
    level: logLevel,
    format: logFormat,
    colors: Deno.stderr.isTerminal() && !Deno.noColor,
    write: (line) => reports.add(line),
  });
  using listener = listen(options.hostname, options.port, { reusePort: options.reusePort, os });
  const log = new AccessLog({ open: () => openLogFile(accessLog, os), diagnostics, clock: monotonic });
  const server = new Server({ listener, log, diagnostics, clock: monotonic, limits: options });

  const stop = () => {
    if (server.stop()) stopSignals[Symbol.dispose](); // a third one kills
  };
  const stopSignals = onSignals({ SIGTERM: stop, SIGINT: stop }, os);
  const hadTerminal = hasTerminal();
  // After listen(): that SIGUSR2 is caught tells a service manager that the server listens.
  onSignals({
    SIGHUP: () => hadTerminal && !hasTerminal() ? stop() : reopen(log, diagnostics),
    SIGUSR2: () => server.reportStatus(status),
    SIGUSR1: closeDebugger,
  }, os);

  const served = server.serve();
  // Nothing that takes time before it accepts: the first report loads a module, and so does asking for OpenTelemetry.
  const { hostname, port } = listener.addr;
  diagnostics.info("listening on {address}, access log {path}", {
    address: addressOf(hostname, port),
    path: accessLog,
  });
  if (options.maxMessage > options.maxBuffered) {
    diagnostics.warn("no message can be as large as --max-message, since --max-buffered is less");
  }
  exportMetrics(Deno.telemetry.meterProvider, config.version, () => server.status);
  await served;
  const left = log.close();
  if (left !== "") reportLeftOver(left, logFormat, diagnostics, reports);
  await reports.flush();
  return left === "" && !server.wornOut ? 0 : 1;
}

/** Listens for those of the signals that the system has. Disposing of it gives them back their ordinary meaning. */
function onSignals(actions: Partial<Record<Deno.Signal, () => void>>, os: typeof Deno.build.os): Disposable {
  const listening = new DisposableStack();
  for (const [name, action] of Object.entries(actions)) {
    if (os === "windows" && name.startsWith("SIGUSR")) continue;
    const signal = name as Deno.Signal;
    Deno.addSignalListener(signal, action);
    listening.defer(() => Deno.removeSignalListener(signal, action));
  }
  return listening;
}

/**
 * Deno opens a debugger on SIGUSR1, a moment before or after the listener of that signal is called. Left open, every user
 * of the machine could run code in the server. To close it needs no permission; to ask whether it is open would.
 */
async function closeDebugger(): Promise<void> {
  const { close } = await import("node:inspector");
  for (let tries = 0; tries < 50; tries++) {
    close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Whether any of the standard streams is a terminal that is still there. */
function hasTerminal(): boolean {
  return [Deno.stdin, Deno.stdout, Deno.stderr].some((stream) => stream.isTerminal());
}

/** Reopens the access log after a rotation; keeps the old file if the new one cannot be opened. */
function reopen(log: AccessLog, diagnostics: Diagnostics): void {
  try {
    log.reopen();
    diagnostics.info("access log reopened");
  } catch (error) {
    diagnostics.error("the old access log stays in use: {cause}", { cause: messageOf(error) });
  }
}

/** Reports the lines that the access log could not write. In text they stand as they would in the log. */
function reportLeftOver(left: string, format: LogFormat, diagnostics: Diagnostics, reports: Reports): void {
  const lines = left.split("\n").slice(0, -1);
  reports.maxQueued = Infinity; // a report that is dropped can be told, a line cannot
  diagnostics.error("{lines} lines could not be written to the access log and follow here", { lines: lines.length });
  for (const line of lines) format === "text" ? reports.add(`${line}\n`) : diagnostics.error("{line}", { line });
}

function print(text: string): number {
  try {
    write(Deno.stdout, text);
    return 0;
  } catch (error) {
    return fail(`cannot print to stdout: ${messageOf(error)}`, 1);
  }
}

/** Reports the one error that ends the program. Returns the exit status. */
function fail(message: string, status: number, format: LogFormat = "text"): number {
  const print = (text: string) => write(Deno.stderr, text);
  try {
    if (format === "text") print(`echo-server: ${message}\n`);
    else {setUpDiagnostics({ level: "error", format, colors: false, write: print }).diagnostics.error("{message}", {
        message,
      });}
  } catch {
    // Nobody is there to be told.
  }
  return status;
}

// Not by Deno.exit, which can get stuck in an export of metrics that is under way.
if (import.meta.main) Deno.exitCode = await main(Deno.args);
