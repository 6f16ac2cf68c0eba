/**
 * What is verified: the rows of the report, in their order.
 *
 * @module
 */

import { isAllowed } from "./addresses.ts";
import { Client, isWhole, type Message } from "./client.ts";
import { Pattern } from "./content.ts";
import { diagnose, diagnoseConnect, type Diagnosis } from "./diagnosis.ts";
import { type Options, SMALL_BYTES } from "./options.ts";
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

/** A row of the report. */
export interface Row extends Partial<Diagnosis> {
  /** The check. */
  name: Name;
  /** Whether it passed. Skipped: what it depends on is not given; `seen` says what. */
  result: "passed" | "failed" | "skipped";
  /** How long it took. */
  seconds: number;
}

type Finding = Omit<Row, "name" | "seconds">;

const PASSED: Finding = { result: "passed" };

const EARLY: Diagnosis = {
  seen: "early: bytes came back before the half-close",
  pointsTo: "another kind of echo server: it echoes at once, as RFC 862 allows",
};

const ONE_BYTE_SEGMENTS = 1000;
const MIDDLE_BYTES = 65_536;

/** More than the kernels' buffers and a relay's hold of a reply that is not read. */
const LARGE_BYTES = 16 * 1024 ** 2;

/** The sizes of buffers, as powers of two: 512 bytes to 1 MiB. */
const BUFFER_EXPONENTS = [9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20];

/** How long an early echo may take. */
const SILENCE_MS = 1000;

/** How long the slow reader and the slow sender pause: no timeout for idle connections should be as short. */
const PAUSE_MS = 3000;

/** Verifies one address. */
export class Verification {
  /** The rows so far. */
  readonly rows: Row[] = [];
  /** The times of the small clients in `load`. */
  readonly times = new Statistics();
  /** Whether the server echoes before the half-close. */
  echoesEarly = false;
  /** The check that is running. */
  running: Name = "connect";

  #isEarly = false; // in the check that is running
  readonly #resets = new Set<Name>(); // the checks in which a whole reply ended with a reset

  constructor(private readonly address: { hostname: string; port: number }, private readonly options: Options) {}

  /** Whether all checks have run, and none has failed. */
  get passed(): boolean {
    return this.rows.length === NAMES.length && this.rows.every(({ result }) => result !== "failed");
  }

  /** Runs all checks. Yields each row as soon as it is known. */
  async *run(): AsyncGenerator<Row, void, void> {
    for (const name of NAMES) {
      this.running = name;
      const start = performance.now();
      this.#isEarly = false;
      const finding = this.#whySkipped(name) ?? await this.#checks[name]();
      const seconds = (performance.now() - start) / 1000;
      // Other rows need not repeat it.
      const namesEarly = this.#isEarly && (name === "silence" || !this.echoesEarly) && finding.result === "passed";
      this.echoesEarly ||= this.#isEarly;
      const row: Row = { name, ...finding, seconds, ...(namesEarly ? EARLY : {}) };
      if (namesEarly && name === "silence") row.result = "skipped";
      this.rows.push(row);
      yield row;
    }
  }

  #whySkipped(name: Name): Finding | undefined {
    const failed = this.rows.find((row) => row.result === "failed" && (row.name === "connect" || row.name === "small"));
    if (failed !== undefined) return { result: "skipped", seen: `needs "${failed.name}"` };
    // A server that echoes early does not read on while its echo is not read. If the client reads nothing before it has
    // sent everything, each would wait for the other for ever.
    if (!this.echoesEarly || (name !== "write-first" && name !== "slow-reader")) return undefined;
    return { result: "skipped", seen: "needs a server that waits for the half-close" };
  }

  readonly #checks: Readonly<Record<Name, () => Promise<Finding>>> = {
    "connect": async () => {
      const { hostname, port } = this.address;
      try {
        // Deno would prompt for a missing permission on a terminal.
        if (!await isAllowed(hostname, port)) throw new Deno.errors.NotCapable();
        using _ = await this.#connect();
        return PASSED;
      } catch (error) {
        return this.#notConnected(error);
      }
    },
    "empty": () => this.#exchange({ size: 0 }),
    "small": () => this.#exchange({ size: SMALL_BYTES }),
    "sizes": async () => {
      const sizes = BUFFER_EXPONENTS.flatMap((exponent) => [-1, 0, 1].map((step) => 2 ** exponent + step));
      for (const size of sizes.filter((size) => size <= this.options.maxMessage)) {
        const finding = await this.#exchange({ size });
        if (finding.result === "failed") return finding;
      }
      return PASSED;
    },
    "silence": () => this.#exchange({ size: SMALL_BYTES, pauseAtEndMs: SILENCE_MS }),
    "write-first": () => this.#exchange({ size: this.options.maxMessage, readAfterMs: 0 }),
    "one-byte": () => this.#exchange({ size: ONE_BYTE_SEGMENTS, segment: 1 }),
    "slow-reader": () => this.#exchange({ size: LARGE_BYTES, readAfterMs: PAUSE_MS }),
    "slow-sender": () => this.#exchange({ size: MIDDLE_BYTES, pauseHalfwayMs: PAUSE_MS }),
    "concurrent": async () => {
      const clients = Array.from({ length: this.options.clients }, () => this.#connect());
      await Promise.allSettled(clients); // none sends before all are connected
      const findings = await Promise.all(clients.map((client, i) => {
        return this.#exchange({ size: MIDDLE_BYTES + i, content: () => new Pattern(i + 1) }, client);
      }));
      return findings.find(({ result }) => result === "failed") ?? PASSED;
    },
    "eof": () => {
      if (this.#resets.size === 0) return Promise.resolve(PASSED);
      return Promise.resolve({
        result: "failed",
        seen: `reset after the last byte, in ${[...this.#resets].join(", ")}`,
        pointsTo: "a server or relay that closes before it has read all that it was sent",
      });
    },
    "load": async () => {
      const { clients, seconds } = this.options;
      const start = performance.now();
      const elapsed = () => (performance.now() - start) / 1000;
      let finding: Finding | undefined;
      const repeat = async (seed: number) => {
        while (finding === undefined && elapsed() < seconds) {
          const connecting = performance.now();
          const client = this.#connect();
          if (await client.then(() => false, (error) => error instanceof Deno.errors.AddrNotAvailable)) {
            finding ??= { result: "passed", seen: "ended early: this machine has no free port left" };
            return;
          }
          const found = await this.#exchange({ size: SMALL_BYTES, content: () => new Pattern(seed) }, client);
          if (found.result === "passed") this.times.add(performance.now() - connecting, elapsed());
          else finding = found;
          seed += clients;
        }
      };
      await Promise.all(Array.from({ length: clients }, (_, i) => repeat(i)));
      return finding ?? PASSED;
    },
  };

  #connect(): Promise<Client> {
    return Client.connect(this.address, this.options.timeout * 1000);
  }

  /** Has a client send a message of at most `--max-message` bytes, and compares the reply. */
  async #exchange(message: Message, client: Promise<Client> = this.#connect()): Promise<Finding> {
    const size = Math.min(message.size, this.options.maxMessage);
    let connected: Client;
    try {
      connected = await client;
    } catch (error) {
      return this.#notConnected(error);
    }
    const outcome = await connected.exchange({ ...message, size });
    const isReset = outcome.end === "reset";
    if (isWhole(outcome) && !(isReset && this.running === "load")) { // "load" comes after "eof"
      if (isReset) this.#resets.add(this.running);
      // Only here: if a relay gives up in the middle of a message, the server echoes that half, and is right.
      if (outcome.early > 0) this.#isEarly = true;
      return PASSED;
    }
    return { result: "failed", ...diagnose(outcome, this.running, this.options.timeout) };
  }

  #notConnected(error: unknown): Finding {
    return { result: "failed", ...diagnoseConnect(error, this.address, this.options.timeout) };
  }
}
