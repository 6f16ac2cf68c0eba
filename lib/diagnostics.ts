/**
 * The diagnostics: what the operator is told, on stderr.
 *
 * @module
 */

import {
  configureSync,
  getAnsiColorFormatter,
  getJsonLinesFormatter,
  getLogger,
  getTextFormatter,
  type LogLevel,
  type TextFormatter,
  type TextFormatterOptions,
} from "@logtape/logtape";

/** Reports a message whose `{placeholders}` are filled in with the properties. */
export type Report = (message: string, properties?: Record<string, unknown>) => void;

/** Where the parts of the program report to. */
export type Diagnostics = Readonly<Record<"debug" | "info" | "warn" | "error", Report>>;

/** How grave a report is, from the least. */
export type Level = "debug" | "info" | "warning" | "error";

/** How the diagnostics look. */
export type LogFormat = "text" | "json" | "journal";

/** What {@linkcode setUpDiagnostics} sets up. */
export interface DiagnosticsOptions {
  /** The least severe level that is reported. */
  level: Level;
  /** `text` for people, `json` for one JSON object a line, `journal` for systemd's journal. */
  format: LogFormat;
  /** Whether text has colours. */
  colors: boolean;
  /** Takes a line, its newline included. It may throw: a line that cannot be reported is lost, and nothing else. */
  write: (line: string) => void;
}

/** The priorities of sd-daemon(3). */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { trace: 7, debug: 7, info: 6, warning: 4, error: 3, fatal: 2 };

/**
 * Sets up the logger of the whole program.
 *
 * @param options How it looks and where it goes.
 * @returns Where to report to; and `status`, which is reported at every level since the operator has asked for it.
 */
export function setUpDiagnostics(options: DiagnosticsOptions): { diagnostics: Diagnostics; status: Diagnostics } {
  const format = formatter(options);
  const sinks = ["stderr"];
  configureSync({
    sinks: { stderr: (record) => options.write(format(record)) },
    loggers: [
      { category: ["echo-server"], lowestLevel: options.level, sinks },
      { category: ["echo-server", "status"], lowestLevel: "info", sinks, parentSinks: "override" },
      { category: ["logtape", "meta"], lowestLevel: "warning", sinks: [] },
    ],
    reset: true,
  });
  return { diagnostics: getLogger(["echo-server"]), status: getLogger(["echo-server", "status"]) };
}

function formatter({ format, colors }: DiagnosticsOptions): TextFormatter {
  if (format === "json") {
    const json = getJsonLinesFormatter();
    return (record) => json({ ...record, message: [record.message.join("")] }); // without quotes around each value
  }
  if (format === "journal") {
    // The journal has the time. sd-daemon(3): it takes the number for the line's priority.
    return getTextFormatter({
      value: "bare",
      format: ({ record, message }) => `<${PRIORITIES[record.level]}>${message}`,
    });
  }
  const options: TextFormatterOptions = {
    timestamp: "rfc3339",
    level: "full",
    value: "bare",
    format: ({ timestamp, level, message }) => `${timestamp} ${level}: ${message}`,
  };
  return colors ? getAnsiColorFormatter(options) : getTextFormatter(options);
}

/**
 * What an error says, for a report.
 *
 * @param error What was thrown.
 * @returns What it says.
 */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
