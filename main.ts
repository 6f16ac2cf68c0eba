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
import { closeDebugger } from "./lib/debugger.ts";
import { type Diagnostics, messageOf, setUpDiagnostics } from "./lib/diagnostics.ts";
import { addressOf, listen } from "./lib/listen.ts";
import { openLogFile } from "./lib/log_file.ts";
import { exportMetrics } from "./lib/metrics.ts";
import { HELP, type Options, parseOptions, WrongUsage } from "./lib/options.ts";
import { Server } from "./lib/server.ts";
import { report, write } from "./lib/stdio.ts";

/**
 * Serves as the command line says, until a signal ends it.
 *
 * @param args The command line.
 * @param build What `--version` says of where the program comes from.
 * @returns The exit status.
 */
export async function main(args: string[], build = "run from source"): Promise<number> {
  try {
    return await serve(await parseOptions(args), build);
  } catch (error) {
    if (error instanceof WrongUsage) return fail(`${error.message}; see --help`, 2);
    if (error instanceof CannotStart) return fail(error.message, 1);
    throw error;
  }
}

async function serve(options: Options | "help" | "version", build: string): Promise<number> {
  if (options === "help") return print(HELP);
  if (options === "version") return print(`echo-server ${config.version} (Deno ${Deno.version.deno}, ${build})\n`);

  Deno.stdout.close(); // nothing is printed there from here on: see report()
  const { diagnostics, status } = setUpDiagnostics({
    level: options.logLevel,
    format: options.logFormat,
    colors: Deno.stderr.isTerminal() && !Deno.noColor,
    write: report,
  });
  using listener = listen(options.hostname, options.port, options);
  const log = new AccessLog({
    open: () => openLogFile(options.accessLog),
    diagnostics,
    clock: monotonic,
    onRoom: () => server.changed(),
  });
  const server = new Server({ listener, log, diagnostics, clock: monotonic, limits: options });

  let stopping = false;
  const stop = () => {
    if (stopping) Deno.exit(closeLog(log, diagnostics));
    stopping = true;
    diagnostics.info("stopping: clients in hand have {seconds} s to finish", { seconds: options.drainTimeout });
    server.drain();
  };
  using signals = new DisposableStack();
  const on = (signal: Deno.Signal, listener: () => void) => {
    Deno.addSignalListener(signal, listener);
    signals.defer(() => Deno.removeSignalListener(signal, listener));
  };
  on("SIGTERM", stop);
  on("SIGINT", stop);
  on("SIGHUP", () => reopen(log, diagnostics));
  on("SIGUSR2", () => server.reportStatus(status));
  on("SIGUSR1", () => {
    server.reportStatus(status);
    closeDebugger().catch((error) => {
      diagnostics.error("the debugger that Deno opens on SIGUSR1 may be open: {cause}", { cause: messageOf(error) });
    });
  });

  diagnostics.info("listening on {address}, access log {path}", {
    address: addressOf(listener.addr.hostname, listener.addr.port),
    path: options.accessLog,
  });
  const served = server.serve();
  // Not before it accepts: where OpenTelemetry is off, it takes 1.5 ms to find that out.
  exportMetrics(Deno.telemetry.meterProvider, config.version, () => server.status);
  await served;
  return closeLog(log, diagnostics);
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

/** Closes the access log and prints the lines that it could not write. Returns the exit status. */
function closeLog(log: AccessLog, diagnostics: Diagnostics): number {
  const { queuedLines } = log;
  const left = log.close();
  if (left === "") return 0;
  diagnostics.error("{lines} lines could not be written to the access log and follow here", { lines: queuedLines });
  write(Deno.stderr, left);
  return 1;
}

function print(text: string): number {
  write(Deno.stdout, text);
  return 0;
}

/** Prints the one line of an error that the user can cause. */
function fail(message: string, status: number): number {
  write(Deno.stderr, `echo-server: ${message}\n`);
  return status;
}

// Not by Deno.exit, which can get stuck in an export of metrics that is under way.
if (import.meta.main) Deno.exitCode = await main(Deno.args);
