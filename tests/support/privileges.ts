/**
 * Root, and root without its privileges: file modes do not stop the real one.
 *
 * @module
 */

import { runSync, succeeds } from "./commands.ts";
import { canRun } from "./permissions.ts";

/** Whether the tests run as root. */
export const isRoot: boolean = canRun && runSync(["id", "-u"]).stdout === "0\n";

/** A command that executes its arguments without root's privileges. */
const SETPRIV = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];

/** A command that executes its arguments such that file modes apply to them; `undefined` if this machine has none. */
export const unprivileged: string[] | undefined = !isRoot ? [] : succeeds(...SETPRIV, "true") ? SETPRIV : undefined;
