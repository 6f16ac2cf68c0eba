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
  /** Called when the log is no longer full. */
  onRoom?: () => void;
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
  readonly #options: AccessLogOptions;
  readonly #maxQueued: number;
  #file: LogFile;

  // The lines from #lineStart() to #end are still to be written; up to #written they are in the file.
  #buffer = new Uint8Array(BUFFER_SIZE);
  #written = 0;
  #end = 0;

  #turn: PromiseWithResolvers<void> | undefined; // the write at the end of this turn, once a line asked for one
  #retry: Disposable | undefined; // set while the disk fails

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

  /** Lines that are not in the file whole. */
  get queuedLines(): number {
    return this.#countLines(this.#lineStart());
  }

  /** Whether as much waits for the disk as may. Lines are still taken, but no more clients should be. */
  get full(): boolean {
    return this.#end - this.#written >= this.#maxQueued;
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
    if (this.#end + line.length > this.#buffer.length) this.#makeRoom();
    for (let i = 0; i < line.length; i++) this.#buffer[this.#end++] = line.charCodeAt(i);
    if (this.#retry !== undefined) return undefined;
    if (this.#turn === undefined) {
      this.#turn = Promise.withResolvers();
      // Clients whose last write ended in this turn append before this runs: their continuations are queued already.
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
    this.#cutTornLine();
    this.#file.close();
    this.#file = file;
    if (this.#retry !== undefined) this.#write();
  }

  /**
   * Writes what is queued, if the disk lets it, and closes the file.
   *
   * @returns The lines that could not be written; empty when all could.
   */
  close(): string {
    this.#write();
    this.#cutTornLine();
    this.#retry?.[Symbol.dispose]();
    this.#file.close();
    return new TextDecoder().decode(this.#buffer.subarray(this.#written, this.#end));
  }

  #endTurn(): void {
    this.#write();
    this.#turn?.resolve();
    this.#turn = undefined;
  }

  /** Writes what is queued, goes on after short writes, and keeps the rest if the disk fails. */
  #write(): void {
    const lineStart = this.#lineStart();
    try {
      while (this.#written < this.#end) {
        const bytes = this.#file.writeSync(this.#buffer.subarray(this.#written, this.#end));
        if (bytes === 0) throw new Error("nothing was written");
        this.#written += bytes;
      }
    } catch (cause) {
      this.#onFailure(cause);
      return;
    }
    const caughtUp = this.#retry === undefined ? 0 : this.#countLines(lineStart);
    this.#written = this.#end = 0;
    if (this.#retry !== undefined) this.#onRecovery(caughtUp);
  }

  #onFailure(cause: unknown): void {
    if (this.#retry !== undefined) return;
    this.#retry = this.#options.clock.every(RETRY_INTERVAL, () => this.#write());
    this.#options.diagnostics.error(
      "cannot write the access log, lines are queued and tried again every second: {cause}",
      {
        cause: messageOf(cause),
      },
    );
  }

  #onRecovery(lines: number): void {
    this.#retry?.[Symbol.dispose]();
    this.#retry = undefined;
    this.#buffer = new Uint8Array(BUFFER_SIZE); // what the outage needed is not kept
    this.#options.diagnostics.warn("the access log can be written again, {lines} queued lines were caught up", {
      lines,
    });
    this.#options.onRoom?.();
  }

  /** Where the first line begins that is not in the file whole. */
  #lineStart(): number {
    return this.#written === 0 ? 0 : this.#buffer.lastIndexOf(NEWLINE, this.#written - 1) + 1;
  }

  #countLines(from: number): number {
    let lines = 0;
    for (let at = from; at < this.#end; at = this.#buffer.indexOf(NEWLINE, at) + 1) lines++;
    return lines;
  }

  /** Takes the part of a line that a full disk has let through back out of the file, to be written whole elsewhere. */
  #cutTornLine(): void {
    const lineStart = this.#lineStart();
    const torn = this.#written - lineStart;
    if (torn === 0) return;
    this.#written = lineStart;
    try {
      this.#file.truncateSync(this.#file.seekSync(0, Deno.SeekMode.End) - torn);
    } catch {
      // Not a file that can be cut, such as a pipe: the part stays, and the line comes whole after it.
    }
  }

  /** Makes room for a line: moves what is queued to the front if that gives half of the buffer, else doubles it. */
  #makeRoom(): void {
    const start = this.#lineStart();
    const queued = this.#buffer.subarray(start, this.#end);
    if (queued.length > this.#buffer.length / 2) this.#buffer = new Uint8Array(2 * this.#buffer.length);
    this.#buffer.set(queued);
    this.#written -= start;
    this.#end -= start;
  }
}
