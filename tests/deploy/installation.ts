/**
 * The server installed where the systemd unit expects it, under a folder of its own, and run as the unit says.
 *
 * It does not need systemd: it runs the commands that do to one process what the unit's settings ask for.
 *
 * @module
 */

import { output, ROOT } from "../support/commands.ts";
import { TemporaryFolder } from "../support/temporary_folder.ts";
import { replace } from "./replace.ts";
import type { Unit } from "./unit.ts";

/** One of the users that systemd chooses from for `DynamicUser=`. */
const USER = "61234";

/**
 * $1: the folder. $2: the checkout. $3: Deno. $4: Deno's cache of npm packages. $5: the log folder's name.
 * $6: the packages.
 */
const INSTALL = `
umask 022
chmod 755 "$1"
lib="$1/usr/lib/echo-server"
mkdir -p "$1/usr/bin" "$lib" "$1/var/log/private/$5"
cp "$3" "$1/usr/bin/deno"
cp -r "$2/main.ts" "$2/lib" "$2/deno.json" "$2/deno.lock" "$lib"
for package in $6; do
  for from in "$4"/*/"$package"; do
    to="$lib/cache/npm\${from#"$4"}"
    mkdir -p "$(dirname "$to")"
    cp -r "$from" "$to"
  done
done
chmod -R a+rX "$lib"
# As systemd does for LogsDirectory= with DynamicUser=.
ln -s "private/$5" "$1/var/log/$5"
chown ${USER}:${USER} "$1/var/log/private/$5"
`;

/** $1: the folder. The rest: the server's flags. */
const RUN = (unit: Unit, environment: string, start: string, tracer: string) => `
mount --make-rprivate /
# ProtectSystem=strict
mount --bind "$1/var/log" "$1/var/log"
mount -o remount,bind,ro /
# ProcSubset=pid, ProtectProc=invisible
mount -t proc -o subset=pid,hidepid=invisible proc /proc
shift
umask ${unit.get("UMask")}
cd /
exec prlimit --nofile=${unit.number("LimitNOFILE")} \\
  setpriv --reuid=${USER} --regid=${USER} --clear-groups --no-new-privs --bounding-set=-all --inh-caps=-all \\
  env -i ${environment} ${tracer} ${start} "$@"
`;

/** A folder with everything that the unit names. */
export class Installation implements Disposable {
  /** Where the access log is. */
  readonly accessLog: string;

  private constructor(private readonly folder: TemporaryFolder, private readonly unit: Unit) {
    this.accessLog = `${folder.path}/var/log/${unit.get("LogsDirectory")}/access.log`;
  }

  /**
   * Installs the server.
   *
   * @param unit The unit.
   * @returns The installation. Disposing of it removes the folder.
   */
  static async make(unit: Unit): Promise<Installation> {
    const installation = new Installation(new TemporaryFolder("echo-installation-"), unit);
    try {
      const { npmCache } = JSON.parse(await output(Deno.execPath(), "info", "--json"));
      const args = [
        installation.folder.path,
        ROOT,
        Deno.execPath(),
        npmCache,
        unit.get("LogsDirectory"),
        await packages(),
      ];
      await output("sh", "-ec", INSTALL, "sh", ...args);
      return installation;
    } catch (error) {
      installation[Symbol.dispose]();
      throw error;
    }
  }

  /**
   * Makes the command that runs the unit's `ExecStart=`: as an unprivileged user with no capability, with the unit's
   * limit of descriptors, a file system that is read-only except for the log, and a `/proc` with processes only.
   *
   * @param tracer A command that ends by executing its arguments, under the same conditions.
   * @returns The command, for a `Program`.
   */
  command(tracer: string = ""): string[] {
    const here = (path: string) => this.folder.path + path;
    const environment = replace(this.unit.get("Environment"), "/usr/lib/echo-server", here("/usr/lib/echo-server"));
    let start = this.unit.get("ExecStart");
    for (const path of ["/usr/bin/deno", "/usr/lib/echo-server", "/var/log/echo-server"]) {
      start = replace(start, path, here(path));
    }
    // The port is any that is free.
    start = replace(start, "--allow-net=0.0.0.0:4000", "--allow-net=127.0.0.1:0");
    const flags = ["--hostname=127.0.0.1", "--port=0", `--access-log=${this.accessLog}`, "--log-format=text"];
    const script = RUN(this.unit, environment, start, tracer);
    return ["unshare", "--mount", "sh", "-ec", script, "sh", this.folder.path, ...flags];
  }

  /** Removes the folder. */
  [Symbol.dispose](): void {
    this.folder[Symbol.dispose]();
  }
}

/** The names of all packages in the lock file: Deno needs each of them in its cache, whatever imports it. */
async function packages(): Promise<string> {
  const { npm } = JSON.parse(await Deno.readTextFile(`${ROOT}deno.lock`));
  return Object.keys(npm).map((name) => name.replace(/(?<=.)@.*$/, "")).join(" ");
}
