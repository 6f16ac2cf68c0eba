/**
 * Four servers behind HAProxy, each on its own loopback address and with its own access log.
 *
 * @module
 */

import type { Line } from "../support/access_log_lines.ts";
import { type Address, Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Balancer } from "./balancer.ts";
import { replace } from "./replace.ts";

/** The instances' names, as in `deploy/haproxy/haproxy.cfg`. */
export const NAMES = ["i1", "i2", "i3", "i4"] as const;

/** The name of an instance. */
export type Name = typeof NAMES[number];

/** The address of HAProxy, as in `deploy/haproxy/haproxy.cfg`. */
const FRONT = "127.0.0.10";

/** HAProxy and the instances. */
export class Cluster implements AsyncDisposable {
  /** Where clients connect. */
  readonly address: Address;

  private constructor(
    private readonly resources: AsyncDisposableStack,
    /** A folder for the test. */
    readonly folder: string,
    private readonly port: number,
    private readonly flags: string[],
    private readonly byName: Map<Name, Program>,
    /** HAProxy. */
    readonly balancer: Balancer,
  ) {
    this.address = { hostname: FRONT, port };
  }

  /**
   * Starts them.
   *
   * @param flags Flags for every instance.
   * @param edit What the test changes in HAProxy's configuration.
   * @returns The cluster, once all instances are listening.
   */
  static async start(flags: string[] = [], edit = (config: string): string => config): Promise<Cluster> {
    await using resources = new AsyncDisposableStack();
    const { path: folder } = resources.use(new TemporaryFolder("echo-cluster-"));
    const port = freePort();
    const instances = new Map<Name, Program>();
    for (const name of NAMES) instances.set(name, resources.use(await start(name, folder, port, flags)));
    // Last, since HAProxy considers every instance up until a check has failed.
    const balancer = resources.use(
      await Balancer.start(folder, (config) => edit(replace(config, ":4000", `:${port}`))),
    );
    return new Cluster(resources.move(), folder, port, flags, instances, balancer);
  }

  /** One of the instances. */
  instance(name: Name): Program {
    const instance = this.byName.get(name);
    if (instance === undefined) throw new Error(`there is no instance ${name}`);
    return instance;
  }

  /** All instances. */
  get instances(): Program[] {
    return NAMES.map((name) => this.instance(name));
  }

  /** The lines of the four access logs. */
  get lines(): Line[] {
    return this.instances.flatMap((instance) => instance.lines());
  }

  /**
   * Stops an instance with SIGTERM and starts it again.
   *
   * @param name Which.
   * @returns Its exit status.
   */
  async restart(name: Name): Promise<number> {
    const instance = this.instance(name);
    instance.kill("SIGTERM");
    const status = await instance.exit();
    const next = await start(name, this.folder, this.port, this.flags);
    this.byName.set(name, this.resources.use(next));
    return status;
  }

  /** Stops HAProxy and the instances. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync();
  }
}

function hostnameOf(name: Name): string {
  return `127.0.0.1${name.slice(1)}`;
}

function start(name: Name, folder: string, port: number, flags: string[]): Promise<Program> {
  return Program.start({ hostname: hostnameOf(name), port, accessLog: `${folder}/${name}/access.log`, flags });
}

/** Finds a port that is free at every address of the cluster. */
function freePort(): number {
  for (let tries = 0; tries < 100; tries++) {
    using listeners = new DisposableStack();
    try {
      let port = 0;
      for (const hostname of [FRONT, ...NAMES.map(hostnameOf)]) {
        port = listeners.use(Deno.listen({ hostname, port })).addr.port;
      }
      return port;
    } catch (error) {
      if (!(error instanceof Deno.errors.AddrInUse)) throw error;
    }
  }
  throw new Error(`no port is free at ${FRONT} and at every instance's address`);
}
