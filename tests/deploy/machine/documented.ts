/**
 * The commands in `deploy/README.md`.
 *
 * @module
 */

const README = new URL("../../../deploy/README.md", import.meta.url);

/**
 * Finds commands, to run them exactly as documented.
 *
 * @param first What the first line of the commands begins with.
 * @returns The whole block that begins so, as a script.
 * @throws {Error} If there is no such block.
 */
export function documented(first: string): string {
  const blocks = Deno.readTextFileSync(README).split(/\n(?! {4})/).map((text) =>
    text.split("\n").filter((line) => line.startsWith("    ")).map((line) => line.slice(4)).join("\n")
  );
  const block = blocks.find((block) => block.startsWith(first));
  if (block === undefined) throw new Error(`deploy/README.md has no commands that begin with "${first}"`);
  return block;
}
