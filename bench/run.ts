/** Compares the server with others: `deno task bench --help`. */
import { parseArgs } from "node:util";
import { buildLoad, floodMedians, measure, measureFlood, median, medians } from "./measure.ts";
import { LISTEN_ONLY, type Peer, peers, Unable } from "./peers.ts";
import { run } from "./process.ts";
import { errorMessage } from "../lib/errors.ts";
import { Progress } from "./progress.ts";
import { floodTable, resultsTable, startTable, summaryTable, targetsTable } from "./report.ts";
import { disturbed, type Figures, type FloodFigures, type Results } from "./results.ts";
import { killAll, start } from "./server.ts";
import { judge } from "./targets.ts";
import { FLOODS, quick, quickFlood, WORKLOADS } from "./workloads.ts";

const HELP = `Compares the server with others that do the same.

usage: deno task bench [options]

  --quick              a fifth of the clients, a fourth of the time, one round
  --rounds=N           rounds, interleaved over servers and workloads [3]
  --peers=LIST         only these servers
  --workloads=LIST     only these workloads
  --server=PATH        the main.ts to measure [the one of this checkout]
  --out=FOLDER         write results.json, results.svg and scaling.svg there
                       [bench, if there is no option and the machine was quiet;
                       else not written]
  --show               measure nothing, print bench/results.json

servers:   ${peers("").map(({ name }) => name).join(", ")}
workloads: ${[...WORKLOADS, ...FLOODS].map(({ name }) => name).join(", ")}, start`;

/** The name, among the workloads, of the time from spawn to listening. */
const START = "start";
const STARTS_PER_ROUND = 7;

const flags = readFlags();
if (flags.show) {
  print(JSON.parse(await Deno.readTextFile(`${import.meta.dirname}/results.json`)));
  Deno.exit();
}
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
  print(results);
  if (flags.out !== undefined) await write(results, flags.out);
  else if (flags.whole && disturbed(results).length === 0) await write(results, import.meta.dirname ?? ".");
} catch (error) {
  if (!(error instanceof Unable)) throw error;
  console.error(error.message);
  Deno.exitCode = 1;
} finally {
  await Deno.remove(scratch, { recursive: true });
}

function print(results: Results): void {
  const others = disturbed(results).map(({ workload, othersCores }) => `${workload}: ${othersCores.toFixed(2)} cores`);
  const parts = [
    resultsTable(results),
    floodTable(results),
    startTable(results),
    summaryTable(results),
    ...Object.entries(results.notMeasured).map(([name, why]) => `not measured: ${name} (${why})`),
    others.length === 0
      ? targetsTable(judge(results))
      : `Other processes used this machine, so no target is checked:\n${others.join("\n")}`,
  ];
  console.log(parts.filter((part) => part !== "").join("\n\n"));
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
        show: { type: "boolean" },
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
    const names = choose(
      [...[...WORKLOADS, ...FLOODS].map(({ name }) => name), START],
      (name) => name,
      values.workloads,
    );
    return {
      show: values.show ?? false,
      isQuick,
      rounds,
      servers: choose(peers(server), ({ name }) => name, values.peers),
      workloads: WORKLOADS.filter(({ name }) => names.includes(name)).map((each) => isQuick ? quick(each) : each),
      floods: FLOODS.filter(({ name }) => names.includes(name)).map((each) => isQuick ? quickFlood(each) : each),
      starts: names.includes(START) ? STARTS_PER_ROUND : 0,
      out: values.out,
      whole: Object.keys(values).length === 0, // only such a run may replace the results in the repository
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
  const { rounds, starts } = flags;
  const before = await machine();
  if (before.loadBefore > 0.5) {
    console.error(`other processes use this machine, or did until a moment ago (load ${before.loadBefore})`);
  }
  const { versions, ready, notMeasured } = await prepare(flags.servers);
  const able = (workload: string) => ready.filter(({ only }) => only === undefined || only.includes(workload));
  const figures = new Map(flags.workloads.map((each) => {
    return [each, new Map<Peer, Figures[]>(able(each.name).map((peer) => [peer, []]))];
  }));
  const floods = new Map(flags.floods.map((each) => {
    return [each, new Map<Peer, FloodFigures[]>(able(each.name).map((peer) => [peer, []]))];
  }));
  const single = ready.filter(({ only }) => only === undefined);
  const startTimes = new Map<Peer, number[]>([LISTEN_ONLY, ...single].map((peer) => [peer, []]));
  const measurements = [...figures.values(), ...floods.values()].reduce((count, byPeer) => count + byPeer.size, starts);
  const progress = new Progress(rounds * measurements);

  for (let round = 1; round <= rounds; round++) {
    for (const [workload, byPeer] of figures) {
      for (const [peer, all] of byPeer) {
        progress.step(`round ${round} of ${rounds}: ${workload.name}: ${peer.name}`);
        all.push(await measure(peer, scratch, workload));
      }
    }
    for (const [flood, byPeer] of floods) {
      for (const [peer, all] of byPeer) {
        progress.step(`round ${round} of ${rounds}: ${flood.name}: ${peer.name}`);
        try {
          all.push(await measureFlood(peer, scratch, flood));
        } catch (error) { // it does not serve the client in a minute, for instance
          byPeer.delete(peer);
          notMeasured[`${peer.name}, ${flood.name}`] = errorMessage(error);
        }
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
    floods: Object.fromEntries([...floods].map(([{ name }, byPeer]) => [name, byName(byPeer, floodMedians)])),
  };
}

/** Finds the version of each server's tool, and builds what must be built. */
async function prepare(servers: Peer[]) {
  const built = `${scratch}/built`;
  await Deno.mkdir(built);
  await buildLoad(built).catch((error) => {
    throw error instanceof Deno.errors.NotFound ? new Unable("the load generator is written in C: install gcc") : error;
  });
  const versions: Record<string, string> = { deno: Deno.version.deno, v8: Deno.version.v8 };
  const notMeasured: Record<string, string> = {};
  const ready: Peer[] = [];
  for (const peer of servers) {
    try {
      if (peer.tool) {
        const [command, ...args] = peer.tool.version;
        versions[command] = (await run(command, args)).split("\n")[0] ?? "";
      }
      await peer.check?.();
      await peer.build?.(built);
      ready.push(peer);
    } catch (error) {
      if (error instanceof Unable) notMeasured[peer.name] = error.message;
      else if (error instanceof Deno.errors.NotFound && peer.tool) {
        notMeasured[peer.name] = `install ${peer.tool.package}`;
      } else throw error;
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
