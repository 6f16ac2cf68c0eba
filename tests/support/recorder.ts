/**
 * Records what is reported to the diagnostics.
 *
 * @module
 */

import { type Diagnostics, setUpDiagnostics } from "../../lib/diagnostics.ts";

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
 * Sets up diagnostics that are only recorded. The logger is one for the whole process: call it once a test.
 *
 * @param onReport Called with each report.
 * @returns Where to report to, and what has been reported.
 */
export function recorder(onReport?: (report: Report) => void): { diagnostics: Diagnostics; reports: Report[] } {
  const reports: Report[] = [];
  const write = (line: string) => {
    const report: Report = JSON.parse(line);
    reports.push(report);
    onReport?.(report);
  };
  return {
    diagnostics: setUpDiagnostics({ level: "debug", format: "json", colors: false, write }).diagnostics,
    reports,
  };
}
