/**
 * The access log: one line for every client served to the end.
 *
 * @module
 */

import type { Clock } from "./clock.ts";
import { type Diagnostics, messageOf } from "./diagnostics.ts";

/** The file that lines are appended to. `Deno.FsFile` is one. */
export interface LogFile {
  /** Appends some of the bytes and returns how many. */
  writeSync(bytes: Uint8Array): number;
  /** Moves to a position and returns it, in bytes from the start. */
  seekSync(offset: number, whence: Deno.SeekMode): number;
  /** Cuts the file to so many bytes. */
  truncateSync(length: number): void;
  /** Closes the file. */
  close(): void;
}

/** What an {@linkcode AccessLog} works with. */
export interface AccessLogOptions {
  /** Opens the file by its path; called at once and by {@linkcode AccessLog.reopen}. What it throws is passed on. */
  open: () => LogFile;
  /** Where a disk that fails, and its recovery, are reported. */
  diagnostics: Diagnostics;
  /** What the tries to write again are timed by. */
  clock: Clock;
  /** Bytes of lines that may wait for the disk before {@linkcode AccessLog.full}. Default: 64 MiB. */
  maxQueued?: number;
}

/** Bytes of lines that may wait for the disk. */
const MAX_QUEUED = 67_108_864;

/** Bytes that the buffer for lines begins with; enough for over a thousand clients that end in one turn. */
const BUFFER_SIZE = 65_536;

/** Milliseconds between two tries to write while the disk fails. */
const RETRY_INTERVAL = 1000;

const NEWLINE = 0x0a;

/**
 * Appends one line for each client, in the order of the calls.
 *
 * Lines of one turn of the event loop go into one write. A line that cannot be written waits in order, and is tried
 * again every second until it is written whole; nobody waits for it meanwhile.
 *
 * @example Append a line
 * ```ts ignore
 * const log = new AccessLog({ open: () => Deno.openSync("access.log", { append: true, create: true }), diagnostics, clock });
 * await log.append(1, 5); // [client 1]: received 5 bytes
 * ```
 */
export class AccessLog {
  /** Called when the log is no longer full. Whoever stops at {@linkcode AccessLog.full} sets it. */
  onRoom: () => void = () => {};

  readonly #options: AccessLogOptions;
  readonly #maxQueued: number;
  #file: LogFile;

  // The lines that are still to be written. Whatever was written is moved out, so they begin at 0.
  #lines = new Uint8Array(BUFFER_SIZE);
  #end = 0;

  #turn: PromiseWithResolvers<void> | undefined; // the write at the end of this turn, once a line asked for one
  #outage: { retry: Disposable; caughtUp: number } | undefined; // while the disk fails; lines that it took meanwhile

  /**
   * Opens the file.
   *
   * @param options What it works with.
   * @throws What `options.open` throws.
   */
  constructor(options: AccessLogOptions) {
    this.#options = options;
    this.#maxQueued = options.maxQueued ?? MAX_QUEUED;
    this.#file = options.open();
  }

  /** Lines that are not in the file. */
  get queuedLines(): number {
    return this.#countLines(this.#end);
  }

  /** Whether as much waits for the disk as may. Lines are still taken, but no more clients should be. */
  get full(): boolean {
    return this.#end >= this.#maxQueued;
  }

  /**
   * Appends a client's line.
   *
   * @param client The client's number.
   * @param bytes Bytes received from it.
   * @returns A promise that resolves when write(2) has taken the line; `undefined` while the disk fails, when the line
   * is queued.
   */
  append(client: number, bytes: number): Promise<void> | undefined {
    const line = `[client ${client}]: received ${bytes} bytes\n`;
    if (this.#end + line.length > this.#lines.length) this.#double();
    for (let i = 0; i < line.length; i++) this.#lines[this.#end++] = line.charCodeAt(i);
    if (this.#outage !== undefined) return undefined;
    if (this.#turn === undefined) {
      this.#turn = Promise.withResolvers();
      // A microtask runs after those that are queued: the other clients whose last write ended in this turn append first.
      queueMicrotask(() => this.#endTurn());
    }
    return this.#turn.promise;
  }

  /**
   * Opens the file anew by its path, after a rotation. What is still queued goes to the new file.
   *
   * @throws What `options.open` throws; the old file then stays in use.
   */
  reopen(): void {
    const file = this.#options.open();
    this.#write(); // what this turn has appended belongs to the old file
    this.#file.close();
    this.#file = file;
    this.#write(); // what the old file did not take
  }

  /**
   * Writes what is queued, if the disk lets it, and closes the file.
   *
   * @returns The lines that could not be written; empty when all could.
   */
  close(): string {
    this.#write();
    this.#outage?.retry[Symbol.dispose]();
    this.#file.close();
    return new TextDecoder().decode(this.#lines.subarray(0, this.#end));
  }

  #endTurn(): void {
    this.#write();
    this.#turn?.resolve();
    this.#turn = undefined;
  }

  /** Writes what is queued and goes on after short writes. What the disk does not take stays queued, in whole lines. */
  #write(): void {
    if (this.#end === 0) return;
    const { full } = this;
    let written = 0;
    let failure: { cause: unknown } | undefined;
    try {
      while (written < this.#end) {
        const bytes = this.#file.writeSync(this.#lines.subarray(written, this.#end));
        if (bytes === 0) throw new Error("nothing was written");
        written += bytes;
      }
    } catch (cause) {
      failure = { cause };
      const torn = written - (written === 0 ? 0 : this.#lines.lastIndexOf(NEWLINE, written - 1) + 1);
      if (torn > 0) this.#cut(torn);
      written -= torn;
    }
    if (this.#outage !== undefined) this.#outage.caughtUp += this.#countLines(written);
    this.#lines.copyWithin(0, written, this.#end);
    this.#end -= written;
    if (failure !== undefined) this.#onFailure(failure.cause);
    else if (this.#outage !== undefined) this.#onRecovery(this.#outage);
    if (full && !this.full) this.onRoom();
  }

  /** Takes the part of a line that the disk has taken back out of the file. */
  #cut(torn: number): void {
    try {
      this.#file.truncateSync(this.#file.seekSync(0, Deno.SeekMode.End) - torn);
    } catch {
      // Not a file that can be cut, such as a pipe: the part stays, and the line comes whole after it.
    }
  }

  #onFailure(cause: unknown): void {
    if (this.#outage !== undefined) return;
    this.#outage = { retry: this.#options.clock.every(RETRY_INTERVAL, () => this.#write()), caughtUp: 0 };
    this.#options.diagnostics.error(
      "cannot write the access log, lines are queued and tried again every second: {cause}",
      { cause: messageOf(cause) },
    );
  }

  #onRecovery({ retry, caughtUp }: { retry: Disposable; caughtUp: number }): void {
    retry[Symbol.dispose]();
    this.#outage = undefined;
    this.#lines = new Uint8Array(BUFFER_SIZE); // what the outage needed is not kept
    this.#options.diagnostics.warn("the access log can be written again, {lines} queued lines were caught up", {
      lines: caughtUp,
    });
  }

  /** How many lines end in so many bytes of the queue. */
  #countLines(bytes: number): number {
    let lines = 0;
    for (let at = 0; at < bytes; at = this.#lines.indexOf(NEWLINE, at) + 1) lines++;
    return lines;
  }

  #double(): void {
    const lines = this.#lines;
    this.#lines = new Uint8Array(2 * lines.length);
    this.#lines.set(lines);
  }
}
