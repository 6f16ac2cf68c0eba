/**
 * What goes to stdout and stderr.
 *
 * @module
 */

import type { LogLevel } from "@logtape/logtape";

/** Where texts go: `Deno.stdout` and `Deno.stderr`. */
export interface Output {
  /** Writes some of the bytes and returns how many. */
  writeSync(bytes: Uint8Array): number;
}

/**
 * Writes a text whole.
 *
 * @param output Where to.
 * @param text The text.
 * @throws What `output` throws, such as {@linkcode Deno.errors.BrokenPipe}.
 */
export function write(output: Output, text: string): void {
  for (let rest = new TextEncoder().encode(text); rest.length > 0;) rest = rest.subarray(output.writeSync(rest));
}

/**
 * Reports a line on stderr. It goes through the console too, since that is what Deno makes log records of when
 * OpenTelemetry is on: a record has the level of the console's method.
 *
 * `Deno.stdout` must be closed before: the methods for the lower levels print to it, and only their record is wanted.
 *
 * @param line The line, its newline included.
 * @param level Its level.
 * @throws What writing to stderr throws.
 */
export function report(line: string, level: LogLevel): void {
  const text = line.slice(0, -1); // the console ends the line itself
  if (level === "error") return console.error(text);
  if (level === "warning") return console.warn(text);
  try {
    console[level === "info" ? "info" : "debug"](text);
  } catch {
    // It could not print to the closed stdout. The record is made.
  }
  write(Deno.stderr, line);
}
