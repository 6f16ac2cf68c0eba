/**
 * The access log: one line for every client served to the end.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { errorMessage } from "./errors.ts";
import type { Logger } from "./logger.ts";
import type { LogFile } from "./startup.ts";

/** Bytes of lines that may be queued while the file cannot be written. */
const MAX_QUEUED_BYTES = 67_108_864;

/** Milliseconds between two tries to write while the file cannot be written. */
const RETRY_INTERVAL_MS = 1000;

/**
 * Appends one line for each client, in the order of the calls.
 *
 * Lines of one event-loop iteration go into one write. A line that cannot be written is queued, in order, and tried
 * again every second until it is written whole; serving goes on meanwhile. Only a write that returns a promise is waited
 * for, as when the lines go to a pipe that is not read.
 *
 * @example Append a line
 * ```ts ignore
 * const log = new AccessLog(() => openLogFile("access.log"), logger, monotonic);
 * await log.append(1, 5); // [client 1]: received 5 bytes
 * ```
 */
export class AccessLog {
  #file: LogFile;

  #queued = ""; // lines that are not in the file; ASCII, so a character is a byte
  #batch: PromiseWithResolvers<void> | undefined; // the next write, once a line waits for it
  #isWriting = false;
  #abandon: ((cause: Error) => void) | undefined; // while a write is under way that may block: ends the wait for it
  #retry: Disposable | undefined; // while the file cannot be written

  /**
   * Opens the file.
   *
   * @param open Opens the file by its path, now and at {@linkcode AccessLog.reopen}.
   * @param logger Where an outage and its end are reported.
   * @param clock The clock of the retries.
   * @param maxQueuedBytes Bytes of queued lines at which {@linkcode AccessLog.hasCapacity} becomes false.
   * @throws What `open` throws.
   */
  constructor(
    private readonly open: () => LogFile,
    private readonly logger: Logger,
    private readonly clock: Clock,
    private readonly maxQueuedBytes: number = MAX_QUEUED_BYTES,
  ) {
    this.#file = open();
  }

  /** Lines that are not in the file yet. */
  get queuedLines(): number {
    return this.#queued.split("\n").length - 1;
  }

  /** Whether the server may accept more clients. Without capacity lines of clients in flight are still taken. */
  get hasCapacity(): boolean {
    return this.#queued.length < this.maxQueuedBytes;
  }

  /**
   * Appends a client's line.
   *
   * @param client The client's number.
   * @param bytes Bytes received from it.
   * @returns Resolves when write(2) has returned; `undefined` if the file cannot be written and the line is queued.
   */
  append(client: number, bytes: number): Promise<void> | undefined {
    this.#queued += `[client ${client}]: received ${bytes} bytes\n`;
    if (this.#retry !== undefined) return undefined;
    if (this.#batch === undefined) {
      this.#batch = Promise.withResolvers();
      // Microtasks that are queued already run first: other clients whose last write has ended append to the same batch.
      queueMicrotask(() => this.#write());
    }
    return this.#batch.promise;
  }

  /** Opens the file again by its path, after a rotation. If that fails, the old file stays in use, and that is reported. */
  reopen(): void {
    let file: LogFile;
    try {
      file = this.open();
    } catch (error) {
      return this.logger.error("keeping the old access log: {cause}", { cause: errorMessage(error) });
    }
    if (file === this.#file) return this.logger.info("nothing to reopen: the access log is standard output");
    this.#write(); // what this event-loop iteration has appended belongs to the old file
    this.#file.close();
    this.#file = file;
    this.#write(); // what could not be written to the old file
    this.logger.info("access log reopened");
  }

  /** Waits no longer for a write that blocks: its lines, and all later ones, stay queued. */
  abandonWrite(): void {
    this.#abandon?.(new Error("it is not being read"));
  }

  /** Writes what is queued, if possible, and closes the file. Returns the lines that could not be written. */
  async close(): Promise<string> {
    await this.#write();
    this.#retry?.[Symbol.dispose]();
    this.#file.close();
    return this.#queued;
  }

  /**
   * Writes what is queued and continues short writes. What cannot be written stays queued, in whole lines. All of that
   * happens before it returns, unless a write may block.
   */
  async #write(): Promise<void> {
    if (this.#isWriting) return;
    this.#isWriting = true;
    while (this.#queued !== "") {
      const batch = this.#batch;
      this.#batch = undefined; // a line that is appended from here on waits for the next write
      let written = 0;
      try {
        const bytes = new TextEncoder().encode(this.#queued);
        while (written < bytes.length) {
          const result = this.#file.write(bytes.subarray(written));
          const count = typeof result === "number" ? result : await this.#unlessAbandoned(result);
          if (count === 0) throw new Error("write(2) returned 0");
          written += count;
        }
        this.#endOutage();
      } catch (cause) {
        const partial = written === 0 ? 0 : written - this.#queued.lastIndexOf("\n", written - 1) - 1;
        // If it cannot be cut off, as in an append-only file (chattr +a), its rest is written next.
        if (partial > 0 && this.#file.cutOff?.(partial)) written -= partial;
        this.#beginOutage(cause);
      }
      this.#queued = this.#queued.slice(written);
      batch?.resolve();
      if (this.#retry !== undefined) break;
    }
    this.#isWriting = this.#abandon !== undefined; // after abandonWrite() that write is still under way
  }

  #unlessAbandoned(write: Promise<number>): Promise<number> {
    return new Promise((resolve, reject) => {
      this.#abandon = reject;
      write.finally(() => this.#abandon = undefined).then(resolve, reject);
    });
  }

  #beginOutage(error: unknown): void {
    if (this.#retry !== undefined) return;
    this.#retry = this.clock.every(RETRY_INTERVAL_MS, () => this.#write());
    this.#batch?.resolve();
    this.#batch = undefined;
    const cause = errorMessage(error);
    this.logger.error("cannot write to the access log, lines are queued and retried every second: {cause}", { cause });
  }

  #endOutage(): void {
    if (this.#retry === undefined) return;
    this.#retry[Symbol.dispose]();
    this.#retry = undefined;
    this.logger.warn("the access log can be written to again, all queued lines are in it");
  }
}
