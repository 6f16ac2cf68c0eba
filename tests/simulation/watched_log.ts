/**
 * The access log, and what is known of its lines.
 *
 * @module
 */

import { AccessLog, type AccessLogOptions } from "../../lib/access_log.ts";
import type { File } from "./disk.ts";
import type { Life, Surroundings } from "./life.ts";

/** The log. */
export class WatchedLog extends AccessLog {
  /** Clients that were served to the end, in that order. */
  readonly appended: number[] = [];
  /** How many of their lines are in a file. */
  written = 0;

  readonly #life: Life;
  readonly #world: Surroundings;
  #file: File | undefined;
  #outageFrom = 0; // how many were, when the disk began to fail
  #reopening = false;
  #old = 0; // how many belong to the file from before the reopening

  constructor(options: AccessLogOptions, life: Life, world: Surroundings) {
    super(options);
    this.#life = life;
    this.#world = world;
    this.#file = world.disk.current;
    if (this.#file !== undefined) this.#file.read = this.#file.text.length;
  }

  /** Lines that are in no file. */
  get missing(): number {
    return this.appended.length - this.written;
  }

  /** Their bytes. */
  get missingBytes(): number {
    return this.appended.slice(this.written).reduce((sum, client) => sum + (this.#line(client)?.length ?? 0) + 1, 0);
  }

  /** Whether a client's line has been appended, but is neither in the file nor queued since the disk fails. */
  isLate(client: number): boolean {
    return this.appended.indexOf(client) >= this.written && !this.#world.disk.failing;
  }

  override append(client: number, bytes: number): Promise<void> | undefined {
    const peer = this.#life.accepted[client - 1];
    if (!peer?.finished || peer.sent !== bytes || bytes > this.#life.setup.maxMessage) {
      this.#world.broken(`a line for client ${client} and ${bytes} bytes, which was not served to the end`);
    }
    if (peer?.closed) this.#world.broken(`${peer.name} is closed before its line is written`);
    if (this.appended.includes(client)) this.#world.broken(`a second line for client ${client}`);
    this.appended.push(client);
    this.#world.count("served");
    return super.append(client, bytes);
  }

  override reopen(): void {
    const { disk } = this.#world;
    this.#old = disk.failing ? 0 : this.appended.length;
    this.#reopening = true;
    try {
      super.reopen();
      this.look();
      this.#file = disk.current;
    } finally {
      this.#reopening = false;
    }
  }

  /** The disk begins to fail: from here on lines go to whichever file takes them. */
  beginOutage(): void {
    this.look();
    this.#outageFrom = this.written;
    this.#old = 0;
  }

  /** Lines that have come to the file since then. */
  get caughtUp(): number {
    this.look();
    return this.written - this.#outageFrom;
  }

  /** Looks at the lines that have come to the file. */
  look(): void {
    this.#lookAt(this.#file);
    if (!this.#reopening || this.#world.disk.current === this.#file) return;
    const { written } = this;
    this.#lookAt(this.#world.disk.current);
    if (this.written > written && written < this.#old) this.#world.broken("the new file has a line of the old one");
  }

  /** Closes it; what that leaves over must be all that is in no file. */
  closeAndCheck(): void {
    const left = this.close();
    this.look();
    const missing = this.appended.slice(this.written).map((client) => `${this.#line(client)}\n`).join("");
    const { disk, now } = this.#world;
    if (left !== "" && disk.goodSince <= now()) this.#world.broken("lines are left over though the disk is good");
    if (left !== missing) this.#world.broken(`${JSON.stringify(left)} is left over, not ${JSON.stringify(missing)}`);
  }

  #lookAt(file: File | undefined): void {
    if (file === undefined || file.read === file.text.length) return;
    const lines = file.text.slice(file.read).split("\n");
    if (lines.pop() !== "") return this.#world.broken("a line is torn");
    file.read = file.text.length;
    for (const line of lines) {
      if (line.startsWith("[other")) continue;
      const expected = this.#line(this.appended[this.written++]);
      if (line !== expected) return this.#world.broken(`the file has the line ${line}, not ${expected}`);
    }
  }

  #line(client: number | undefined): string | undefined {
    if (client === undefined) return undefined;
    return `[client ${client}]: received ${this.#life.accepted[client - 1]?.sent} bytes`;
  }
}
