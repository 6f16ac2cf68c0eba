/**
 * The access log, and the lines that its file must have.
 *
 * @module
 */

import { AccessLog } from "../../lib/access_log.ts";
import type { Clock } from "../../lib/clock.ts";
import type { Logger } from "../../lib/logger.ts";
import type { File } from "./disk.ts";
import type { Environment } from "./environment.ts";
import type { ServerProcess } from "./server_process.ts";

/** The log. Compares each line of the file with what was appended. */
export class CheckedLog extends AccessLog {
  /** Clients whose lines were appended, in that order. */
  readonly clients: number[] = [];

  readonly #process: ServerProcess;
  readonly #environment: Environment;
  readonly #lines: string[] = []; // appended, in that order
  #written = 0; // how many of them are in a file
  #file: File | undefined;
  #isReopening = false;
  #ofOldFile = 0; // how many belong to the file from before the reopening

  constructor(process: ServerProcess, environment: Environment, logger: Logger, clock: Clock) {
    super(() => environment.disk.openLog(), logger, clock, process.setup.maxQueuedBytes);
    this.#process = process;
    this.#environment = environment;
    this.#file = environment.disk.current;
    if (this.#file !== undefined) this.#file.checked = this.#file.text.length;
  }

  /** Lines that were appended and are in no file. */
  get missing(): string[] {
    this.check();
    return this.#lines.slice(this.#written);
  }

  /** Their bytes. */
  get missingBytes(): number {
    return this.missing.reduce((sum, line) => sum + line.length, 0);
  }

  /** Whether a client's line was appended but is neither in the file nor kept back by the disk. */
  isLate(client: number): boolean {
    this.check();
    return this.clients.indexOf(client) >= this.#written && !this.#environment.disk.isFailing;
  }

  override append(client: number, bytes: number): Promise<void> | undefined {
    const { violated, count } = this.#environment;
    const peer = this.#process.accepted[client - 1];
    if (!peer?.isEchoed || peer.sent !== bytes || bytes > this.#process.setup.maxMessage) {
      violated(`a line for client ${client} and ${bytes} bytes, which was not served to the end`);
    }
    if (peer?.closed) violated(`${peer.name} is closed before its line is written`);
    if (this.clients.includes(client)) violated(`a second line for client ${client}`);
    count("served");
    this.clients.push(client);
    this.#lines.push(`[client ${client}]: received ${bytes} bytes\n`);
    return super.append(client, bytes);
  }

  override reopen(): void {
    const { disk } = this.#environment;
    this.#ofOldFile = disk.isFailing ? 0 : this.#lines.length;
    this.#isReopening = true;
    super.reopen();
    this.check();
    if (disk.openFailure === undefined) this.#file = disk.current;
    this.#isReopening = false;
  }

  /** An outage is reported: from here on a line goes to whichever file takes it. */
  onOutage(): void {
    this.check();
    this.#ofOldFile = 0;
  }

  /** The end of an outage is reported. */
  onRecovery(): void {
    if (this.missing.length > 0) {
      this.#environment.violated(`a recovery is reported, ${this.missing.length} lines lack`);
    }
  }

  override async close(): Promise<string> {
    const unwritten = await super.close();
    const { missing } = this;
    const { disk, now, violated } = this.#environment;
    if (unwritten !== "" && disk.goodSince <= now()) violated("lines are left over though the disk is good");
    if (unwritten !== missing.join("")) {
      violated(`left over: ${JSON.stringify(unwritten)}, missing: ${missing.join("")}`);
    }
    return unwritten;
  }

  /** Checks the lines that have come to the file. */
  check(): void {
    this.#checkFile(this.#file);
    if (!this.#isReopening || this.#environment.disk.current === this.#file) return;
    const before = this.#written;
    this.#checkFile(this.#environment.disk.current);
    if (this.#written > before && before < this.#ofOldFile) {
      this.#environment.violated("a line of the old file is in the new one");
    }
  }

  #checkFile(file: File | undefined): void {
    if (file === undefined || file.checked === file.text.length) return;
    const lines = file.text.slice(file.checked).split(/(?<=\n)/);
    if (!lines.at(-1)?.endsWith("\n")) return this.#environment.violated("a partial line is in the file");
    file.checked = file.text.length;
    for (const line of lines) {
      if (line.startsWith("[other")) continue;
      const expected = this.#lines[this.#written++];
      if (line !== expected) {
        return this.#environment.violated(`the file has the line ${line.trimEnd()}, not ${expected?.trimEnd()}`);
      }
    }
  }
}
