/**
 * Waits that fail instead of hanging.
 *
 * @module
 */

/** Milliseconds after which a wait fails. No wait takes as long: it only ends a test that would hang. */
const DEADLINE_MS = 30_000;

/** Milliseconds between two polls of a condition. */
const POLL_INTERVAL_MS = 5;

/** Waits for one event-loop iteration, in which all microtasks and the timers that are due run. */
export function nextIteration(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, 0));
}

/** Waits for some milliseconds. */
export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Polls a condition until it holds.
 *
 * @param condition The condition.
 * @param what What is waited for, for the error's message. Default: the condition's source.
 * @throws {Error} If it does not hold in time.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string | (() => string) = () => `${condition}`,
): Promise<void> {
  for (const start = performance.now(); !(await condition());) {
    if (performance.now() - start > DEADLINE_MS) throw timedOut(what);
    await delay(POLL_INTERVAL_MS);
  }
}

/**
 * Waits for a promise.
 *
 * @param promise The promise.
 * @param what What is waited for, for the error's message.
 * @throws {Error} If it does not settle in time.
 */
export async function settles<T>(promise: Promise<T>, what: string | (() => string)): Promise<T> {
  const { promise: timeout, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(timedOut(what)), DEADLINE_MS);
  try {
    return await Promise.race([promise, timeout]);
  } finally {
    clearTimeout(timer);
  }
}

function timedOut(what: string | (() => string)): Error {
  return new Error(`waited ${DEADLINE_MS / 1000} s for ${typeof what === "string" ? what : what()}`);
}
