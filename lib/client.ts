/**
 * One client, from its first byte to the close.
 *
 * @module
 */

import type { AccessLog } from "./access_log.ts";
import type { ChunkPool } from "./chunk_pool.ts";
import { messageOf } from "./diagnostics.ts";
import { isGone } from "./gone.ts";
import { addressOf } from "./listen.ts";
import { BuffersFull, Message, MessageTooLarge, readAll } from "./read_all.ts";

/** Why a client was dropped before it was served to the end. */
export type Reason = "reset" | "idle" | "message" | "buffers" | "drain" | "failed";

/** Why a client was dropped, in a word and in full. */
export interface Drop {
  /** Which of the known reasons. */
  reason: Reason;
  /** The same for people. */
  detail: string;
}

/**
 * A client that has been accepted.
 *
 * Nothing is sent before the client half-closes: it may write its whole message before it reads a byte, and an early
 * echo would deadlock with it. (RFC 862 lets a server send at once; this is the stricter reading.)
 */
export class Client {
  /** Its number, counted from 1 in accept order. */
  readonly number: number;

  /** Where it stands in the server's list of clients in flight, so that it is taken out without a search. Set by the server. */
  slot: number = -1;

  readonly #conn: Deno.TcpConn;
  readonly #message: Message;
  #sent = 0;
  #replied = false; // whether its reply has been sent in full: from then on it is served, and not dropped
  #dropped: Drop | undefined; // why it is dropped; the first reason counts

  #movedBefore: number | undefined; // bytes that had moved at the last tick; none was seen yet
  #idleTicks = 0;

  /**
   * Takes a client in flight.
   *
   * @param number Its number, counted from 1 in accept order.
   * @param conn The connection. It is closed when {@linkcode Client.serve} returns.
   * @param pool Where the chunks of its message come from.
   */
  constructor(number: number, conn: Deno.TcpConn, pool: ChunkPool) {
    this.number = number;
    this.#conn = conn;
    this.#message = new Message(pool);
  }

  /** Its address, as `host:port`. */
  get address(): string {
    const { hostname, port } = this.#conn.remoteAddr;
    return addressOf(hostname, port);
  }

  /** Bytes received so far. */
  get received(): number {
    return this.#message.length;
  }

  /**
   * Serves it: reads to the half-close, echoes, logs, closes.
   *
   * @param log Where its line goes, before the connection is closed.
   * @param maxMessage Bytes that its message may have.
   * @param onEnd Called when it has ended; with why it was dropped, unless it was served to the end. Told by a callback,
   * since waiting for a promise in the server would take 12 % more of V8's heap for each idle client.
   * @returns Resolves when it has ended. Never rejects.
   */
  async serve(
    log: AccessLog,
    maxMessage: number,
    onEnd: (client: Client, dropped: Drop | undefined) => void,
  ): Promise<void> {
    try {
      await readAll(this.#conn, this.#message, maxMessage);
      await this.#echo();
      if (this.#dropped === undefined) { // else it was dropped in the very turn in which its last write ended
        this.#replied = true;
        await log.append(this.number, this.#message.length);
      }
    } catch (error) {
      this.#dropped ??= whyDropped(error); // what drop() closed under a read or write has its reason already
    } finally {
      this.#message[Symbol.dispose]();
      this.#conn[Symbol.dispose]();
    }
    onEnd(this, this.#dropped);
  }

  /**
   * Ends it, wherever it is; `serve` then tells why. Does nothing if its reply has been sent in full.
   *
   * @param reason Which of the known reasons.
   * @param detail The same for people.
   */
  drop(reason: Reason, detail: string): void {
    if (this.#replied || this.#dropped !== undefined) return;
    this.#dropped = { reason, detail };
    this.#conn.close(); // the read or write that is pending rejects
  }

  /**
   * Tells how long it has been idle. To be called once a tick.
   *
   * @returns How many ticks in a row no byte has moved, either way.
   */
  idleTicks(): number {
    const moved = this.#message.length + this.#sent;
    this.#idleTicks = moved === this.#movedBefore ? this.#idleTicks + 1 : 0;
    this.#movedBefore = moved;
    return this.#idleTicks;
  }

  /** Sends the message back, and gives back each chunk as soon as it is sent. */
  async #echo(): Promise<void> {
    for (let rest = this.#message.front(); rest !== undefined; rest = this.#message.front()) {
      for (;;) {
        const bytes = await this.#conn.write(rest);
        this.#sent += bytes;
        if (bytes === rest.length) break;
        rest = rest.subarray(bytes);
      }
      this.#message.giveBackFront();
    }
  }
}

function whyDropped(error: unknown): Drop {
  if (error instanceof MessageTooLarge) return { reason: "message", detail: error.message };
  if (error instanceof BuffersFull) return { reason: "buffers", detail: error.message };
  return { reason: isGone(error) ? "reset" : "failed", detail: messageOf(error) };
}
