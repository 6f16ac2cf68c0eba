/**
 * Clients that check every byte.
 *
 * As a program (`load.ts HOSTNAME PORT CLIENTS`) it runs that many clients, one after the other, with 0, 100 ... 4900,
 * 0 ... bytes, where a test itself cannot run, such as in another network namespace.
 *
 * @module
 */

import type { Line } from "../support/access_log_lines.ts";
import type { Address } from "../support/program.ts";
import { Client, isWhole } from "../../verify/client.ts";
import { describe } from "../../verify/diagnosis.ts";
import { Bytes, pattern } from "../support/tcp_client.ts";
import { until } from "../support/wait.ts";

/** A client that did not get its bytes back. */
export interface Failure {
  /** The client's own port, 0 if it could not connect. */
  port: number;
  /** What went wrong. */
  reason: string;
}

/** Clients that connect one after the other, several at a time, until they are stopped. */
export class Load implements AsyncDisposable {
  /** The clients that did not get their bytes back. */
  readonly failures: Failure[] = [];

  readonly #sizes: number[] = [];
  readonly #running: Promise<unknown>;
  #stopping = false;

  /**
   * Starts the clients.
   *
   * @param address Where they connect.
   * @param clients How many at a time.
   * @param largest Bytes of the largest message; the sizes are distributed evenly from 0.
   */
  constructor(
    private readonly address: Address,
    private readonly clients: number,
    private readonly largest: number,
  ) {
    this.#running = Promise.all(Array.from({ length: clients }, (_, i) => this.#run(i)));
  }

  /** The sizes of the messages that came back as they were sent, in ascending order. */
  get served(): number[] {
    return this.#sizes.toSorted(ascending);
  }

  /**
   * Waits until more clients have been served.
   *
   * @param count How many more than now.
   */
  async serves(count: number): Promise<void> {
    const goal = this.#sizes.length + count;
    await until(() => this.#sizes.length >= goal, () => `${goal} clients; ${this.#sizes.length} were served`);
  }

  /** Lets the current clients finish, and starts no more. */
  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** The same as {@linkcode Load.stop}. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #run(first: number): Promise<void> {
    for (let i = first; !this.#stopping; i += this.clients) {
      // The fractional parts of the multiples of the golden ratio fill 0 to 1 evenly.
      const size = Math.floor(i * 0.6180339887 % 1 * (this.largest + 1));
      const failure = await echo(this.address, pattern(size, i));
      if (failure === undefined) this.#sizes.push(size);
      else this.failures.push(failure);
    }
  }
}

/**
 * Runs one client: sends a message, half-closes, and compares the reply.
 *
 * @param address Where to connect.
 * @param message The message.
 * @returns `undefined` if the reply was exactly the message, else what went wrong.
 */
export async function echo(address: Address, message: Uint8Array): Promise<Failure | undefined> {
  let port = 0;
  try {
    using client = await Client.connect(address);
    port = client.localPort;
    const content = () => new Bytes(message);
    const outcome = await client.exchange({ size: message.length, content, readAfterMs: 0 });
    return outcome.end === "eof" && isWhole(outcome) ? undefined : { port, reason: describe(outcome, 0) };
  } catch (error) {
    return { port, reason: String(error) };
  }
}

/**
 * The sizes in lines of access logs, in ascending order, to be compared with {@linkcode Load.served}.
 *
 * @param lines The lines.
 * @returns The sizes.
 */
export function loggedSizes(lines: Line[]): number[] {
  return lines.map(({ bytes }) => bytes).sort(ascending);
}

function ascending(a: number, b: number): number {
  return a - b;
}

if (import.meta.main) {
  const [hostname = "", port = "", clients = ""] = Deno.args;
  for (let i = 0; i < Number(clients); i++) {
    const failure = await echo({ hostname, port: Number(port) }, pattern(i % 50 * 100, i));
    if (failure !== undefined) throw new Error(`client ${i + 1}: ${failure.reason}`);
  }
}
