/** Reports on stderr how far a run is. */
export class Progress {
  readonly #steps: number;
  readonly #begin = performance.now();
  #step = 0;

  /** @param steps How many steps there will be. */
  constructor(steps: number) {
    this.#steps = steps;
  }

  /** The next step begins. */
  step(what: string): void {
    this.#show(`[${++this.#step}/${this.#steps}, ${((performance.now() - this.#begin) / 1000).toFixed(0)} s] ${what}`);
  }

  /** All steps are done. */
  end(): void {
    this.#show(`${this.#steps} measurements in ${((performance.now() - this.#begin) / 1000).toFixed(0)} s\n`);
  }

  #show(text: string): void {
    // On a terminal each line replaces the previous one.
    const line = Deno.stderr.isTerminal() ? `\r\x1b[K${text}` : text.replace(/\n?$/, "\n");
    Deno.stderr.writeSync(new TextEncoder().encode(line));
  }
}
