/**
 * The lines that a program prints.
 *
 * @module
 */

/** Milliseconds after which a wait fails. Far more than any wait takes: it only ends a test that would hang. */
const DEADLINE = 20_000;

/** Collects the lines of a stream, and tells when one has come. */
export class Lines {
  /** The lines so far. */
  readonly all: string[] = [];
  /** Resolves when the stream is at its end. */
  readonly ended: Promise<void>;

  readonly #waiting = new Set<(line: string) => void>();

  /** @param stream Where the lines come from. It is read to its end. */
  constructor(stream: ReadableStream<Uint8Array<ArrayBuffer>>) {
    this.ended = this.#read(stream);
  }

  /**
   * Waits for a line, unless it is there already.
   *
   * @param pattern What it looks like.
   * @returns The first such line.
   * @throws {Error} If it does not come in time; the message shows what came.
   */
  async find(pattern: RegExp): Promise<string> {
    const found = this.all.find((line) => pattern.test(line));
    if (found !== undefined) return found;
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const look = (line: string) => pattern.test(line) && resolve(line);
    this.#waiting.add(look);
    const timer = setTimeout(() => {
      reject(new Error(`no line matches ${pattern}; these came last:\n${this.all.slice(-30).join("\n")}`));
    }, DEADLINE);
    try {
      return await promise;
    } finally {
      clearTimeout(timer);
      this.#waiting.delete(look);
    }
  }

  async #read(stream: ReadableStream<Uint8Array<ArrayBuffer>>): Promise<void> {
    let rest = "";
    for await (const text of stream.pipeThrough(new TextDecoderStream())) {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) {
        this.all.push(line);
        for (const look of this.#waiting) look(line);
      }
    }
  }
}
