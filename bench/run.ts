/** Measures the server against its peers: `deno task bench --help`. */
import { parseArgs } from "node:util";
import { type Figures, measure, median, medians } from "./measure.ts";
import { LISTEN_ONLY, type Peer, peers } from "./peers.ts";
import { run } from "./process.ts";
import { Progress } from "./progress.ts";
import { resultsTable, startTable, targetsTable } from "./report.ts";
import type { Results } from "./results.ts";
import { killAll, start } from "./server.ts";
import { judge } from "./targets.ts";
import { quick, WORKLOADS } from "./workloads.ts";

const HELP = `Measures the server against its peers.

usage: deno task bench [options]

  --quick              a fifth of the clients and one round
  --rounds=N           rounds, interleaved over servers and workloads [3]
  --peers=LIST         of these servers only
  --workloads=LIST     of these workloads only
  --server=PATH        the main.ts to measure [the one of this checkout]
  --out=FOLDER         write results.json, results.svg and scaling.svg there
                       [bench, if there is no other option; else not written]

servers:   ${peers("").map(({ name }) => name).join(", ")}
workloads: ${WORKLOADS.map(({ name }) => name).join(", ")}, start`;

/** The name, among the workloads, of the time from spawn to listening. */
const START = "start";
const STARTS_PER_ROUND = 7;

const flags = readFlags();
const scratch = await Deno.makeTempDir({ dir: "/tmp", prefix: "echo-bench-" });
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, () => {
    killAll();
    Deno.removeSync(scratch, { recursive: true });
    Deno.exit(130);
  });
}

try {
  const results = await measureAll();
  console.log(resultsTable(results));
  if (flags.starts > 0) console.log("\n" + startTable(results));
  for (const [name, from] of Object.entries(results.notMeasured)) {
    console.log(`\nnot measured: ${name} (Debian package ${from})`);
  }
  console.log("\n" + targetsTable(judge(results)));
  if (flags.out !== undefined) await write(results, flags.out);
} finally {
  await Deno.remove(scratch, { recursive: true });
}

function readFlags() {
  try {
    const { values } = parseArgs({
      options: {
        help: { type: "boolean" },
        quick: { type: "boolean" },
        rounds: { type: "string" },
        peers: { type: "string" },
        workloads: { type: "string" },
        server: { type: "string" },
        out: { type: "string" },
      },
    });
    if (values.help) {
      console.log(HELP);
      Deno.exit();
    }
    const { quick: isQuick = false, server = `${import.meta.dirname}/../main.ts` } = values;
    const rounds = Number(values.rounds ?? (isQuick ? 1 : 3));
    if (!Number.isInteger(rounds) || rounds < 1) {
      throw new Error(`--rounds takes a number from 1, not "${values.rounds}"`);
    }
    const names = choose([...WORKLOADS.map(({ name }) => name), START], (name) => name, values.workloads);
    // Only a whole run may take the place of the results in the repository.
    const whole = Object.keys(values).length === 0;
    return {
      isQuick,
      rounds,
      servers: choose(peers(server), ({ name }) => name, values.peers),
      workloads: WORKLOADS.filter(({ name }) => names.includes(name)).map((each) => isQuick ? quick(each) : each),
      starts: names.includes(START) ? STARTS_PER_ROUND : 0,
      out: values.out ?? (whole ? import.meta.dirname : undefined),
    };
  } catch (error) {
    console.error(error instanceof Error ? error.message : error);
    Deno.exit(2);
  }
}

function choose<T>(all: readonly T[], name: (each: T) => string, list?: string): T[] {
  const wanted = list?.split(",") ?? all.map(name);
  const unknown = wanted.find((one) => !all.some((each) => name(each) === one));
  if (unknown !== undefined) throw new Error(`no "${unknown}"; there are: ${all.map(name).join(", ")}`);
  return all.filter((each) => wanted.includes(name(each)));
}

async function measureAll(): Promise<Results> {
  const { workloads, rounds, starts } = flags;
  const before = await machine();
  if (before.loadBefore > 0.5) {
    console.error(`others use this machine (load ${before.loadBefore}): the figures will be off`);
  }
  const { versions, ready, notMeasured } = await prepare(flags.servers);
  const figures = new Map(workloads.map((each) => {
    const able = ready.filter(({ floor }) => !floor || each.bytes < 4096);
    return [each, new Map<Peer, Figures[]>(able.map((peer) => [peer, []]))];
  }));
  const startTimes = new Map<Peer, number[]>([LISTEN_ONLY, ...ready].map((peer) => [peer, []]));
  const progress = new Progress(rounds * (workloads.length * ready.length + starts));

  for (let round = 1; round <= rounds; round++) {
    for (const [workload, byPeer] of figures) {
      for (const [peer, all] of byPeer) {
        progress.step(`round ${round} of ${rounds}: ${workload.name}: ${peer.name}`);
        all.push(await measure(peer, scratch, workload));
      }
    }
    for (let i = 1; i <= starts; i++) {
      progress.step(`round ${round} of ${rounds}: start ${i} of each`);
      for (const [peer, all] of startTimes) {
        await using server = await start(peer, scratch);
        all.push(server.startTime);
      }
    }
  }
  progress.end();

  const byName = <T, U>(map: Map<Peer, T>, value: (each: T) => U) =>
    Object.fromEntries([...map].map(([peer, each]) => [peer.name, value(each)]));
  return {
    date: new Date().toISOString(),
    machine: before,
    versions,
    rounds,
    quick: flags.isQuick,
    notMeasured,
    startTime: starts > 0 ? byName(startTimes, median) : {},
    figures: Object.fromEntries([...figures].map(([{ name }, byPeer]) => [name, byName(byPeer, medians)])),
  };
}

/** Asks each server's tool for its version and builds what must be built. */
async function prepare(servers: Peer[]) {
  const built = `${scratch}/built`;
  await Deno.mkdir(built);
  const versions: Record<string, string> = { deno: Deno.version.deno, v8: Deno.version.v8 };
  const notMeasured: Record<string, string> = {};
  const ready: Peer[] = [];
  for (const peer of servers) {
    try {
      if (peer.tool) {
        const [command, ...args] = peer.tool.version;
        versions[command] = (await run(command, args)).split("\n")[0] ?? "";
      }
      await peer.build?.(built);
      ready.push(peer);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound) || !peer.tool) throw error;
      notMeasured[peer.name] = peer.tool.package;
    }
  }
  return { versions, ready, notMeasured };
}

async function machine(): Promise<Results["machine"]> {
  const field = (text: string, name: string) => text.match(new RegExp(`^${name}\\s*:\\s*(.*)$`, "m"))?.[1] ?? "unknown";
  return {
    cpu: field(await run("cat", ["/proc/cpuinfo"]), "model name"),
    cores: navigator.hardwareConcurrency,
    memory: field(await run("cat", ["/proc/meminfo"]), "MemTotal"),
    kernel: (await run("uname", ["-sr"])).trim(),
    loadBefore: parseFloat(await run("cat", ["/proc/loadavg"])),
  };
}

async function write(results: Results, folder: string): Promise<void> {
  await Deno.mkdir(folder, { recursive: true });
  await Deno.writeTextFile(`${folder}/results.json`, JSON.stringify(results, null, 2) + "\n");
  const chart = [
    "run",
    "--config=bench/chart/deno.json",
    "--no-prompt",
    `--allow-read=${folder}`,
    `--allow-write=${folder}`,
  ];
  await run(Deno.execPath(), [...chart, "bench/chart/chart.ts", folder]);
}
