/**
 * Adapts a file of `deploy/` to a test.
 *
 * @module
 */

/**
 * Replaces every occurrence of a string in a text.
 *
 * @throws {Error} If there is none.
 */
export function replace(text: string, from: string, to: string): string {
  if (!text.includes(from)) throw new Error(`"${from}" is no longer in the text`);
  return text.replaceAll(from, to);
}
