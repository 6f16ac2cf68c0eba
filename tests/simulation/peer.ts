/**
 * A client, as the kernel and the other end of its connection see it.
 *
 * @module
 */

import { FakeConn } from "../support/fake_conn.ts";
import type { WhenReady } from "../support/when_ready.ts";

/** What watches over clients. */
export interface Watch {
  /** Has reads and writes end. */
  whenReady: WhenReady;
  /** The time. */
  now(): number;
  /** A promise is broken. */
  broken(how: string): void;
  /** The server reads from it for the first time. */
  taken(peer: Peer): void;
  /** The server closes the connection. */
  closing(peer: Peer): void;
}

/** Every message is a part of these bytes, which repeat nowhere within a message. */
const PATTERN = Uint8Array.from({ length: 1 << 18 }, (_, i) => Math.imul(i + 1, 0x9e3779b1) >>> 23);

/** A client that sends a message in pieces, half-closes, and takes its reply; or does less. */
export class Peer extends FakeConn {
  /** What the world calls it. */
  readonly name: string;
  /** Its number on the server, once that has taken it in flight. */
  number = 0;
  /** Whether it was waiting to be accepted when the server was told to drain. */
  waitedAtDrain = false;
  /** What the connection broke by. */
  error: Error | undefined;
  /** Whether it has half-closed. */
  halfClosed = false;

  /** Bytes that it has sent, that the server has read, and that it has got back. */
  sent = 0;
  received = 0;
  replied = 0;
  /** Bytes of the chunks that were held for it when the world last looked. */
  held = 0;
  /** Whether the server has read its end. */
  endRead = false;
  /** When a byte last moved, either way, since its accept. */
  movedAt = 0;
  /** Milliseconds since then, when it was closed. */
  idleFor = 0;

  readonly #watch: Watch;
  readonly #message: Uint8Array;

  /**
   * Connects.
   *
   * @param index Its place among all clients.
   * @param length Bytes that it will send.
   * @param watch What watches over it.
   */
  constructor(index: number, length: number, watch: Watch) {
    super(`10.0.0.${index}`, watch.whenReady);
    this.name = `client ${String.fromCharCode(65 + index % 26)}${index < 26 ? "" : Math.floor(index / 26)}`;
    this.#watch = watch;
    this.#message = PATTERN.subarray(index * 97 % 4093).subarray(0, length);
  }

  /** Bytes that it has still to send. */
  get left(): number {
    return this.halfClosed ? 0 : this.#message.length - this.sent;
  }

  /** Whether its whole reply has gone out. */
  get finished(): boolean {
    return this.endRead && this.replied === this.sent;
  }

  /** Sends its next bytes. */
  sendNext(bytes: number): void {
    const from = this.sent;
    this.sent = Math.min(from + bytes, from + this.left);
    this.send(this.#message.subarray(from, this.sent));
  }

  /** Does all that is left for it to do. */
  finish(): void {
    this.sendNext(this.left);
    if (!this.halfClosed) this.halfClose();
    this.packet = Infinity;
    this.take(Infinity);
  }

  override halfClose(): this {
    this.halfClosed = true;
    return super.halfClose();
  }

  override break(error: Error): this {
    this.error ??= error;
    return super.break(error);
  }

  override read(buffer: Uint8Array): Promise<number | null> {
    if (this.number === 0) this.#watch.taken(this);
    if (buffer.length === 0) this.#watch.broken(`${this.name} is read into no room`);
    return super.read(buffer);
  }

  override write(buffer: Uint8Array): Promise<number> {
    if (!this.endRead) this.#watch.broken(`${this.name} is sent something before it has half-closed`);
    return super.write(buffer);
  }

  override [Symbol.dispose](): void {
    if (!this.closed) this.#watch.closing(this);
    super[Symbol.dispose]();
  }

  protected override receive(buffer: Uint8Array): number | null {
    const bytes = super.receive(buffer);
    if (bytes === null) this.endRead = true;
    else this.#moved("received", bytes);
    return bytes;
  }

  protected override deliver(part: Uint8Array): void {
    const rest = this.#message.subarray(this.replied, this.sent);
    if (part.length > rest.length) this.#watch.broken(`${this.name} gets more back than it has sent`);
    else if (part.some((byte, i) => byte !== rest[i])) this.#watch.broken(`${this.name} gets other bytes back`);
    this.#moved("replied", part.length);
  }

  #moved(way: "received" | "replied", bytes: number): void {
    this[way] += bytes;
    this.movedAt = this.#watch.now();
  }
}
