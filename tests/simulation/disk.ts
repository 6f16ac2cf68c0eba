/**
 * The disk that holds the access log.
 *
 * @module
 */

import { type Content, FakeLogFile } from "../support/fake_log_file.ts";
import { DISK_FULL } from "./system_errors.ts";

/** A file on the disk. */
export interface File extends Content {
  /** Characters that have been checked. */
  checked: number;
}

/** A disk with one folder: it holds one file at the log's path, and files that were renamed. */
export class Disk {
  /** The file at the log's path. */
  current: File | undefined;
  /** Bytes that fit on it. */
  free = Infinity;
  /** Bytes that one write takes at most. */
  maxWrite = Infinity;
  /** What each write fails with. */
  failure: Error | undefined;
  /** What opening fails with. */
  openFailure: Error | undefined;
  /** Whether the disk has refused the last write, or a part of it. */
  isFailing = false;
  /** Since when no write would fail. */
  goodSince = -Infinity;
  /** Files that are open. */
  openFiles = 0;

  /** @param violated Called when a file is used after its close. */
  constructor(readonly violated: (how: string) => void) {}

  /** Opens the log by its path, and creates it if it does not exist. */
  openLog(): OpenLog {
    if (this.openFailure !== undefined) throw this.openFailure;
    this.current ??= { text: "", checked: 0 };
    return new OpenLog(this, this.current);
  }

  /** A server process starts: the folder can be written, and the files of the last process are closed. */
  restart(): void {
    this.openFailure = undefined;
    this.isFailing = false;
    this.openFiles = 0;
  }

  /** Renames the log. */
  rename(): void {
    this.current = undefined;
  }

  /** Truncates the log to nothing, which frees space. */
  truncate(): void {
    if (this.current === undefined) return;
    this.free += this.current.text.length;
    this.current.text = "";
    this.current.checked = 0;
  }

  /** Another server appends a line to the log, if that is possible. */
  appendOther(line: string): void {
    if (this.current === undefined || this.free < line.length || this.failure !== undefined) return;
    this.free -= line.length;
    this.current.text += line;
  }

  /** From now on the disk has so many bytes free. */
  fill(free: number): void {
    this.free = free;
    this.goodSince = Infinity;
  }

  /** From now on a write takes so many bytes at most. */
  shorten(maxWrite: number): void {
    this.maxWrite = maxWrite;
    if (maxWrite === 0) this.goodSince = Infinity;
  }

  /** From now on every write fails. */
  fail(failure: Error): void {
    this.failure = failure;
    this.goodSince = Infinity;
  }

  /** From now on nothing fails. */
  repair(now: number): void {
    this.free = this.maxWrite = Infinity;
    this.failure = this.openFailure = undefined;
    this.goodSince = now;
  }
}

/** The log, opened. To use it after its close is a violation, and not a failure of the disk. */
class OpenLog extends FakeLogFile {
  readonly #disk: Disk;

  constructor(disk: Disk, file: File) {
    super([], file);
    this.#disk = disk;
    disk.openFiles++;
  }

  override write(bytes: Uint8Array): number {
    this.#checkOpen("written to");
    const disk = this.#disk;
    disk.isFailing = true;
    if (disk.failure !== undefined) throw disk.failure;
    if (disk.free === 0) throw DISK_FULL;
    this.script.push(Math.min(disk.free, disk.maxWrite));
    const taken = super.write(bytes);
    disk.free -= taken;
    disk.isFailing = taken === 0;
    return taken;
  }

  override cutOff(bytes: number): boolean {
    this.#checkOpen("truncated");
    this.#disk.free += bytes;
    return super.cutOff(bytes);
  }

  override close(): void {
    this.#checkOpen("closed");
    super.close();
    this.#disk.openFiles--;
  }

  #checkOpen(what: string): void {
    if (this.closed) this.#disk.violated(`a log file is ${what} after its close`);
  }
}
