/**
 * The kernel's queue of clients who wait to be accepted, and what the kernel says when something fails.
 *
 * @module
 */

import { BACKLOG } from "../../lib/listen.ts";
import { FakeListener } from "../support/fake_listener.ts";
import type { Life, Surroundings } from "./life.ts";
import { Peer } from "./peer.ts";

/** What a read or a write fails with when the client is gone. One of each is enough: an error takes long to make. */
export const RESET = new Deno.errors.ConnectionReset("Connection reset by peer (os error 104)");
export const BROKEN_PIPE = new Deno.errors.BrokenPipe("Broken pipe (os error 32)");

/** What accept(2) may fail with: since a client is gone, or since something is wanting. */
export const GONE =
  "ENOTCONN ECONNABORTED ECONNRESET EPROTO ETIMEDOUT ENETDOWN ENETUNREACH EHOSTDOWN EHOSTUNREACH ENONET".split(" ");
export const SHORTAGE = "EMFILE ENFILE ENOBUFS ENOMEM EPERM".split(" ");

/** An error of the system. */
export const systemError = (code: string) => Object.assign(new Error(`${code} (os error)`), { code });

function isShortage(arrival: Deno.TcpConn | Error): boolean {
  return arrival instanceof Error && "code" in arrival && SHORTAGE.includes(String(arrival.code));
}

/** The queue. */
export class Queue extends FakeListener {
  /** When an accept last failed since something was wanting. */
  shortageAt = -Infinity;
  /** Accepts that failed since a client was gone. */
  gone = 0;

  readonly #life: Life;
  readonly #world: Surroundings;
  #places = Infinity; // how many may still be accepted

  constructor(life: Life, world: Surroundings) {
    super(world.whenReady);
    this.#life = life;
    this.#world = world;
  }

  /** From here on those who wait are accepted, and no others for long. */
  beginToDrain(): void {
    this.#places = BACKLOG + 1;
    for (const arrival of this.queue) if (arrival instanceof Peer) arrival.waitedAtDrain = true;
  }

  /** Before whoever waits. */
  pushFirst(...arrivals: Error[]): void {
    this.queue.unshift(...arrivals);
    this.push();
  }

  /** A client resets: if it waits, its accept will fail. */
  onReset(peer: Peer): void {
    const place = this.queue.indexOf(peer);
    if (place >= 0) this.queue[place] = systemError("ENOTCONN");
  }

  /** Nothing is wanting any more. */
  heal(): void {
    this.queue.splice(0, Infinity, ...this.queue.filter((arrival) => !isShortage(arrival)));
  }

  override accept(): Promise<Deno.TcpConn> {
    if (!this.#life.room) this.#world.broken("a client is accepted for whom there is no room");
    return super.accept();
  }

  override [Symbol.dispose](): void {
    if (this.closed) return;
    super[Symbol.dispose]();
    // The accept that is about to end has its client already.
    this.#life.onListenerClose(this.queue.splice(this.accepting ? 1 : 0));
  }

  protected override take(): Deno.TcpConn | Error | undefined {
    const arrival = super.take();
    if (arrival !== undefined && isShortage(arrival)) {
      this.shortageAt = this.#world.now();
      return arrival;
    }
    if (--this.#places < 0) this.#world.broken("more are accepted than the queue held");
    if (arrival instanceof Peer) this.#life.onAccept(arrival);
    else if (arrival instanceof Error) this.gone++;
    return arrival;
  }
}
