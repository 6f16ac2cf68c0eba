/**
 * Drives the whole program with everything at once, at random, for as long as is asked: clients of every kind, signals,
 * rotations of the log, a full disk. Exits with 1 if the program breaks a promise.
 *
 * Usage: `deno task soak --help`
 *
 * @module
 */

import { parseArgs } from "node:util";
import { Client, isWhole, type Message } from "../../verify/client.ts";
import { Pattern } from "../../verify/content.ts";
import { describe } from "../../verify/diagnosis.ts";
import { type Line, parseLines } from "../support/access_log_lines.ts";
import { Program } from "../support/program.ts";
import { pattern, ResettingClient, waitForClose, writeAll } from "../support/tcp_client.ts";
import { canMount, Tmpfs } from "../support/tmpfs.ts";

/** Clients at a time. */
const WORKERS = 40;

/** Clients besides these that stream without pause, each until it is dropped because its message is too large. */
const STREAMERS = 8;

/** The program's flags: so few clients at a time that some stay in the backlog, and limits that the faulty ones exceed. */
const FLAGS = ["--max-clients=30", "--max-message=1M", "--max-buffered=64M", "--idle-timeout=2"];

/** The largest message. */
const MAX_MESSAGE = 1_048_576;

/** Bytes by which resident memory may have grown since the first quarter: what the pool keeps for the next message. */
const LEVEL = 64 * 1024 ** 2;

/** With a larger heap garbage may stay as long as there is memory, and could not be told from a leak. */
const SMALL_HEAP = { DENO_V8_FLAGS: "--max-heap-size=32" };

/** Milliseconds in which all clients must have ended once the time is over. */
const LAST_CLIENT = 30_000;

const HELP = `\
Drives the server with all loads and faults at random.

Usage: deno task soak [flags]

  --seconds=N   for so long (30)
  --seed=N      the same numbers again (any)
  --help        print this
`;

const { seconds, seed } = readFlags();

/** Reads the command line; ends at a wrong one, and after the help. */
function readFlags(): { seconds: number; seed: number } {
  try {
    const { values } = parseArgs({
      options: {
        seconds: { type: "string", default: "30" },
        seed: { type: "string", default: `${crypto.getRandomValues(new Uint32Array(1))[0]}` },
        help: { type: "boolean" },
      },
    });
    if (values.help) {
      console.log(HELP.trimEnd());
      Deno.exit(0);
    }
    const [seconds, seed] = [Number(values.seconds), Number(values.seed)];
    if (!(seconds > 0 && seconds < Infinity)) {
      throw new Error(`--seconds takes a number above 0, not "${values.seconds}"`);
    }
    if (!Number.isInteger(seed)) throw new Error(`--seed takes a whole number, not "${values.seed}"`);
    return { seconds, seed };
  } catch (error) {
    console.error(`soak: ${error instanceof Error ? error.message : error}; see --help`);
    Deno.exit(2);
  }
}

/** The next random number from 0 to below 1 (mulberry32): the same seed, the same numbers. */
let state = seed | 0;
function random(): number {
  state = (state + 0x6d2b79f5) | 0;
  let mixed = Math.imul(state ^ (state >>> 15), state | 1);
  mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
  return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
}
const below = (limit: number) => Math.floor(random() * limit);
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

/** Small ones often, large ones now and then. */
const size = () => Math.min(Math.floor(2 ** (random() * 20.3)), MAX_MESSAGE);

// Whole clients send an even number of bytes and faulty ones an odd one, so that the log tells them apart: the program
// may serve a faulty client to the end without its noticing.
const even = () => size() & ~1;
const odd = () => Math.max(size() - 1, 0) | 1;

const whole: number[] = []; // the sizes of the clients that were served to the end
let faulty = 0; // the others

/** A client that sends its message in pieces of any size, and must get it back. */
async function wholeClient(program: Program): Promise<void> {
  const [size, seed] = [even(), below(2 ** 31)];
  await exchange(program, {
    size,
    content: () => new Pattern(seed),
    segment: Math.ceil(size / (1 + below(20))),
    pauseHalfwayMs: random() < 0.2 ? below(100) : 0,
    readAfterMs: random() < 0.1 ? below(300) : 0,
  });
}

/** A client that sends its message byte by byte. */
async function slowClient(program: Program): Promise<void> {
  await exchange(program, { size: below(50) * 2, segment: 1 });
}

async function exchange(program: Program, message: Message): Promise<void> {
  using client = await Client.connect(program.address);
  const outcome = await client.exchange(message);
  if (outcome.end !== "eof" || !isWhole(outcome)) {
    throw new Error(`of a whole client came back: ${describe(outcome, 0)}`);
  }
  whole.push(message.size);
}

/** A client that resets the connection at some point. */
async function resettingClient(program: Program): Promise<void> {
  faulty++;
  const client = await ResettingClient.connect(program.address);
  if (random() < 0.8) await client.write(pattern(odd()));
  if (random() < 0.5) await client.end();
  if (random() < 0.5) await pause(below(20));
  await client.reset();
}

/** A client that closes without reading its reply. */
async function closingClient(program: Program): Promise<void> {
  faulty++;
  using conn = await Deno.connect(program.address);
  await writeAll(conn, pattern(odd()));
  await conn.closeWrite();
}

/** A client that sends too much. */
async function greedyClient(program: Program): Promise<void> {
  faulty++;
  using conn = await Deno.connect(program.address);
  await writeAll(conn, pattern(MAX_MESSAGE + 1)).catch(() => {}); // it may be dropped while it still sends
  await waitForClose(conn);
}

/** A client that sends something and then nothing more. */
async function silentClient(program: Program): Promise<void> {
  faulty++;
  using conn = await Deno.connect(program.address);
  await writeAll(conn, pattern(odd()));
  await waitForClose(conn);
}

/** What clients there are, and how often each in a thousand. */
const KINDS: [client: (program: Program) => Promise<void>, often: number][] = [
  [wholeClient, 800],
  [resettingClient, 120],
  [closingClient, 40],
  [slowClient, 25],
  [greedyClient, 12],
  [silentClient, 3],
];

function someClient(): (program: Program) => Promise<void> {
  let at = random() * 1000;
  return KINDS.find(([, often]) => (at -= often) < 0)?.[0] ?? wholeClient;
}

/** Runs clients, one after the other, until it is time. */
async function work(program: Program, isTime: () => boolean): Promise<void> {
  while (!isTime()) await someClient()(program);
}

/** Runs clients that stream, in a thread of their own, until it is time and the server has dropped the last of each. */
async function stream(program: Program, ms: number): Promise<void> {
  const worker = new Worker(new URL("streaming_clients.ts", import.meta.url), { type: "module" });
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  worker.onmessage = ({ data }) => resolve(data);
  worker.onerror = ({ message }) => reject(new Error(message));
  worker.postMessage({ address: program.address, count: STREAMERS, ms });
  try {
    faulty += await promise;
  } finally {
    worker.terminate();
  }
}

const rotated: Line[] = []; // of the logs that were rotated away
let rotations = 0;

/** What happens to the program besides clients. */
const EVENTS: ((program: Program, disk: Tmpfs | undefined) => Promise<unknown> | void)[] = [
  async function rotate(program) {
    const old = `${program.accessLog}.old`;
    Deno.renameSync(program.accessLog, old);
    program.kill("SIGHUP");
    await program.line(/access log reopened/, ++rotations);
    rotated.push(...parseLines(Deno.readTextFileSync(old)));
    Deno.removeSync(old);
  },
  (program) => program.kill("SIGUSR1"),
  (program) => program.kill("SIGUSR2"),
  async function stopForAMoment(program) {
    program.kill("SIGSTOP");
    await pause(below(200));
    program.kill("SIGCONT");
  },
  async function burst(program) {
    await Promise.all(Array.from({ length: 100 }, () => resettingClient(program)));
  },
  async function fillTheDisk(_, disk) {
    disk?.fill();
    await pause(500 + below(2000));
    disk?.free();
  },
];

/** Runs all clients and events until it is time and all have ended. */
async function drive(program: Program, disk: Tmpfs | undefined, ms: number): Promise<void> {
  const end = performance.now() + ms;
  const isTime = () => performance.now() >= end;
  const happen = async () => {
    while (!isTime()) {
      await pause(below(1000));
      await EVENTS[below(EVENTS.length)]?.(program, disk);
    }
  };
  const { promise: late, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new Error("a client hangs")), ms + LAST_CLIENT);
  try {
    await Promise.race([
      Promise.all([
        happen(),
        ...Array.from({ length: WORKERS }, () => work(program, isTime)),
        stream(program, ms),
      ]),
      late,
    ]);
  } finally {
    clearTimeout(timer);
  }
  await program.statusWhen(({ active, buffered, queued_lines }) =>
    active === 0 && buffered === 0 && queued_lines === 0
  );
}

function check(isSo: boolean, what: string): void {
  if (!isSo) throw new Error(what);
}

/** The log against what the clients saw. */
function checkLog(lines: Line[]): void {
  const numbers = new Set(lines.map(({ client }) => client));
  check(numbers.size === lines.length, `${lines.length - numbers.size} clients have two lines`);
  const logged = lines.map(({ bytes }) => bytes).filter((bytes) => bytes % 2 === 0 && bytes > 0).sort((a, b) => a - b);
  const seen = whole.filter((bytes) => bytes > 0).sort((a, b) => a - b);
  check(logged.length === seen.length, `${seen.length} clients were served to the end, ${logged.length} have a line`);
  check(logged.every((bytes, i) => bytes === seen[i]), "lines name other numbers of bytes than were sent");
}

async function soak(): Promise<void> {
  console.log(`soak: ${seconds} s, --seed=${seed}${canMount ? "" : ", without a full disk: needs root"}`);
  using disk = canMount ? new Tmpfs("size=16m") : undefined;
  const place = disk === undefined ? {} : { accessLog: `${disk.folder}/access.log` };
  await using program = await Program.start({ ...place, flags: FLAGS, env: SMALL_HEAP });
  const start = performance.now();
  const progress = setInterval(async () => {
    const { resident, descriptors } = await program.statistics();
    console.log(
      `${Math.round((performance.now() - start) / 1000)} s: ${whole.length} clients whole, ${faulty} faulty, ` +
        `${rotations} rotations, ${descriptors} descriptors, ${Math.round(resident / 1024 ** 2)} MiB resident`,
    );
  }, 1000);
  let early, late;
  try {
    await drive(program, disk, seconds * 250);
    early = await program.statistics();
    await drive(program, disk, seconds * 750);
    late = await program.statistics();
  } finally {
    clearInterval(progress);
  }
  check(late.descriptors <= early.descriptors, `descriptors grew from ${early.descriptors} to ${late.descriptors}`);
  const growth = Math.round((late.resident - early.resident) / 1024 ** 2);
  check(late.resident - early.resident < LEVEL, `resident memory grew by ${growth} MiB`);
  const last = await program.status();
  program.kill("SIGTERM");
  check(await program.exit() === 0, `the exit status is ${await program.exit()}`);
  checkLog([...rotated, ...program.lines()]);
  check(last.dropped_failed === 0, `${last.dropped_failed} clients failed for a reason that the program does not know`);
  check(program.stdout === "", "something came on stdout");
  console.log(
    `soak: passed. ${whole.length} clients whole, ${last.bytes} bytes echoed; ${last.dropped_reset} reset, ${last.dropped_idle} idle, ` +
      `${last.dropped_message} too large, ${last.dropped_before_accept} disconnected before accept; resident memory grew by ${growth} MiB`,
  );
}

try {
  await soak();
} catch (error) {
  console.error(`soak: FAILED with --seed=${seed}: ${error instanceof Error ? error.message : error}`);
  Deno.exit(1);
}
