/**
 * Root or not, and root made ordinary: file modes do not stop the real one.
 *
 * @module
 */

import { canRun } from "./program.ts";

/** Whether the tests run as root. */
export const isRoot: boolean = canRun && output("id", "-u") === "0\n";

/** A command that executes its arguments without root's privileges. */
const SETPRIV = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

/** A command that executes its arguments such that file modes apply to them; `undefined` if this machine has none. */
export const ordinary: string[] | undefined = !isRoot ? [] : output(...SETPRIV, "echo") === "\n" ? SETPRIV : undefined;

function output(command: string = "", ...args: string[]): string {
  try {
    return new TextDecoder().decode(new Deno.Command(command, { args, stderr: "null" }).outputSync().stdout);
  } catch {
    return ""; // there is no such command
  }
}
