/**
 * Draws choices from numbers.
 *
 * @module
 */

/** From this number on, the choices that can be drawn from a number do not run out. */
const ENDLESS = 2 ** 24;

/**
 * Draws choices from one number. A small number is used up after a few; from then on the first choice is drawn each
 * time. So a trace with smaller numbers is a simpler one, which is what shrinking needs.
 */
export class Draw {
  #rest: number;
  #next: number; // what is drawn from when the rest is used up; 0 if nothing is

  /** @param from The number, whole and below 2 ** 32. */
  constructor(from: number) {
    this.#rest = from;
    this.#next = from < ENDLESS ? 0 : from;
  }

  /** Draws a whole number from 0 to below `limit`; 0 if there is none. */
  below(limit: number): number {
    if (limit === 0) return 0;
    if (this.#rest === 0 && this.#next !== 0) {
      this.#next = Math.imul(this.#next ^ (this.#next >>> 15), 0x2c1b3c6d) >>> 0;
      this.#rest = (this.#next ^ (this.#next >>> 12)) >>> 0;
    }
    const drawn = this.#rest % limit;
    this.#rest = Math.floor(this.#rest / limit);
    return drawn;
  }

  /** Draws one of several values. */
  of<T>(first: T, ...others: T[]): T {
    return others[this.below(others.length + 1) - 1] ?? first;
  }
}
