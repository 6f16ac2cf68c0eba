/**
 * A clock that the test turns by hand.
 *
 * @module
 */

import type { Clock } from "../lib/clock.ts";

interface Alarm {
  at: number;
  every: number | undefined;
  callback: () => void;
}

/** A {@linkcode Clock} that stands still until it is turned. */
export class FakeClock implements Clock {
  #now = 0;
  readonly #alarms = new Set<Alarm>();

  /** Callbacks that are still to come. */
  get pending(): number {
    return this.#alarms.size;
  }

  now(): number {
    return this.#now;
  }

  every(ms: number, callback: () => void): Disposable {
    return this.#set({ at: this.#now + ms, every: ms, callback });
  }

  after(ms: number, callback: () => void): Disposable {
    return this.#set({ at: this.#now + ms, every: undefined, callback });
  }

  /**
   * Turns the clock and calls back what falls due, in order.
   *
   * @param ms Milliseconds.
   */
  turn(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const [next] = [...this.#alarms].sort((a, b) => a.at - b.at);
      if (next === undefined || next.at > end) break;
      this.#now = next.at;
      if (next.every === undefined) this.#alarms.delete(next);
      else next.at += next.every;
      next.callback();
    }
    this.#now = end;
  }

  #set(alarm: Alarm): Disposable {
    this.#alarms.add(alarm);
    return { [Symbol.dispose]: () => void this.#alarms.delete(alarm) };
  }
}
