/**
 * What a drain must do. In a file of its own since the way in which the server finds its backlog empty may change.
 *
 * @module
 */

import type { Environment } from "./environment.ts";
import type { Peer } from "./peer.ts";

/** Connections that the backlog holds: Linux takes one more than listen(2) was given. */
const MAX_BACKLOG = 4096 + 1;

/** Milliseconds for which an accept of a draining server is pending while the backlog is empty. */
const CLOSED_WITHIN_MS = 200;

/** Checks a drain. */
export class DrainOracle {
  readonly #environment: Environment;
  #startedAt: number | undefined;
  #pending = new Set<Peer>(); // in the backlog when the drain began
  #acceptsLeft = Infinity;

  /** @param environment Where violations are reported. */
  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /** When the drain began. */
  get startedAt(): number | undefined {
    return this.#startedAt;
  }

  /** The server is told to drain. */
  start(pending: Peer[]): void {
    if (this.#startedAt !== undefined) return;
    this.#startedAt = this.#environment.now();
    this.#pending = new Set(pending);
    this.#acceptsLeft = MAX_BACKLOG;
  }

  /** A connection leaves the backlog. */
  onAccept(): void {
    if (--this.#acceptsLeft < 0) this.#environment.violated("more clients are accepted than the backlog held");
  }

  /**
   * The server closes the listener: the kernel resets the connections in the backlog.
   *
   * @param reset Their clients.
   * @param isAborted Whether the server may drop clients.
   */
  onListenerClose(reset: Peer[], isAborted: boolean): void {
    if (isAborted) return;
    if (this.#startedAt === undefined) this.#environment.violated("the listener is closed before a drain");
    const lost = reset.find((peer) => this.#pending.has(peer));
    if (lost !== undefined) this.#environment.violated(`${lost.name} is reset in the backlog`);
  }

  /**
   * Nothing can happen any more at this time: the backlog is empty.
   *
   * @param acceptingSince Since when an accept is pending; `undefined` if none is.
   */
  checkAtRest(acceptingSince: number | undefined): void {
    if (this.#startedAt === undefined || acceptingSince === undefined) return;
    const { now, slack } = this.#environment;
    if (now() - slack - Math.max(this.#startedAt, acceptingSince) > CLOSED_WITHIN_MS) {
      this.#environment.violated("a draining server goes on listening");
    }
  }
}
