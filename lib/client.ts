/**
 * One client, from accept to close.
 *
 * @module
 */

import type { AccessLog } from "./access_log.ts";
import type { BufferPool } from "./buffer_pool.ts";
import { errorMessage, isDisconnect } from "./errors.ts";
import type { FairQueue } from "./fair_queue.ts";
import { LimitError, Message, readAll, type Reader } from "./read_all.ts";
import { formatAddress } from "./startup.ts";

/** Why a client was dropped: it disconnected, it exceeded a limit or a timeout, or something failed. */
export type DropReason = "reset" | "idle" | "message" | "buffers" | "drain" | "failed";

/** Why a client was dropped, in a word and in full. */
export type Drop = { reason: DropReason; detail: string };

/** Takes a client that has ended, and why if it was dropped. */
export type OnEnd = (client: Client, dropped: Drop | undefined) => void;

/**
 * A client that has been accepted.
 *
 * Nothing is sent before the client half-closes: it may write its whole message before it reads a byte, and an early
 * echo would deadlock with it. (RFC 862 lets a server send at once; this is the stricter reading.)
 */
export class Client implements Reader {
  readonly #message: Message;
  #sent = 0; // bytes
  #operations = 0; // reads and writes
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
   * @param pool The memory for its message.
   * @param queue The order of its reads and writes among those of all clients.
   */
  constructor(
    readonly number: number,
    readonly slot: number,
    private readonly conn: Deno.TcpConn,
    pool: BufferPool,
    private readonly queue: FairQueue,
  ) {
    this.#message = new Message(pool);
  }

  /** Its address, as `host:port`. */
  get address(): string {
    return formatAddress(this.conn.remoteAddr);
  }

  /** Bytes received so far. */
  get received(): number {
    return this.#message.length;
  }

  /**
   * Serves it: reads to EOF, echoes, appends its line to the log, closes the connection.
   *
   * @param log The access log.
   * @param maxMessage Bytes that its message may have.
   * @param onEnd Called at the end, with the reason if the client was dropped. A callback, because awaiting a promise in
   * the server takes 12 % more of V8's heap for each idle client.
   * @returns Resolves at the end. Never rejects.
   */
  async serve(log: AccessLog, maxMessage: number, onEnd: OnEnd): Promise<void> {
    try {
      await readAll(this, this.#message, maxMessage);
      await this.#echo();
      if (this.#dropped === undefined) { // else it was dropped in the same event-loop iteration as its last write
        this.#isServed = true;
        await log.append(this.number, this.#message.length);
      }
    } catch (error) {
      const reason = error instanceof LimitError ? error.limit : isDisconnect(error) ? "reset" : "failed";
      this.#dropped ??= { reason, detail: errorMessage(error) }; // drop() has set the reason of the error that it causes
    } finally {
      this.#message[Symbol.dispose]();
      this.conn[Symbol.dispose]();
    }
    onEnd(this, this.#dropped);
  }

  /** Reads from the connection when the queue lets it; for {@linkcode readAll}. */
  read(buffer: Uint8Array): Promise<number | null> {
    const turn = this.queue.enter(++this.#operations);
    return turn === undefined ? this.conn.read(buffer) : turn.then(() => this.conn.read(buffer));
  }

  /** Drops it, whatever it is doing; `onEnd` is told the reason. Does nothing once its reply has been sent in full. */
  drop(reason: DropReason, detail: string): void {
    if (this.#isServed || this.#dropped !== undefined) return;
    this.#dropped = { reason, detail };
    this.conn.close(); // its pending or next read or write rejects
  }

  /**
   * Drops it if no byte was received or sent in `maxSweeps` idle sweeps in a row. Called once per sweep.
   *
   * @param maxSweeps Sweeps in one idle timeout.
   * @param detail The explanation for the report.
   */
  dropIfIdle(maxSweeps: number, detail: string): void {
    const moved = this.#message.length + this.#sent;
    this.#idleSweeps = moved === this.#movedBefore ? this.#idleSweeps + 1 : 0;
    this.#movedBefore = moved;
    if (this.#idleSweeps >= maxSweeps) this.drop("idle", detail);
  }

  async #echo(): Promise<void> {
    for (const chunk of this.#message.chunks()) {
      for (let sent = 0; sent < chunk.length;) {
        const turn = this.queue.enter(++this.#operations);
        if (turn !== undefined) await turn;
        const bytes = await this.conn.write(sent === 0 ? chunk : chunk.subarray(sent));
        sent += bytes;
        this.#sent += bytes;
      }
    }
  }
}
