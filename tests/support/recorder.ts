/**
 * Records what is reported to the diagnostics.
 *
 * @module
 */

import { type Logger, setUpLogger } from "../../lib/logger.ts";

/** One report, as it looks with `--log-format=json`. */
export interface Report {
  /** `DEBUG`, `INFO`, `WARN` or `ERROR`. */
  level: string;
  /** The message, its placeholders filled in. */
  message: string;
  /** The values of the placeholders. */
  properties: Record<string, unknown>;
}

/**
 * Sets up a logger whose reports are only recorded. It is one for the whole process: call it once a test.
 *
 * @param onReport Called with each report.
 * @returns The logger, and what has been reported.
 */
export function recorder(onReport?: (report: Report) => void): { logger: Logger; reports: Report[] } {
  const reports: Report[] = [];
  const { logger } = setUpLogger("debug", "json", (line) => {
    const report: Report = JSON.parse(line);
    reports.push(report);
    onReport?.(report);
  });
  return { logger, reports };
}
