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

/** A {@linkcode Clock} that moves only when the test moves it. */
export class FakeClock implements Clock {
  #now: number;
  #alarms: Alarm[] = [];

  /** @param now The time in milliseconds at which it starts. */
  constructor(now: number = 0) {
    this.#now = now;
  }

  /** Callbacks that are scheduled. */
  get pending(): number {
    return this.#alarms.length;
  }

  /** Callbacks that are due. */
  get due(): number {
    return this.#alarms.filter(({ at }) => at <= this.#now).length;
  }

  /** When the next callback is due. */
  get next(): number {
    return Math.min(...this.#alarms.map(({ at }) => at));
  }

  now(): number {
    return this.#now;
  }

  nextIteration(callback: () => void): void {
    setImmediate(callback);
  }

  every(ms: number, callback: () => void): Disposable {
    return this.#add({ at: this.#now + ms, every: ms, callback });
  }

  after(ms: number, callback: () => void): Disposable {
    return this.#add({ at: this.#now + ms, every: undefined, callback });
  }

  /**
   * Moves the clock forward, and calls back what becomes due, in order.
   *
   * @param ms Milliseconds.
   */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (; this.next <= end; this.fire()) this.set(this.next);
    this.set(end);
  }

  /**
   * Moves the clock forward without any callback.
   *
   * @param to The time in milliseconds. One in the past changes nothing.
   */
  set(to: number): void {
    this.#now = Math.max(this.#now, to);
  }

  /**
   * Calls back one of the callbacks that are due.
   *
   * @param which Its index among them, in the order of their times.
   */
  fire(which: number = 0): void {
    const due = this.#alarms.filter(({ at }) => at <= this.#now).sort((a, b) => a.at - b.at);
    const alarm = due[which];
    if (alarm === undefined) return;
    if (alarm.every === undefined) this.#alarms = this.#alarms.filter((other) => other !== alarm);
    else alarm.at = this.#now + alarm.every; // also if this call was late
    alarm.callback();
  }

  #add(alarm: Alarm): Disposable {
    this.#alarms.push(alarm);
    return { [Symbol.dispose]: () => void (this.#alarms = this.#alarms.filter((other) => other !== alarm)) };
  }
}
