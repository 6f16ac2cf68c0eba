/**
 * The diagnostics: a logger, and the queue in which its lines wait for stderr.
 *
 * @module
 */

import { configureSync, getJsonLinesFormatter, getLogger, getTextFormatter } from "@logtape/logtape";
import type { Logger as LogTapeLogger, TextFormatter } from "@logtape/logtape";
import type { Clock } from "./clock.ts";

/** Where the parts of the program report to. `{placeholders}` in a message are filled in from the properties. */
export type Logger = Pick<LogTapeLogger, "debug" | "info" | "warn" | "error">;

/** The levels that `--log-level` takes, from the least severe. */
export const LOG_LEVELS = ["debug", "info", "warning", "error"] as const;

/** The formats that `--log-format` takes: for people, one JSON object a line, for systemd's journal. */
export const LOG_FORMATS = ["text", "json", "journal"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** One of {@linkcode LOG_FORMATS}. */
export type LogFormat = typeof LOG_FORMATS[number];

/** The prefixes by which the journal knows the priority of a line (sd-daemon(3)). */
const PRIORITIES = { trace: "<7>", debug: "<7>", info: "<6>", warning: "<4>", error: "<3>", fatal: "<2>" };

/** Characters of lines that may be queued besides those being written: enough for 10,000 clients dropped at once. */
const MAX_QUEUED_CHARACTERS = 4_194_304;

/** Bytes of one write: few, so that a slow reader is seen to make progress. */
const MAX_WRITE_BYTES = 4096;

/** Milliseconds without progress after which {@linkcode LineQueue.flush} gives up. */
const FLUSH_TIMEOUT_MS = 1000;

/**
 * Sets up the logger of the process.
 *
 * @param level The least severe level that is reported.
 * @param format The format of a line.
 * @param write Takes a line, its newline included.
 * @returns The logger, and one whose lines are reported at every level since the operator has asked for them.
 */
export function setUpLogger(level: LogLevel, format: LogFormat, write: (line: string) => void) {
  const toLine = formatter(format);
  const sinks = ["stderr"];
  configureSync({
    sinks: { stderr: (record) => write(toLine(record)) },
    loggers: [
      { category: ["echo-server"], lowestLevel: level, sinks },
      { category: ["echo-server", "status"], lowestLevel: "info", sinks, parentSinks: "override" },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: [] },
    ],
    reset: true,
  });
  return { logger: getLogger(["echo-server"]), statusLogger: getLogger(["echo-server", "status"]) };
}

function formatter(format: LogFormat): TextFormatter {
  if (format === "json") {
    const json = getJsonLinesFormatter();
    return (record) => json({ ...record, message: [record.message.join("")] }); // no quotes around each value
  }
  return getTextFormatter({
    timestamp: "rfc3339",
    level: "full",
    value: "bare",
    // The journal adds the time itself.
    format: ({ timestamp, level, message, record }) =>
      format === "journal" ? message.replace(/^/gm, PRIORITIES[record.level]) : `${timestamp} ${level}: ${message}`,
  });
}

/**
 * Lines on their way to stderr. Serving never waits for them: while stderr is not read, lines queue up to a bound; beyond
 * it they are dropped and counted. A line that cannot be written is lost, and nothing else.
 *
 * @example Report a line
 * ```ts ignore
 * const queue = new LineQueue((bytes) => Deno.stderr.write(bytes), monotonic, (dropped) => logger.warn(`${dropped} dropped`));
 * queue.add("listening\n");
 * await queue.flush();
 * ```
 */
export class LineQueue {
  #queued = "";
  #dropped = 0;
  #writes = 0; // that have ended
  #writing: Promise<void> | undefined;

  /**
   * Makes an empty queue.
   *
   * @param write Writes some of the bytes and resolves with how many. Called again when it has resolved.
   * @param clock What {@linkcode LineQueue.flush} is timed by.
   * @param onDropped Called after lines have been dropped, with how many, once lines are taken again. It may add a line.
   * @param maxQueued Characters that may be queued besides those being written.
   */
  constructor(
    private readonly write: (bytes: Uint8Array) => Promise<number>,
    private readonly clock: Clock,
    private readonly onDropped: (lines: number) => void,
    private readonly maxQueued: number = MAX_QUEUED_CHARACTERS,
  ) {}

  /** Queues a line, its newline included, or drops it if too much is queued. */
  add(line: string): void {
    if (this.#queued.length >= this.maxQueued) return void this.#dropped++;
    this.#queued += line;
    this.#writing ??= this.#writeAll();
  }

  /** Resolves when all lines are written, with `true`; or with `false` when for a second none of them could be. */
  async flush(): Promise<boolean> {
    for (let seen = -1; this.#writing !== undefined && this.#writes !== seen;) {
      seen = this.#writes;
      const { promise, resolve } = Promise.withResolvers<void>();
      using _ = this.clock.after(FLUSH_TIMEOUT_MS, resolve);
      await Promise.race([this.#writing, promise]);
    }
    return this.#writing === undefined;
  }

  async #writeAll(): Promise<void> {
    while (this.#queued !== "") {
      let rest = new TextEncoder().encode(this.#queued);
      const dropped = this.#dropped;
      this.#queued = "";
      this.#dropped = 0;
      if (dropped > 0) this.onDropped(dropped);
      try {
        for (; rest.length > 0; this.#writes++) {
          rest = rest.subarray(await this.write(rest.subarray(0, MAX_WRITE_BYTES)));
        }
      } catch {
        // stderr is closed, or its disk is full: there is nowhere to report that.
      }
    }
    this.#writing = undefined;
  }
}
