/**
 * The time that the server goes by: monotonic, so that a change of the wall clock changes no timeout.
 *
 * @module
 */

/** A clock that can be waited on. Tests hand in one that they turn themselves. */
export interface Clock {
  /** Milliseconds since some fixed moment, never going backwards. */
  now(): number;
  /**
   * Calls back again and again until disposed of.
   *
   * @param ms Milliseconds between two calls.
   * @param callback What to call.
   * @returns What ends the calls.
   */
  every(ms: number, callback: () => void): Disposable;
  /**
   * Calls back once, unless disposed of before.
   *
   * @param ms Milliseconds until the call.
   * @param callback What to call.
   * @returns What calls it off.
   */
  after(ms: number, callback: () => void): Disposable;
}

/** The system's monotonic clock: `performance.now` and Deno's timers. */
export const monotonic: Clock = {
  now: () => performance.now(),
  every(ms, callback) {
    const id = setInterval(callback, ms);
    return { [Symbol.dispose]: () => clearInterval(id) };
  },
  after(ms, callback) {
    const id = setTimeout(callback, ms);
    return { [Symbol.dispose]: () => clearTimeout(id) };
  },
};
