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
 * Closes the debugger that Deno, from 2.9.2 on, opens at 127.0.0.1:9229 on SIGUSR1 whatever the program does with that
 * signal. Left open, every user of the machine could run code in the server.
 *
 * @returns Resolves half a second later, when it is closed for good.
 */
export async function closeDebugger(): Promise<void> {
  const inspector = await import("node:inspector");
  for (let i = 0; i < TRIES; i++) {
    inspector.close();
    await new Promise((resolve) => setTimeout(resolve, INTERVAL));
  }
}
