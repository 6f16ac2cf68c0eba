/**
 * Programs from Debian that stand between a client and an echo server, or are an echo server themselves. Each runs in
 * the foreground with a configuration of its own; the machine's is not touched.
 *
 * @module
 */

import { output, ROOT } from "../support/commands.ts";
import type { Address } from "../support/program.ts";
import { StreamLines } from "../support/stream_lines.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { until } from "../support/wait.ts";
import { Balancer } from "./balancer.ts";
import { replace } from "./replace.ts";
import { type Need, withSystemPath } from "./requirements.ts";

/** How a program is started. */
export interface Setup {
  /** What a test needs for it. */
  needs: Need[];
  /**
   * Starts it, or writes its configuration.
   *
   * @param at Where it is to listen.
   * @param target The server that it connects to.
   * @param folder A folder for its configuration.
   * @returns The program, or the command that runs it in the foreground.
   */
  start: (at: Address, target: Address, folder: string) => string[] | Promise<AsyncDisposable>;
}

/** The last address that was given to a program. */
let lastAddress = 0;

/** A program that listens. */
export class Relay implements AsyncDisposable {
  private constructor(
    /** Where it listens. */
    readonly address: Address,
    private readonly resources: AsyncDisposableStack,
    private readonly group: number | undefined,
  ) {}

  /**
   * Starts a program.
   *
   * @param setup How.
   * @param target The server that it connects to.
   * @returns The program, once it listens. Disposing of it kills it and the processes that it has started.
   */
  static async start(setup: Setup, target: Address): Promise<Relay> {
    await using resources = new AsyncDisposableStack();
    const { path: folder } = resources.use(new TemporaryFolder("echo-relay-"));
    const at = freeAddress();
    const started = await setup.start(at, target, folder);
    let group: number | undefined;
    if (Array.isArray(started)) {
      const foreground = resources.use(new Foreground(started));
      await foreground.listensAt(at);
      group = foreground.pid;
    } else resources.use(started);
    return new Relay(at, resources.move(), group);
  }

  /** Counts its processes: itself and those that it has started. */
  async processes(): Promise<number> {
    if (this.group === undefined) throw new Error("the program is not one of a process group of its own");
    return Number(await output("pgrep", "--count", "--pgroup", `${this.group}`));
  }

  /** Kills it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.resources.disposeAsync();
  }
}

/** A command and the processes that it has started. */
class Foreground implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #stderr: StreamLines;

  constructor(command: string[]) {
    const [name = "", ...args] = withSystemPath(...command);
    // It leads a process group, by which all its processes are killed.
    const options = { args, stdin: "null", stdout: "null", stderr: "piped", detached: true } as const;
    this.#child = new Deno.Command(name, options).spawn();
    this.#stderr = new StreamLines(this.#child.stderr);
  }

  /** The process group that it leads. */
  get pid(): number {
    return this.#child.pid;
  }

  /** Waits until something listens at an address, without a connection, which would be a client. */
  async listensAt({ hostname, port }: Address): Promise<void> {
    const listener = `${hexadecimal(hostname, port)} 00000000:0000 0A`;
    let ended = false;
    this.#child.status.then(() => ended = true);
    await until(
      async () => ended || (await output("cat", "/proc/net/tcp")).includes(listener),
      () => `a listener; on stderr came:\n${this.#stderr.all.join("\n")}`,
    );
    if (ended) throw new Error(`the program has ended:\n${this.#stderr.all.join("\n")}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      Deno.kill(-this.#child.pid, "SIGKILL");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    await Promise.all([this.#child.status, this.#stderr.ended]);
  }
}

/** nginx's stream module. */
export function nginx(...directives: string[]): Setup {
  return {
    needs: ["nginx", "nginx's stream module"],
    start(at, target, folder) {
      const config = [
        "load_module /usr/lib/nginx/modules/ngx_stream_module.so;",
        `daemon off; pid ${folder}/pid; error_log stderr;`,
        "events {}",
        `stream { server { listen ${authority(at)}; proxy_pass ${authority(target)}; ${directives.join(" ")} } }`,
      ];
      Deno.writeTextFileSync(`${folder}/nginx.conf`, config.join("\n"));
      return ["nginx", "-e", "stderr", "-c", `${folder}/nginx.conf`];
    },
  };
}

/** HAProxy with the project's configuration, and one instance. */
export function haproxy(edit = (config: string): string => config): Setup {
  return {
    needs: ["haproxy"],
    start: (at, target, folder) =>
      Balancer.start(folder, (config) => {
        const front = replace(config, "127.0.0.10:4000", authority(at));
        const instance = replace(front, "server i1 127.0.0.11:4000", `server i1 ${authority(target)}`);
        return edit(instance.replace(/^ *server i[234] .*\n/gm, ""));
      }),
  };
}

/** socat as a relay. */
export function socat(...flags: string[]): Setup {
  return {
    needs: ["socat"],
    start: (at, target) => ["socat", ...flags, socatListener(at), `TCP:${authority(target)}`],
  };
}

/** OpenSSH's port forwarding, with a server that ssh itself starts. */
export const openssh: Setup = {
  needs: ["sshd"],
  start(at, target, folder) {
    const config = [
      `HostKey ${folder}/host`,
      `AuthorizedKeysFile ${folder}/client.pub`,
      "StrictModes no",
      "PidFile none",
    ];
    Deno.writeTextFileSync(`${folder}/sshd_config`, config.join("\n"));
    // As root, sshd wants a folder that Debian's service creates at its start.
    const script = `for key in host client; do ssh-keygen -q -t ed25519 -N "" -f "$0/$key"; done
      if [ "$(id -u)" = 0 ]; then mkdir -p /run/sshd; fi
      exec ssh -N -F none -i "$0/client" -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null \\
        -o ExitOnForwardFailure=yes -o ProxyCommand="$(command -v sshd) -i -e -f $0/sshd_config" -L "$1" localhost`;
    return ["sh", "-ec", script, folder, `${authority(at)}:${authority(target)}`];
  },
};

/** systemd-socket-proxyd, started at the first connection as by a socket unit. */
export const socketProxyd: Setup = {
  needs: ["systemd-socket-activate"],
  start: (at, target) => [
    ...["systemd-socket-activate", `--listen=${authority(at)}`],
    ...["/lib/systemd/systemd-socket-proxyd", authority(target)],
  ],
};

/** stunnel twice: in clear to TLS, and back. */
export const stunnel: Setup = {
  needs: ["stunnel"],
  start(at, target, folder) {
    const middle = authority(freeAddress());
    const config = [
      "foreground = yes",
      "pid =",
      "ciphers = PSK",
      `PSKsecrets = ${folder}/secrets`,
      ...["[client]", "client = yes", `accept = ${authority(at)}`, `connect = ${middle}`],
      ...["[server]", `accept = ${middle}`, `connect = ${authority(target)}`],
    ];
    Deno.writeTextFileSync(`${folder}/stunnel.conf`, config.join("\n"));
    Deno.writeTextFileSync(`${folder}/secrets`, `test:${"0".repeat(32)}\n`);
    return ["stunnel", `${folder}/stunnel.conf`];
  },
};

/** xinetd with one service. */
function xinetd(attributes: (target: Address) => string[]): Setup {
  return {
    needs: ["xinetd", "root"],
    start(at, target, folder) {
      const config = [
        ...["service echo", "{", "socket_type = stream", "protocol = tcp", "wait = no", "user = root"],
        ...[`bind = ${at.hostname}`, `port = ${at.port}`, "instances = UNLIMITED", "cps = 100000 1"],
        ...attributes(target),
        ...["}", ""],
      ];
      Deno.writeTextFileSync(`${folder}/xinetd.conf`, config.join("\n"));
      const files = ["-f", `${folder}/xinetd.conf`, "-pidfile", `${folder}/pid`, "-filelog", `${folder}/log`];
      return ["xinetd", "-dontfork", ...files];
    },
  };
}

/** xinetd as a relay. */
export const xinetdRedirect: Setup = xinetd((
  { hostname, port },
) => ["type = UNLISTED", `redirect = ${hostname} ${port}`]);

/** redir. */
export const redir: Setup = {
  needs: ["redir"],
  start: (at, target) => ["redir", "-n", authority(at), authority(target)],
};

/** The server itself, started by systemd-socket-activate: the socket that systemd listens on is handed to it. */
export const socketActivation: Setup = {
  needs: ["systemd-socket-activate"],
  start: (at, _, folder) => [
    ...["systemd-socket-activate", `--listen=${authority(at)}`, "--setenv=HOME", "--setenv=DENO_DIR"],
    ...[Deno.execPath(), "run", "--no-prompt", `--allow-net=${at.hostname}:0`, `--allow-write=${folder}`],
    ...[`${ROOT}main.ts`, `--hostname=${at.hostname}`, "--port=0", `--access-log=${folder}/access.log`],
  ],
};

/** inetd's own echo service, by xinetd. */
export const xinetdEcho: Setup = xinetd(() => ["type = INTERNAL UNLISTED", "id = echo-stream"]);

/** ncat with cat for each client. */
export const ncatCat: Setup = {
  needs: ["ncat"],
  start: ({ hostname, port }) => ["ncat", "-k", "-l", "--exec", "/bin/cat", hostname, `${port}`],
};

/** socat with cat for each client. */
export function socatCat(...flags: string[]): Setup {
  return { needs: ["socat"], start: (at) => ["socat", ...flags, socatListener(at), "EXEC:cat"] };
}

function socatListener({ hostname, port }: Address): string {
  return `TCP-LISTEN:${port},bind=${hostname},fork,reuseaddr,backlog=128`;
}

function authority({ hostname, port }: Address): string {
  return `${hostname}:${port}`;
}

/** An address that no other program is given, and that is not the local one of any connection. */
function freeAddress(): Address {
  using listener = Deno.listen({ hostname: `127.1.0.${++lastAddress}`, port: 0 });
  return { hostname: listener.addr.hostname, port: listener.addr.port };
}

/** An address as it is in `/proc/net/tcp`: the bytes of the 32-bit number are reversed on a little-endian machine. */
function hexadecimal(hostname: string, port: number): string {
  const bytes = hostname.split(".").reverse().map((byte) => Number(byte).toString(16).padStart(2, "0"));
  return `${bytes.join("")}:${port.toString(16).padStart(4, "0")}`.toUpperCase();
}
