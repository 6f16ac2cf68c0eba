/**
 * Reports on their way to stderr, for whoever reads them, whenever that is.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** Writes all bytes; resolves when somebody has taken them, and rejects when nobody ever will. */
export type Write = (bytes: Uint8Array) => Promise<unknown>;

/** What a {@linkcode Reports} works with. */
export interface ReportsOptions {
  /** Where the reports go. Called with the next bytes when the last call has resolved. */
  write: Write;
  /** Called when reports have been dropped and others are taken again, with how many were. It may add one that says so. */
  onDropped: (reports: number) => void;
  /** What the wait at the end is timed by. */
  clock: Clock;
}

/** Characters of reports that may wait, besides those that are being written: enough when 10,000 clients are dropped at once. */
const MAX_QUEUED = 4_194_304;

/** Bytes of a write: as much as a pipe of Linux holds (pipe(7)). */
const PIECE = 65_536;

/** Milliseconds without a byte read after which nobody is taken to read. */
const NOBODY_READS_AFTER = 1000;

/**
 * A queue of reports that nobody waits for. While stderr is not read, reports wait up to a bound; those beyond it are
 * dropped and counted. One that cannot be written is lost, and nothing else.
 *
 * @example Report a line
 * ```ts ignore
 * const reports = new Reports({ write: stderr(), onDropped: (n) => reports.add(`${n} reports were dropped\n`), clock: monotonic });
 * reports.add("listening\n");
 * await reports.flush();
 * ```
 */
export class Reports {
  /** Characters that may wait, besides those that are being written. */
  maxQueued: number = MAX_QUEUED;

  readonly #options: ReportsOptions;
  #waiting = "";
  #dropped = 0;
  #pieces = 0; // pieces written so far
  #writing: Promise<void> | undefined;

  /**
   * Makes an empty queue.
   *
   * @param options What it works with.
   */
  constructor(options: ReportsOptions) {
    this.#options = options;
  }

  /**
   * Queues a report, or drops it if too many wait.
   *
   * @param text The report, its newline included.
   */
  add(text: string): void {
    // Once one is dropped all are, until a report can say so in its place.
    if (this.#dropped > 0 || this.#waiting.length + text.length > this.maxQueued) {
      this.#dropped++;
    } else {
      this.#waiting += text;
      this.#writing ??= this.#writeAll();
    }
  }

  /**
   * Waits until all reports are written, or nobody has read any for a second.
   *
   * @returns Resolves then. Never rejects.
   */
  async flush(): Promise<void> {
    for (let seen = -1; this.#writing !== undefined && this.#pieces !== seen;) {
      seen = this.#pieces;
      const { promise, resolve } = Promise.withResolvers<void>();
      using _ = this.#options.clock.after(NOBODY_READS_AFTER, resolve);
      await Promise.race([this.#writing, promise]);
    }
  }

  async #writeAll(): Promise<void> {
    while (this.#waiting !== "") {
      const bytes = new TextEncoder().encode(this.#waiting);
      const dropped = this.#dropped;
      this.#waiting = "";
      this.#dropped = 0;
      if (dropped > 0) this.#options.onDropped(dropped);
      try {
        for (let at = 0; at < bytes.length; at += PIECE) {
          await this.#options.write(bytes.subarray(at, at + PIECE));
          this.#pieces++;
        }
      } catch {
        // stderr is closed, or its disk is full: there is nobody to tell.
      }
    }
    this.#writing = undefined;
  }
}

/**
 * Opens stderr for writes that wait for its reader, but keep neither the event loop nor the process waiting.
 *
 * A write of `Deno.stderr` that a full pipe holds up would keep the process alive for ever. A socket of `node:net` over
 * the same descriptor can be told not to. It takes pipes and sockets; files and terminals are always read.
 *
 * @returns What writes to stderr.
 */
export function stderr(): Write {
  let opened: Promise<Write> | undefined;
  return async (bytes) => await (await (opened ??= open()))(bytes);
}

async function open(): Promise<Write> {
  if (Deno.stderr.isTerminal()) return writeFile;
  const { Socket } = await import("node:net"); // takes longer than all else at the start: not before the first report
  try {
    const socket = new Socket({ fd: 2, readable: false, writable: true });
    socket.on("error", () => {}); // the write that met it rejects
    socket.unref();
    return (bytes) =>
      new Promise<void>((resolve, reject) => socket.write(bytes, (error) => error ? reject(error) : resolve()));
  } catch {
    return writeFile;
  }
}

async function writeFile(bytes: Uint8Array): Promise<void> {
  for (let rest = bytes; rest.length > 0;) rest = rest.subarray(await Deno.stderr.write(rest));
}
