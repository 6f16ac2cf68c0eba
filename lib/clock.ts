/**
 * The clock of the server: monotonic, so that a change of the wall clock changes no timeout.
 *
 * @module
 */

/** A clock, its timers and the event loop. Tests pass a fake. */
export interface Clock {
  /** Milliseconds since some fixed moment, never going backwards. */
  now(): number;
  /**
   * Calls back again and again until disposed of.
   *
   * @param ms Milliseconds between two calls.
   * @param callback What to call.
   * @returns Cancels the timer.
   */
  every(ms: number, callback: () => void): Disposable;
  /**
   * Calls back once, unless disposed of before.
   *
   * @param ms Milliseconds until the call.
   * @param callback What to call.
   * @returns Cancels the timer.
   */
  after(ms: number, callback: () => void): Disposable;
  /** Calls back once in the next event-loop iteration. */
  nextIteration(callback: () => void): void;
}

/** The system's monotonic clock: `performance.now` and Deno's timers. */
export const monotonic: Clock = {
  now: () => performance.now(),
  nextIteration: (callback) => void setImmediate(callback),
  every: (ms, callback) => setInterval(callback, ms),
  after: (ms, callback) => setTimeout(callback, ms),
};
