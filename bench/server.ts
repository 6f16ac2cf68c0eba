/** Starts a server for one measurement, and always stops it. */
import type { Peer, Place } from "./peers.ts";

/** A server that listens. Disposing of it kills it and removes its folder. */
export interface Server extends AsyncDisposable {
  port: number;
  /** The process of each instance, and the log of each. */
  pids: number[];
  logs: string[];
  /** From the spawn to the first connect that succeeds, in milliseconds. */
  startTime: number;
}

const running = new Set<Deno.ChildProcess>();

/** Kills what is still running: for signals, after which no `finally` runs. */
export function killAll(): void {
  for (const child of running) kill(child);
}

function kill(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch {
    // It has exited by itself.
  }
}

/** Milliseconds that a server may take until it listens. */
const START_TIMEOUT_MS = 10_000;

/**
 * Starts a server on a free port and waits until it listens.
 *
 * @param scratch A folder for what the server writes, where `built` holds what was built.
 * @throws {Error} if it ends or takes too long before it listens.
 */
export async function start(peer: Peer, scratch: string): Promise<Server> {
  const folder = await Deno.makeTempDir({ dir: scratch });
  const port = freePort();
  const logs = Array.from({ length: peer.instances ?? 1 }, (_, i) => `${folder}/access-${i + 1}.log`);
  const children: Deno.ChildProcess[] = [];
  let ended = false;
  const dispose = async () => {
    for (const child of children) {
      kill(child);
      await child.status;
      running.delete(child);
    }
    await Deno.remove(folder, { recursive: true });
  };

  const spawned = performance.now();
  for (const log of logs) {
    const place: Place = { port, folder, log, built: `${scratch}/built` };
    const [command, ...args] = peer.command(place);
    const child = new Deno.Command(command, { args, stdin: "null", stdout: "null", stderr: "inherit" }).spawn();
    children.push(child);
    running.add(child);
    child.status.then(() => ended = true);
    // If the instance before it listens on the same port, its log shows that it has started.
    while (!(await listens(port) && (logs.length === 1 || await exists(log)))) {
      if (ended || performance.now() - spawned > START_TIMEOUT_MS) {
        await dispose();
        throw new Error(`${peer.name} ${ended ? "ended" : "did not listen in time"}: ${command} ${args.join(" ")}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }
  return {
    port,
    pids: children.map(({ pid }) => pid),
    logs,
    startTime: performance.now() - spawned,
    [Symbol.asyncDispose]: dispose,
  };
}

function freePort(): number {
  using listener = Deno.listen({ hostname: "0.0.0.0", port: 0 });
  return listener.addr.port;
}

async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function listens(port: number): Promise<boolean> {
  try {
    using _ = await Deno.connect({ hostname: "127.0.0.1", port });
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.ConnectionRefused) return false;
    throw error;
  }
}
