/**
 * Reads a systemd unit.
 *
 * @module
 */

const UNITS: Record<string, number> = { "": 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3 };

/** The settings of a unit. */
export class Unit {
  readonly #settings = new Map<string, string[]>();

  /** @param text The unit file's content. */
  constructor(text: string) {
    const lines = text.replaceAll("\\\n", " ").split("\n");
    for (const line of lines) {
      const [, name, value] = /^(\w+)=(.*)$/.exec(line) ?? [];
      if (name === undefined || value === undefined) continue;
      this.#settings.set(name, [...this.#settings.get(name) ?? [], value.replaceAll(/\s+/g, " ")]);
    }
  }

  /** The names of all settings. */
  get names(): string[] {
    return [...this.#settings.keys()];
  }

  /** All values of a setting. */
  all(name: string): string[] {
    return this.#settings.get(name) ?? [];
  }

  /**
   * The value of a setting.
   *
   * @throws {Error} If it does not occur exactly once.
   */
  get(name: string): string {
    const [value, ...more] = this.all(name);
    if (value === undefined || more.length > 0) throw new Error(`the unit must have exactly one ${name}=`);
    return value;
  }

  /**
   * The value of a setting that is a number, or a size such as `3G`.
   *
   * @throws {Error} If it is neither.
   */
  number(name: string): number {
    const [, digits, unit = ""] = /^(\d+)([KMG]?)$/.exec(this.get(name)) ?? [];
    if (digits === undefined) throw new Error(`${name}=${this.get(name)} is not a number`);
    return Number(digits) * (UNITS[unit] ?? NaN);
  }
}
