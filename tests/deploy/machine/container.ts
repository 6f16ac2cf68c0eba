/**
 * A system booted by systemd-nspawn: its own systemd, on the kernel that runs the tests, with its own network.
 *
 * @module
 */

import { output } from "../../support/commands.ts";
import { removeCgroups, SOURCE } from "./debian.ts";

/** A machine that commands can be run on. */
export interface Machine extends AsyncDisposable {
  /**
   * Runs a script as root, in the checkout.
   *
   * @param script For sh, which exits at the first command that fails.
   * @returns What it printed, on stdout and stderr.
   * @throws {Error} If it fails; the message has what it printed.
   */
  run(script: string): Promise<string>;
}

/** The script that a machine's shell runs. */
export function inside(script: string): string {
  return `exec 2>&1; cd ${SOURCE}; ${script}`;
}

/** A machine that shares the kernel of the host. Memory limits may not be enforced in it. */
export class Container implements Machine {
  private constructor(private readonly nspawn: Deno.ChildProcess, private readonly init: string) {}

  /**
   * Boots it.
   *
   * @param folder Where the system is.
   * @returns The machine, once it has booted.
   */
  static async boot(folder: string): Promise<Container> {
    const nspawn = new Deno.Command("systemd-nspawn", {
      args: [
        ...["--quiet", "--boot", "--register=no", "--keep-unit", "--private-network", "--console=pipe"],
        `--directory=${folder}`,
      ],
      stdin: "null",
      stdout: "null",
      stderr: "null",
    }).spawn();
    const init = (await output("sh", "-ec", FIND_INIT, "sh", String(nspawn.pid))).trim();
    const container = new Container(nspawn, init);
    try {
      // Until its systemd accepts requests, the command fails.
      await container.run("until systemctl is-system-running --wait | grep -qE 'running|degraded'; do sleep 0.1; done");
      return container;
    } catch (error) {
      await container[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Runs a script. */
  async run(script: string): Promise<string> {
    const { success, stdout } = await new Deno.Command("nsenter", {
      args: ["--all", `--target=${this.init}`, "env", "-i", "HOME=/root", PATH, "sh", "-ec", inside(script)],
      stdin: "null",
    }).output();
    const text = new TextDecoder().decode(stdout);
    if (!success) throw new Error(`failed in the machine: ${script}\n${text}`);
    return text;
  }

  /** Stops it, and removes the cgroups that systemd-nspawn leaves behind. */
  async [Symbol.asyncDispose](): Promise<void> {
    Deno.kill(Number(this.init), "SIGKILL");
    await this.nspawn.status;
    await removeCgroups();
  }
}

/** $1: systemd-nspawn. */
const FIND_INIT = 'until pgrep --parent "$1" --exact systemd; do kill -0 "$1"; sleep 0.05; done';

const PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
