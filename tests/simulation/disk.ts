/**
 * The disk that the access log is on, and all that happens to it.
 *
 * @module
 */

import { type Content, FakeLogFile } from "../support/fake_log_file.ts";

/** A file on the disk. */
export interface File extends Content {
  /** Up to where its lines have been looked at. */
  read: number;
}

/** A disk with one folder: it holds one file by the log's name, and those that were renamed. */
export class Disk {
  /** What the log's path leads to. */
  current: File | undefined;
  /** Bytes that fit on it. */
  free = Infinity;
  /** Bytes that one write takes at most. */
  largestWrite = Infinity;
  /** What each write fails with. */
  failure: Error | undefined;
  /** What opening fails with. */
  openFailure: Error | undefined;
  /** Whether the last write failed. */
  failing = false;
  /** Since when every write would be taken whole. */
  goodSince = -Infinity;
  /** Files that are open. */
  open = 0;

  /** Opens the log by its path, and creates it if there is none. */
  openLog(): OpenLog {
    if (this.openFailure !== undefined) throw this.openFailure;
    this.current ??= { text: "", read: 0 };
    return new OpenLog(this, this.current);
  }

  /** Renames the log. */
  rename(): void {
    this.current = undefined;
  }

  /** Empties the log, which makes room. */
  empty(): void {
    if (this.current === undefined) return;
    this.free += this.current.text.length;
    Object.assign(this.current, { text: "", read: 0 });
  }

  /** Another server appends a line to the log, if there is room for it. */
  otherAppends(line: string): void {
    if (this.current === undefined || this.free < line.length || this.failure !== undefined) return;
    this.free -= line.length;
    this.current.text += line;
  }

  /** Has room for so many bytes more. */
  fill(free: number): void {
    this.free = free;
    this.goodSince = Infinity;
  }

  /** Fails every write. */
  fail(failure: Error): void {
    this.failure = failure;
    this.goodSince = Infinity;
  }

  /** Is as good as new. */
  heal(now: number): void {
    this.free = this.largestWrite = Infinity;
    this.failure = this.openFailure = undefined;
    this.goodSince = now;
  }
}

/** The log, opened. */
export class OpenLog extends FakeLogFile {
  readonly #disk: Disk;
  /** The file. */
  readonly file: File;

  constructor(disk: Disk, file: File) {
    super([], file);
    this.#disk = disk;
    this.file = file;
    disk.open++;
  }

  override writeSync(bytes: Uint8Array): number {
    const disk = this.#disk;
    disk.failing = true;
    if (disk.failure !== undefined) throw disk.failure;
    if (disk.free === 0) throw Object.assign(new Error("No space left on device (os error 28)"), { code: "ENOSPC" });
    this.script.push(Math.min(disk.free, disk.largestWrite));
    const taken = super.writeSync(bytes);
    disk.free -= taken;
    disk.failing = taken === 0;
    return taken;
  }

  override truncateSync(length: number): void {
    this.#disk.free += this.text.length - length;
    super.truncateSync(length);
  }

  override close(): void {
    super.close();
    this.#disk.open--;
  }
}
