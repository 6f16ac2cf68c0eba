/** The servers that are compared: how each is built and started. */
import { run } from "./process.ts";
import { BARE_START, FLOOR, LIMIT, SUBJECT, TWO_SUBJECTS } from "./results.ts";

/** One server. */
export interface Peer {
  name: string;
  /** Builds it, if it must be built, into a folder. */
  build?: (folder: string) => Promise<unknown>;
  /** The command that starts it. */
  command: (at: Place) => [string, ...string[]];
  /** Whether it has no log. */
  noLog?: true;
  /** How many instances are started on one port. Default: 1. */
  instances?: number;
  /** The only workloads that it is measured under. Default: all. */
  only?: readonly string[];
  /** Throws {@linkcode Unable}, if this server cannot be measured. */
  check?: () => Promise<void>;
  /** The command that prints the version of its tool, and the Debian package of the tool. */
  tool?: { version: [string, ...string[]]; package: string };
}

/** Thrown when a server cannot be measured. The message says why. */
export class Unable extends Error {}

/** Where a server is started. */
export interface Place {
  /** The port it listens on, on every address. */
  port: number;
  /** The folder of its log, and the path of its log. */
  folder: string;
  log: string;
  /** The folder with what was built. */
  built: string;
}

const here = import.meta.dirname ?? ".";
const DENO = [Deno.execPath(), "run", "--no-prompt"] as const;
const REUSE_PORT = "--reuse-port";

/** The servers; `main` is the path of the server under test. */
export function peers(main: string): Peer[] {
  const subject = ({ port, folder, log }: Place, ...flags: string[]): [string, ...string[]] => [
    ...DENO,
    `--allow-net=0.0.0.0:${port}`,
    `--allow-write=${folder}`,
    main,
    `--port=${port}`,
    `--access-log=${log}`,
    "--log-level=warning",
    "--max-clients=12000", // 10,000 idle clients and some beside them
    "--max-buffered=12G", // what a flood sends is buffered, since it never half-closes
    ...flags,
  ];
  return [
    { name: SUBJECT, command: subject },
    {
      name: TWO_SUBJECTS,
      instances: 2,
      only: ["64 B x 64"],
      command: (place) => subject(place, REUSE_PORT),
      async check() {
        const help = await run(Deno.execPath(), ["run", "--no-prompt", main, "--help"]);
        if (!help.includes(REUSE_PORT)) throw new Unable(`${main} has no ${REUSE_PORT}`);
      },
    },
    {
      name: LIMIT,
      tool: { version: ["gcc", "--version"], package: "gcc" },
      build: (folder) => run("gcc", ["-O2", "-o", `${folder}/epoll`, `${here}/peers/epoll.c`]),
      command: ({ port, log, built }) => [`${built}/epoll`, `${port}`, log],
    },
    {
      name: "Go",
      tool: { version: ["go", "version"], package: "golang-go" },
      build: (folder) => run("go", ["build", "-o", `${folder}/peer`, `${here}/peers/peer.go`]),
      command: ({ port, log, built }) => [`${built}/peer`, `${port}`, log],
    },
    {
      name: "Node",
      tool: { version: ["node", "--version"], package: "nodejs" },
      command: ({ port, log }) => ["node", `${here}/peers/node.mjs`, `${port}`, log],
    },
    {
      name: "asyncio",
      tool: { version: ["python3", "--version"], package: "python3" },
      command: ({ port, log }) => ["python3", `${here}/peers/asyncio_peer.py`, `${port}`, log],
    },
    {
      name: "plain Deno",
      command: ({ port, folder, log }) => [
        ...DENO,
        `--allow-net=0.0.0.0:${port}`,
        `--allow-write=${folder}`,
        `${here}/../examples/minimal.ts`,
        `${port}`,
        log,
      ],
    },
    {
      name: FLOOR,
      noLog: true,
      command: ({ port }) => [...DENO, `--allow-net=0.0.0.0:${port}`, `${here}/peers/floor.ts`, `${port}`],
    },
  ];
}

/** A script that only listens: what the start to listening is compared with. */
export const LISTEN_ONLY: Peer = {
  name: BARE_START,
  command: ({ port }) => [...DENO, `--allow-net=0.0.0.0:${port}`, `${here}/peers/listen_only.ts`, `${port}`],
};
