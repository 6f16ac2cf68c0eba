/**
 * A clock that the test sets.
 *
 * @module
 */

import type { Clock } from "../../lib/clock.ts";

interface Alarm {
  at: number;
  every: number | undefined;
  callback: () => void;
}

/** A {@linkcode Clock} that stands still until the test moves it. */
export class FakeClock implements Clock {
  #now: number;
  #alarms: Alarm[] = [];

  /** @param now Milliseconds that it begins at. */
  constructor(now: number = 0) {
    this.#now = now;
  }

  /** Callbacks that are still to come. */
  get pending(): number {
    return this.#alarms.length;
  }

  /** Callbacks that are due by now. */
  get due(): number {
    return this.#alarms.filter(({ at }) => at <= this.#now).length;
  }

  /** When the next callback falls due. */
  get next(): number {
    return Math.min(...this.#alarms.map(({ at }) => at));
  }

  now(): number {
    return this.#now;
  }

  every(ms: number, callback: () => void): Disposable {
    return this.#add({ at: this.#now + ms, every: ms, callback });
  }

  after(ms: number, callback: () => void): Disposable {
    return this.#add({ at: this.#now + ms, every: undefined, callback });
  }

  /**
   * Moves the clock on and calls back what falls due, in order.
   *
   * @param ms Milliseconds.
   */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (; this.next <= end; this.fire()) this.set(this.next);
    this.set(end);
  }

  /**
   * Moves the clock on without any callback.
   *
   * @param to Milliseconds that it shows then.
   */
  set(to: number): void {
    this.#now = Math.max(this.#now, to);
  }

  /**
   * Calls back one of those that are due.
   *
   * @param which Which of them, counted from 0 in the order in which they fell due.
   */
  fire(which: number = 0): void {
    const due = this.#alarms.filter(({ at }) => at <= this.#now).sort((a, b) => a.at - b.at);
    const alarm = due[which];
    if (alarm === undefined) return;
    if (alarm.every === undefined) this.#alarms = this.#alarms.filter((other) => other !== alarm);
    else alarm.at = this.#now + alarm.every; // also after one that was late
    alarm.callback();
  }

  #add(alarm: Alarm): Disposable {
    this.#alarms.push(alarm);
    return { [Symbol.dispose]: () => void (this.#alarms = this.#alarms.filter((other) => other !== alarm)) };
  }
}
