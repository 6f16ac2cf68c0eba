/**
 * Waits for the event loop.
 *
 * @module
 */

/** Milliseconds after which a wait fails. Far more than any wait takes: it only ends a test that would hang. */
const DEADLINE = 10_000;

/** Lets the event loop go round once: all that is due by then has run. */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/**
 * Waits until something is so; looks once a turn of the event loop.
 *
 * @param isSo Whether it is.
 * @param what What is waited for, for the error's message.
 * @throws {Error} If it is not so in time.
 */
export async function until(isSo: () => boolean, what: string): Promise<void> {
  for (const start = performance.now(); !isSo();) {
    if (performance.now() - start > DEADLINE) throw new Error(`waited ${DEADLINE / 1000} s for ${what}`);
    await nextTurn();
  }
}
