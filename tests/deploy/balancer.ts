/**
 * Debian's HAProxy with the project's configuration.
 *
 * @module
 */

import { StreamLines } from "../support/stream_lines.ts";
import { until } from "../support/wait.ts";
import { replace } from "./replace.ts";

const CONFIG = new URL("../../deploy/haproxy/haproxy.cfg", import.meta.url);

/** HAProxy, running. */
export class Balancer implements AsyncDisposable {
  /** Its log: a line for each client, and for each instance that goes down or comes up. */
  readonly log: StreamLines;

  readonly #warnings: StreamLines;

  private constructor(private readonly child: Deno.ChildProcess, readonly socket: string) {
    this.log = new StreamLines(child.stdout);
    this.#warnings = new StreamLines(child.stderr);
  }

  /**
   * Starts it.
   *
   * @param folder Where its configuration and its runtime socket go.
   * @param edit What the test changes in the configuration.
   * @param launcher A command that ends by executing its arguments.
   * @returns HAProxy, once it takes commands, and so accepts clients.
   */
  static async start(folder: string, edit: (config: string) => string, launcher: string[] = []): Promise<Balancer> {
    const socket = `${folder}/haproxy.sock`;
    let config = await Deno.readTextFile(CONFIG);
    // What depends on the system: its log, its folders and users, and its limit of descriptors.
    config = replace(config, "log /dev/log local0", "log stdout format raw local0");
    config = replace(config, "/run/haproxy/admin.sock", socket);
    config = replace(config, "user haproxy", "");
    config = replace(config, "group haproxy", "");
    config = replace(config, "maxconn 40000", "maxconn 4000");
    await Deno.writeTextFile(`${folder}/haproxy.cfg`, edit(config));
    const [command = "", ...args] = [...launcher, "haproxy", "-db", "-f", `${folder}/haproxy.cfg`];
    const child = new Deno.Command(command, { args, stdin: "null", stdout: "piped", stderr: "piped" }).spawn();
    const balancer = new Balancer(child, socket);
    try {
      await until(() => balancer.#answers());
      return balancer;
    } catch (cause) {
      await balancer[Symbol.asyncDispose]();
      throw new Error(`HAProxy did not start:\n${balancer.#warnings.all.join("\n")}`, { cause });
    }
  }

  /**
   * Sends a command to the runtime socket.
   *
   * @param command The command.
   * @returns The answer.
   */
  async ask(command: string): Promise<string> {
    const conn = await Deno.connect({ transport: "unix", path: this.socket });
    await conn.write(new TextEncoder().encode(`${command}\n`));
    return await new Response(conn.readable).text();
  }

  /** Stops it. */
  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.child.kill("SIGTERM");
    } catch {
      // It has exited already.
    }
    await Promise.all([this.log.ended, this.#warnings.ended, this.child.status]);
  }

  /** Whether it answers; it prints nothing when it is ready. */
  async #answers(): Promise<boolean> {
    try {
      return (await this.ask("show info")) !== "";
    } catch {
      return false;
    }
  }
}
