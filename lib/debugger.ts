/**
 * The debugger that nobody asked for.
 *
 * @module
 */

/** Tries to close it: Deno opens it a moment after or before the program's own listener runs. */
const TRIES = 50;

/** Milliseconds between two tries. */
const INTERVAL = 10;

/**
 * Gets ready to close the debugger that Deno, from 2.9.2 on, opens at 127.0.0.1:9229 on SIGUSR1 whatever the program
 * does with that signal. Left open, every user of the machine could run code in the server.
 *
 * To be called at the start: a debugger that is open then was asked for, by `--inspect`, and is left alone.
 *
 * @returns What to call on SIGUSR1. It resolves half a second later, when the debugger is closed for good.
 */
export async function debuggerCloser(): Promise<() => Promise<void>> {
  const inspector = await import("node:inspector");
  const askedFor = isOpen(inspector);
  return async () => {
    for (let i = 0; i < TRIES && !askedFor; i++) {
      inspector.close();
      await new Promise((resolve) => setTimeout(resolve, INTERVAL));
    }
  };
}

function isOpen(inspector: typeof import("node:inspector")): boolean {
  try {
    return inspector.url() !== undefined;
  } catch { // without the permission to ask; to open a second one takes the same, but is first refused for another reason
    try {
      inspector.open();
    } catch (error) {
      return error instanceof Error && "code" in error && error.code === "ERR_INSPECTOR_ALREADY_ACTIVATED";
    }
    return false;
  }
}
