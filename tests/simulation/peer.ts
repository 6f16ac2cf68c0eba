/**
 * A client, as the server's kernel and the client itself see it.
 *
 * @module
 */

import { FakeConn } from "../support/fake_conn.ts";
import type { Environment } from "./environment.ts";

/** Every message is a part of these bytes. No two places in a message have the same bytes after them. */
const PATTERN = Uint8Array.from({ length: 1 << 18 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 23);

/** A client that sends a message in pieces, half-closes and reads its reply; or does less. Checks the reply. */
export class Peer extends FakeConn {
  /** Its name in descriptions. */
  readonly name: string;
  /** Its number on the server; 0 before its accept. */
  number = 0;
  /** What its reads and writes fail with. */
  error: Error | undefined;
  /** Whether it has half-closed. */
  hasHalfClosed = false;

  /** Bytes that it has sent. */
  sent = 0;
  /** Bytes that the server has read. */
  received = 0;
  /** Bytes that the server has sent back. */
  replied = 0;
  /** Bytes of the buffers that the server held for it at the last check. */
  heldBefore = 0;
  /** Whether the server has read EOF. */
  hasReadEof = false;
  /** When the last byte was received or sent back, or when it was accepted. */
  movedAt = 0;
  /** When its last read or write ended, or when it was accepted. */
  endedAt = 0;
  /** Whether the server has done with it. */
  isOver = false;
  /** Milliseconds from then to its close. */
  idleAtClose = 0;

  readonly #environment: Environment;
  readonly #message: Uint8Array;

  /**
   * Connects.
   *
   * @param index How many clients have connected before.
   * @param length Bytes of its message.
   * @param environment What it is a part of.
   */
  constructor(index: number, length: number, environment: Environment) {
    super(`10.0.0.${index}`, environment.whenReady);
    this.name = `client ${String.fromCharCode(65 + index % 26)}${index < 26 ? "" : Math.floor(index / 26)}`;
    this.#environment = environment;
    this.#message = PATTERN.subarray(index * 97 % 4093).subarray(0, length);
  }

  /** Bytes that it has still to send. */
  get unsent(): number {
    return this.hasHalfClosed ? 0 : this.#message.length - this.sent;
  }

  /** Whether the server has sent its whole reply. */
  get isEchoed(): boolean {
    return this.hasReadEof && this.replied === this.sent;
  }

  /** Sends its next bytes. */
  sendNext(bytes: number): void {
    const from = this.sent;
    this.sent = Math.min(from + bytes, from + this.unsent);
    this.send(this.#message.subarray(from, this.sent));
  }

  /** Sends the rest, half-closes, and reads everything from now on. */
  finish(): void {
    this.sendNext(this.unsent);
    if (!this.hasHalfClosed) this.halfClose();
    this.packet = Infinity;
    this.take(Infinity);
  }

  override halfClose(): this {
    this.hasHalfClosed = true;
    return super.halfClose();
  }

  override break(error: Error): this {
    this.error ??= error;
    return super.break(error);
  }

  override read(buffer: Uint8Array): Promise<number | null> {
    if (buffer.length === 0) this.#environment.violated(`${this.name} is read from into an empty buffer`);
    return super.read(buffer);
  }

  override write(buffer: Uint8Array): Promise<number> {
    if (!this.hasReadEof) this.#environment.violated(`${this.name} is sent something before it has half-closed`);
    return super.write(buffer);
  }

  /** The server drops it, in a callback: a read or write of it ends later. Or it does not serve it. */
  override close(): void {
    this[Symbol.dispose]();
    this.isOver = !this.#environment.isInCallback;
    if (this.isOver) this.#environment.onUnserved(this);
  }

  override [Symbol.dispose](): void {
    this.isOver = true;
    if (!this.closed) this.#environment.onClose(this);
    super[Symbol.dispose]();
  }

  protected override receive(buffer: Uint8Array): number | null {
    const bytes = super.receive(buffer);
    this.endedAt = this.#environment.now();
    if (bytes === null) this.hasReadEof = true;
    else this.#move("received", bytes);
    return bytes;
  }

  protected override deliver(part: Uint8Array): void {
    const rest = this.#message.subarray(this.replied, this.sent);
    if (part.length > rest.length) this.#environment.violated(`${this.name} gets more back than it has sent`);
    else if (part.some((byte, i) => byte !== rest[i])) this.#environment.violated(`${this.name} gets other bytes back`);
    this.#move("replied", part.length);
  }

  #move(direction: "received" | "replied", bytes: number): void {
    this[direction] += bytes;
    this.movedAt = this.endedAt = this.#environment.now();
  }
}
