/**
 * One client, from accept to close.
 *
 * @module
 */

import type { AccessLog } from "./access_log.ts";
import type { BufferPool } from "./buffer_pool.ts";
import { errorMessage, isDisconnect } from "./errors.ts";
import { LimitError, Message, readAll } from "./read_all.ts";
import { formatAddress } from "./startup.ts";

/** Why a client was dropped: it disconnected, it exceeded a limit or a timeout, or something failed. */
export type DropReason = "reset" | "idle" | "message" | "buffers" | "drain" | "failed";

/** Why a client was dropped, in a word and in full. */
export interface Drop {
  /** Which of the known reasons. */
  reason: DropReason;
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
  readonly #message: Message;
  #sent = 0; // bytes
  #isServed = false; // whether its reply has been sent in full: from then on it cannot be dropped
  #dropped: Drop | undefined; // why it is dropped; the first reason counts

  #movedBefore: number | undefined; // bytes received and sent at the last idle sweep
  #idleSweeps = 0;

  /**
   * Makes a client that is not served yet.
   *
   * @param number Its number, counted from 1 in accept order.
   * @param slot Its place in the server's list of clients, so that it is removed without a search.
   * @param conn Its connection. {@linkcode Client.serve} closes it.
   * @param pool Where the buffers of its message come from.
   */
  constructor(readonly number: number, readonly slot: number, private readonly conn: Deno.TcpConn, pool: BufferPool) {
    this.#message = new Message(pool);
  }

  /** Its address, as `host:port`. */
  get address(): string {
    const { hostname, port } = this.conn.remoteAddr;
    return formatAddress(hostname, port);
  }

  /** Bytes received so far. */
  get received(): number {
    return this.#message.length;
  }

  /**
   * Serves it: reads to EOF, echoes, appends its line to the log, closes the connection.
   *
   * @param log Where its line goes.
   * @param maxMessage Bytes that its message may have.
   * @param onEnd Called at the end, with the reason if the client was dropped. A callback, since to await a promise in
   * the server would take 12 % more of V8's heap for each idle client.
   * @returns Resolves at the end. Never rejects.
   */
  async serve(
    log: AccessLog,
    maxMessage: number,
    onEnd: (client: Client, dropped: Drop | undefined) => void,
  ): Promise<void> {
    try {
      await readAll(this.conn, this.#message, maxMessage);
      await this.#echo();
      if (this.#dropped === undefined) { // else it was dropped in the same event-loop iteration as its last write
        this.#isServed = true;
        await log.append(this.number, this.#message.length);
      }
    } catch (error) {
      this.#dropped ??= whyDropped(error); // a read or write that fails because of drop() has its reason already
    } finally {
      this.#message[Symbol.dispose]();
      this.conn[Symbol.dispose]();
    }
    onEnd(this, this.#dropped);
  }

  /** Disconnects it, wherever it is; `onEnd` is told the reason. Does nothing once its reply has been sent in full. */
  drop(reason: DropReason, detail: string): void {
    if (this.#isServed || this.#dropped !== undefined) return;
    this.#dropped = { reason, detail };
    this.conn.close(); // the pending read or write rejects
  }

  /** Counts how many idle sweeps in a row have found that no byte was received or sent. Called once a sweep. */
  countIdleSweeps(): number {
    const moved = this.#message.length + this.#sent;
    this.#idleSweeps = moved === this.#movedBefore ? this.#idleSweeps + 1 : 0;
    this.#movedBefore = moved;
    return this.#idleSweeps;
  }

  async #echo(): Promise<void> {
    for (const chunk of this.#message.chunks()) {
      for (let sent = 0; sent < chunk.length;) {
        const bytes = await this.conn.write(sent === 0 ? chunk : chunk.subarray(sent));
        sent += bytes;
        this.#sent += bytes;
      }
    }
  }
}

function whyDropped(error: unknown): Drop {
  const reason = error instanceof LimitError ? error.limit : isDisconnect(error) ? "reset" : "failed";
  return { reason, detail: errorMessage(error) };
}
