/**
 * The lines of an access log.
 *
 * @module
 */

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
 * @throws {Error} If one is partial, or has another form.
 */
export function parseLines(text: string): Line[] {
  const lines = text.split("\n");
  if (lines.pop() !== "") throw new Error(`the last line is partial: ${text.slice(-80)}`);
  return lines.map((line) => {
    const [, client, bytes] = /^\[client (\d+)\]: received (\d+) bytes$/.exec(line) ?? [];
    if (client === undefined || bytes === undefined) {
      throw new Error(`not a line of the access log: "${line.slice(0, 200)}"`);
    }
    return { client: Number(client), bytes: Number(bytes) };
  });
}
