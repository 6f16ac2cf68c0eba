/**
 * What is printed at once, to stdout or stderr.
 *
 * @module
 */

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
