/**
 * What a drain must do. In a file of its own since the way in which the server finds its backlog empty may change.
 *
 * @module
 */

import type { Environment } from "./environment.ts";
import type { Peer } from "./peer.ts";

/** Connections that the backlog holds: Linux takes one more than listen(2) was given. */
const MAX_BACKLOG = 4096 + 1;

/**
 * Milliseconds within which a draining server closes its listener, if nothing keeps it from accepting and at most 300
 * clients connect in a second.
 */
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
   * Nothing can happen any more at this time.
   *
   * @param isAccepting Whether an accept is pending.
   * @param unhinderedSince Since when nothing has kept the server from accepting.
   */
  checkAtRest(isAccepting: boolean, unhinderedSince: number): void {
    if (this.#startedAt === undefined || !isAccepting) return;
    const { now, slack } = this.#environment;
    if (now() - slack - Math.max(this.#startedAt, unhinderedSince) > CLOSED_WITHIN_MS) {
      this.#environment.violated("a draining server goes on listening");
    }
  }
}
