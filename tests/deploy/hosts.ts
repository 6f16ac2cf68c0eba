/**
 * Two hosts with one server each, and a third with HAProxy and the clients: network namespaces, connected by veth pairs.
 *
 * @module
 */

import { output } from "../support/commands.ts";
import { Program } from "../support/program.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { Balancer } from "./balancer.ts";
import { replace } from "./replace.ts";

const CLIENTS = new URL("load.ts", import.meta.url).pathname;

/** The hosts. None of them can be reached from outside. */
export class Hosts implements AsyncDisposable {
  private constructor(
    private readonly resources: AsyncDisposableStack,
    /** The server on the first host. */
    readonly a: Program,
    /** The server on the second host. */
    readonly b: Program,
    /** HAProxy. */
    readonly balancer: Balancer,
  ) {}

  /**
   * Starts everything.
   *
   * @returns The hosts, once both servers are listening.
   */
  static async start(): Promise<Hosts> {
    await using resources = new AsyncDisposableStack();
    const { path: folder } = resources.use(new TemporaryFolder("echo-hosts-"));
    for (const host of ["front", "a", "b"]) {
      await ip(`netns add ${namespace(host)}`);
      resources.defer(() => ip(`netns del ${namespace(host)}`));
      await ip(`-n ${namespace(host)} link set lo up`);
    }
    const connect = async (host: "a" | "b", net: string) => {
      const front = namespace("front");
      await ip(`-n ${front} link add to-${host} type veth peer name eth0 netns ${namespace(host)}`);
      await ip(`-n ${front} addr add ${net}.1/24 dev to-${host}`);
      await ip(`-n ${front} link set to-${host} up`);
      await ip(`-n ${namespace(host)} addr add ${net}.2/24 dev eth0`);
      await ip(`-n ${namespace(host)} link set eth0 up`);
      const options = { hostname: `${net}.2`, port: 4000, accessLog: `${folder}/${host}/access.log` };
      return resources.use(await Program.start({ ...options, launcher: inside(host) }));
    };
    const a = await connect("a", "10.77.1");
    const b = await connect("b", "10.77.2");
    const edit = (config: string) => {
      const two = replace(config, "server i1 127.0.0.11:4000", "server a 10.77.1.2:4000");
      return replace(two, "server i2 127.0.0.12:4000", "server b 10.77.2.2:4000").replace(/server i[34] .*/g, "");
    };
    const balancer = resources.use(await Balancer.start(folder, edit, inside("front")));
    return new Hosts(resources.move(), a, b, balancer);
  }

  /**
   * Runs clients on the host that HAProxy is on, one after the other. Their messages have 0, 100 ... 4900, 0 ... bytes.
   *
   * @param count How many.
   * @throws {Error} If one of them does not get its bytes back.
   */
  async clients(count: number): Promise<void> {
    await this.onFront(Deno.execPath(), "run", "--no-prompt", "--allow-net", CLIENTS, "127.0.0.10", "4000", `${count}`);
  }

  /**
   * Runs a command on the host that HAProxy is on.
   *
   * @param command The command.
   * @throws {Error} If it fails.
   */
  async onFront(...command: string[]): Promise<void> {
    await output(...inside("front"), ...command);
  }

  /**
   * Takes a host off the network, as a power cut does: packets to it are lost without any error.
   *
   * @param host Which.
   */
  async turnOff(host: "a" | "b"): Promise<void> {
    await ip(`-n ${namespace(host)} addr flush dev eth0`);
  }

  /** Stops everything and removes the namespaces. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync();
  }
}

function namespace(host: string): string {
  return `echo-${Deno.pid}-${host}`;
}

function inside(host: string): string[] {
  return ["ip", "netns", "exec", namespace(host)];
}

async function ip(args: string): Promise<void> {
  await output("ip", ...args.split(" "));
}
