/**
 * What is verified: the rows of the report, in their order.
 *
 * @module
 */

import { isAllowed } from "./addresses.ts";
import { Client, isWhole, type Message, type Outcome } from "./client.ts";
import { describe, pointsTo, seenAtConnect } from "./diagnosis.ts";
import { Statistics } from "./statistics.ts";

/** The names of the checks, in their order. */
export const NAMES = [
  "connect",
  "empty",
  "small",
  "sizes",
  "silence",
  "write-first",
  "one-byte",
  "slow-reader",
  "slow-sender",
  "concurrent",
  "eof",
  "load",
] as const;

/** The name of a check. */
export type Name = typeof NAMES[number];

/** What a check found. */
export interface Finding {
  /** Whether it passed. Skipped: what it depends on is not given. */
  result: "passed" | "failed" | "skipped";
  /** What was seen, or why it was skipped. */
  seen?: string;
  /** What that points to. */
  pointsTo?: string;
}

/** A row of the report. */
export interface Row extends Finding {
  /** The check. */
  name: Name;
  /** How long it took. */
  seconds: number;
}

/** The limits of the checks, as on the command line. */
export interface Limits {
  /** Clients at a time, where several are tried. */
  clients: number;
  /** Seconds without a byte, after which a client gives up; 0 for no limit. */
  timeout: number;
  /** Bytes of the largest message. */
  maxMessage: number;
  /** Seconds for which small clients are repeated. */
  seconds: number;
}

const SMALL_BYTES = 5;
const MIDDLE_BYTES = 65_536;
const ONE_BYTE_SEGMENTS = 1000;

/** The powers of two around which sizes are tried: 512 bytes to 1 MiB. */
const EXPONENTS = { first: 9, last: 20 };

/** Bytes of a reply that stays unread: more than the buffers of the kernels and of a relay take. */
const UNREAD_BYTES = 16 * 1024 ** 2;

/** Milliseconds that a server may use for an early echo. */
const SILENCE_MS = 1000;

/** Milliseconds of the pauses of a slow reader and a slow sender: shorter than the usual timeouts of idle connections. */
const PAUSE_MS = 3000;

/** Verifies one address. */
export class Verification {
  /** The rows so far. */
  readonly rows: Row[] = [];
  /** Whether the server echoes before the half-close, which RFC 862 allows. */
  echoesEarly = false;
  /** What the clients with small messages took. */
  readonly statistics = new Statistics();
  /** The check that is running. */
  running: Name | undefined;

  readonly #resets = new Set<Name>(); // the checks in which a reply was whole, but ended with a reset

  constructor(private readonly address: { hostname: string; port: number }, private readonly limits: Limits) {}

  /** Whether no check has failed. */
  get passed(): boolean {
    return this.rows.every(({ result }) => result !== "failed");
  }

  /** Runs all checks, and yields each row when it is known. */
  async *run(): AsyncGenerator<Row, void, void> {
    for (const name of NAMES) {
      this.running = name;
      const start = performance.now();
      const finding = this.#whySkipped(name) ?? await this.#checks[name]();
      const row = { name, seconds: (performance.now() - start) / 1000, ...finding };
      this.rows.push(row);
      yield row;
    }
    this.running = undefined;
  }

  #whySkipped(name: Name): Finding | undefined {
    const failed = this.rows.find((row) => row.result === "failed" && ["connect", "small"].includes(row.name));
    if (failed !== undefined) return { result: "skipped", seen: `needs "${failed.name}"` };
    // A server that echoes early stops reading when its echo is not read, so that a client that writes first and reads
    // later would wait for it, and it for the client, for ever.
    if (!this.echoesEarly || (name !== "write-first" && name !== "slow-reader")) return undefined;
    return { result: "skipped", seen: "needs a server that waits for the half-close" };
  }

  readonly #checks: Readonly<Record<Name, () => Promise<Finding>>> = {
    "connect": async () => {
      const { hostname, port } = this.address;
      try {
        // On a terminal, Deno would prompt for a missing permission.
        if (!await isAllowed(hostname, port)) throw new Deno.errors.NotCapable("not allowed");
        using _ = await this.#connect();
        return { result: "passed" };
      } catch (error) {
        return this.#notConnected(error);
      }
    },
    "empty": () => this.#exchange({ size: 0 }),
    "small": () => this.#exchange({ size: SMALL_BYTES }),
    "sizes": async () => {
      for (let exponent = EXPONENTS.first; exponent <= EXPONENTS.last; exponent++) {
        for (const size of [-1, 0, 1].map((step) => 2 ** exponent + step)) {
          if (size > this.limits.maxMessage) return { result: "passed" };
          const finding = await this.#exchange({ size });
          if (finding.result === "failed") return finding;
        }
      }
      return { result: "passed" };
    },
    "silence": async () => {
      const finding = await this.#exchange({ size: SMALL_BYTES, pauseAtEndMs: SILENCE_MS }, ({ early }) => {
        this.echoesEarly = early > 0;
      });
      if (finding.result === "failed" || !this.echoesEarly) return finding;
      return {
        result: "skipped",
        seen: "early: bytes came back before the half-close",
        pointsTo: "another kind of echo server: it echoes at once, as RFC 862 allows",
      };
    },
    "write-first": () => this.#exchange({ size: this.limits.maxMessage, readAfterMs: 0 }),
    "one-byte": () => this.#exchange({ size: this.#atMost(ONE_BYTE_SEGMENTS), segment: 1 }),
    "slow-reader": () => this.#exchange({ size: this.#atMost(UNREAD_BYTES), readAfterMs: PAUSE_MS }),
    "slow-sender": () => this.#exchange({ size: this.#atMost(MIDDLE_BYTES), pauseHalfwayMs: PAUSE_MS }),
    "concurrent": async () => {
      const seeds = Array.from({ length: this.limits.clients }, (_, i) => i + 1);
      const clients = await Promise.allSettled(seeds.map(() => this.#connect())); // all are connected before one sends
      const findings = await Promise.all(clients.map((client, i) => {
        if (client.status === "rejected") return this.#notConnected(client.reason);
        return this.#judge(client.value, { size: this.#atMost(MIDDLE_BYTES + i), seed: seeds[i] ?? 0 });
      }));
      return findings.find(({ result }) => result === "failed") ?? { result: "passed" };
    },
    "eof": async () => {
      const finding = await this.#exchange({ size: SMALL_BYTES });
      if (finding.result === "failed" || this.#resets.size === 0) return finding;
      return {
        result: "failed",
        seen: `reset after the last byte, in ${[...this.#resets].map((name) => `"${name}"`).join(", ")}`,
        pointsTo: "a server, or a relay, that closes while it has not read all that it was sent",
      };
    },
    "load": async () => {
      const start = performance.now();
      const isOver = () => performance.now() - start >= this.limits.seconds * 1000;
      let finding: Finding = { result: "passed" };
      const repeat = async (first: number) => {
        for (let seed = first; !isOver() && finding.result === "passed"; seed += this.limits.clients) {
          const start = performance.now();
          const found = await this.#exchange({ size: SMALL_BYTES, seed });
          if (found.result === "failed") finding = found;
          else this.statistics.add(performance.now() - start);
        }
      };
      await Promise.all(Array.from({ length: this.limits.clients }, (_, i) => repeat(i + 1)));
      this.statistics.seconds = (performance.now() - start) / 1000;
      return finding;
    },
  };

  #connect(): Promise<Client> {
    return Client.connect(this.address, this.limits.timeout * 1000);
  }

  #atMost(bytes: number): number {
    return Math.min(bytes, this.limits.maxMessage);
  }

  #notConnected(error: unknown): Finding {
    return { result: "failed", ...seenAtConnect(error, this.address, this.limits.timeout) };
  }

  async #exchange(message: Message, look?: (outcome: Outcome) => void): Promise<Finding> {
    try {
      return await this.#judge(await this.#connect(), message, look);
    } catch (error) {
      return this.#notConnected(error);
    }
  }

  async #judge(client: Client, message: Message, look?: (outcome: Outcome) => void): Promise<Finding> {
    const outcome = await client.exchange(message);
    look?.(outcome);
    const name = this.running ?? "connect";
    if (isWhole(outcome)) {
      if (outcome.end === "reset") this.#resets.add(name);
      return { result: "passed" };
    }
    return {
      result: "failed",
      seen: describe(outcome, this.limits.timeout),
      pointsTo: pointsTo(outcome, name),
    };
  }
}
