/**
 * A TCP echo server: reads what a client sends until the client half-closes, sends exactly those bytes back, appends one
 * line to its access log and closes. `README.md` says how to run it.
 *
 * @module
 */

import config from "./deno.json" with { type: "json" };
import { AccessLog } from "./lib/access_log.ts";
import { monotonic } from "./lib/clock.ts";
import { errorMessage } from "./lib/errors.ts";
import { LineQueue, type Logger, setUpLogger } from "./lib/logger.ts";
import { exportMetrics } from "./lib/metrics.ts";
import { HELP, type Options, parseOptions, UsageError } from "./lib/options.ts";
import { Server } from "./lib/server.ts";
import { formatAddress, openListener, openLogFile, StartupError } from "./lib/startup.ts";

/** Milliseconds in which a repeated signal is the same one: on Ctrl-C the terminal and `deno task` send one each. */
const REPEAT_SIGNAL_WINDOW_MS = 1000;

/**
 * Parses the command line and runs the server until a signal stops it.
 *
 * @param args The command line.
 * @param build Where the program comes from, for `--version`.
 * @returns The exit status.
 */
export async function main(args: string[], build: string = "run from source"): Promise<number> {
  let options: Awaited<ReturnType<typeof parseOptions>>;
  try {
    options = await parseOptions(args);
    if (options === "help") console.log(HELP);
    if (options === "version") console.log(`echo-server ${config.version} (Deno ${Deno.version.deno}, ${build})`);
  } catch (error) {
    const isUsageError = error instanceof UsageError;
    console.error(`echo-server: ${errorMessage(error)}${isUsageError ? "; see --help" : ""}`);
    return isUsageError ? 2 : 1;
  }
  if (typeof options === "string") return 0;

  const stderr = new LineQueue((bytes) => Deno.stderr.write(bytes), monotonic, (lines) => {
    logger.error("{lines} lines were dropped here because stderr was not being read", { lines });
  });
  const { logger, statusLogger } = setUpLogger(options.logLevel, options.logFormat, (line) => stderr.add(line));
  let status = 1;
  try {
    const unwritten = await serve(options, logger, statusLogger);
    if (unwritten === "") status = 0;
    else {
      await stderr.flush(); // makes room: a full queue would drop these lines
      const lines = unwritten.trimEnd();
      logger.error(`these lines could not be written to the access log:\n${lines}`, { lines });
    }
  } catch (error) {
    if (!(error instanceof StartupError)) throw error;
    logger.error("{error}", { error: error.message });
  }
  // A write that blocks would keep the event loop alive for ever.
  if (!await stderr.flush() || status === 1 && options.accessLog === "-") Deno.exit(status);
  return status;
}

/** Serves until the server is drained or aborted. Returns the access log lines that could not be written. */
async function serve(options: Options, logger: Logger, statusLogger: Logger): Promise<string> {
  using listener = openListener(options.hostname, options.port, options.reusePort);
  const log = new AccessLog(() => openLogFile(options.accessLog), logger, monotonic);
  const server = new Server(listener, log, logger, monotonic, options);
  const hadTerminal = hasTerminal();
  let stoppedAt: number | undefined;

  const stop = () => {
    if (stoppedAt === undefined) {
      stoppedAt = monotonic.now();
      logger.info("draining: clients in flight have {seconds} s to finish", { seconds: options.drainTimeout });
      server.drain();
    } else if (monotonic.now() - stoppedAt >= REPEAT_SIGNAL_WINDOW_MS) {
      server.abort("not finished at the repeated signal");
    }
  };
  const actions: Partial<Record<Deno.Signal, () => void>> = {
    SIGTERM: stop,
    SIGINT: stop,
    SIGBREAK: stop, // Ctrl-Break, the only event of a Windows process in a group of its own
    SIGHUP: () => hadTerminal && !hasTerminal() ? stop() : log.reopen(),
    SIGXFSZ: () => {}, // a write beyond RLIMIT_FSIZE then fails with EFBIG and is handled like a full disk
    SIGUSR1: closeDebugger,
    SIGUSR2: () => server.reportStatus(statusLogger), // last: a service manager takes this handler as a sign of readiness
  };
  let isServing = true;
  for (const [signal, act] of Object.entries(actions)) {
    if (Deno.build.os === "windows" ? /USR|XFSZ/.test(signal) : signal === "SIGBREAK") continue;
    Deno.addSignalListener(signal as Deno.Signal, () => isServing && act());
  }

  const served = server.serve();
  // The first accept is pending: what takes time from here on delays no client.
  const address = formatAddress(listener.addr);
  logger.info("listening on {address}, access log {path}", { address, path: options.accessLog });
  exportMetrics(Deno.telemetry.meterProvider, config.version, () => server.status);
  await served;
  isServing = false; // the rest is quick, and no signal should interrupt it
  return log.close();
}

/** Whether one of the standard streams is a terminal that has not been closed. */
function hasTerminal(): boolean {
  return [Deno.stdin, Deno.stdout, Deno.stderr].some((stream) => stream.isTerminal());
}

/**
 * Deno opens a debugger on SIGUSR1, a moment before or after the listener of that signal is called. If it stayed open, any
 * local user could run code in the server. Closing it needs no permission; asking whether it is open would.
 */
async function closeDebugger(): Promise<void> {
  const { close } = await import("node:inspector");
  for (let tries = 0; tries < 50; tries++) {
    close();
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

// By emptying the event loop, because Deno.exit can hang while metrics are being exported.
if (import.meta.main) Deno.exitCode = await main(Deno.args);
