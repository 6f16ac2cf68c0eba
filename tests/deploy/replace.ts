/**
 * How a test makes a file of `deploy/` its own.
 *
 * @module
 */

/**
 * Replaces a text that must be there.
 *
 * @param text Where.
 * @param from What.
 * @param to By what.
 * @returns The text with every occurrence replaced.
 * @throws {Error} If there is none.
 */
export function replace(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`"${from}" is not there any more`);
  return text.replaceAll(from, to);
}
