/**
 * A Debian system in a folder, with the server installed as `deploy/README.md` says.
 *
 * @module
 */

import { output, ROOT } from "../../support/commands.ts";
import { documented } from "./documented.ts";

/** Where the checkout is in the system. Scripts that run in it start there. */
export const SOURCE = "/usr/src/echo-server";

/** Packages that the documented commands and the tests need. */
const PACKAGES =
  "systemd,systemd-sysv,dbus,logrotate,haproxy,netcat-openbsd,socat,procps,iproute2,passwd,ca-certificates";

/** $1: the system. $2: the script to run in it. */
const RUN = `
folder=$1 script=$2
set --
# The certificates for downloads, if the network has its own.
for name in DENO_CERT NODE_EXTRA_CA_CERTS SSL_CERT_FILE; do
  if path=$(printenv $name); then set -- "$@" "--bind-ro=$path" "--setenv=$name=$path"; fi
done
systemd-nspawn --quiet --register=no --keep-unit --resolv-conf=bind-host --directory="$folder" "$@" \\
  sh -ec "$script" 2>&1
`;

/**
 * Makes the system.
 *
 * @param folder Where; it must not exist yet.
 * @param packages Packages besides the usual ones.
 * @param hooks Options of mmdebstrap that begin with `--`.
 */
export async function makeDebian(folder: string, packages: string[] = [], hooks: string[] = []): Promise<void> {
  const include = `--include=${[PACKAGES, ...packages].join()}`;
  await output("mmdebstrap", "--quiet", "--variant=minbase", include, ...hooks, "bookworm", folder);
  // As on a machine where a user has installed Deno and cloned the repository.
  await output("install", "-D", "-m", "755", Deno.execPath(), `${folder}/root/.deno/bin/deno`);
  await output("mkdir", "-p", folder + SOURCE);
  const parts = ["main.ts", "lib", "verify", "deno.json", "deno.lock", "deploy", "tests"];
  await output("cp", "-r", ...parts.map((part) => ROOT + part), folder + SOURCE);
  const install = `cd ${SOURCE}; PATH=/root/.deno/bin:$PATH; export PATH; ${documented("install -m 755")}`;
  try {
    await output("sh", "-ec", RUN, "sh", folder, install);
  } finally {
    await removeCgroups();
  }
}

/** Removes the cgroups that systemd-nspawn leaves behind. */
export async function removeCgroups(): Promise<void> {
  await output("sh", "-ec", REMOVE_CGROUPS);
}

/** Removes empty cgroups only: rmdir fails for others. */
const REMOVE_CGROUPS = String.raw`
for name in payload supervisor; do
  for root in /sys/fs/cgroup /sys/fs/cgroup/unified /sys/fs/cgroup/systemd; do
    group=$root$(sed -n 's/^0:://p' /proc/self/cgroup | sed 's,/$,,')/$name
    [ ! -d "$group" ] || find "$group" -depth -type d -exec rmdir {} +
  done
done`;
