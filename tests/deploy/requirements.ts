/**
 * What the tests of `deploy/` need.
 *
 * @module
 */

import { succeeds } from "../support/commands.ts";
import { cannotRun, canRun } from "../support/permissions.ts";

/** Requirements other than tools, each with the command that succeeds if it is met. */
const OTHERS = {
  "root": 'test "$(id -u)" = 0',
  "network namespaces": "ip netns add echo-probe && ip netns del echo-probe",
  "mount namespaces": "unshare --mount mount -o remount,bind,ro /",
  "memory cgroups":
    'group=/sys/fs/cgroup/memory$(sed -n s/^.*:memory://p /proc/self/cgroup)/echo-probe; mkdir "$group" && rmdir "$group"',
  "nginx's stream module": "test -e /usr/lib/nginx/modules/ngx_stream_module.so",
  "descriptors": 'test "$(ulimit -Hn)" = unlimited || test "$(ulimit -Hn)" -gt 10300',
} as const;

/** Tools, each with arguments that make it do nothing, and the Debian package that it is in. */
const TOOLS = {
  "buildah": { args: ["--version"], from: "buildah" },
  "haproxy": { args: ["-v"], from: "haproxy" },
  "logrotate": { args: ["--version"], from: "logrotate" },
  "mke2fs": { args: ["-V"], from: "e2fsprogs" },
  "mmdebstrap": { args: ["--version"], from: "mmdebstrap" },
  "ncat": { args: ["--version"], from: "ncat" },
  "nginx": { args: ["-V"], from: "nginx" },
  "npm": { args: ["--version"], from: "npm" },
  "nsenter": { args: ["--version"], from: "util-linux" },
  "pgrep": { args: ["--version"], from: "procps" },
  "prlimit": { args: ["--version"], from: "util-linux" },
  "qemu-aarch64-static": { args: ["--version"], from: "qemu-user-static" },
  "qemu-system-x86_64": { args: ["--version"], from: "qemu-system-x86" },
  "redir": { args: ["--version"], from: "redir" },
  "runc": { args: ["--version"], from: "runc" },
  "setpriv": { args: ["--version"], from: "util-linux" },
  "socat": { args: ["-V"], from: "socat" },
  "sshd": { args: ["-V"], from: "openssh-server" },
  "strace": { args: ["-V"], from: "strace" },
  "stunnel": { args: ["-version"], from: "stunnel4" },
  "sysctl": { args: ["--version"], from: "procps" },
  "systemd-analyze": { args: ["--version"], from: "systemd" },
  "systemd-nspawn": { args: ["--version"], from: "systemd-container" },
  "systemd-socket-activate": { args: ["--version"], from: "systemd" },
  "xinetd": { args: ["-version"], from: "xinetd" },
} as const;

/** What a test may need. */
export type Need = keyof typeof TOOLS | keyof typeof OTHERS;

/**
 * Names a test, and ignores it if what it needs is missing.
 *
 * @param name The test's name.
 * @param needs What it needs.
 * @returns What to spread into the test's definition. An ignored test's name says why.
 */
export function needing(name: string, ...needs: Need[]): { name: string; ignore: boolean } {
  const why = canRun ? needs.map(whyNot).find((reason) => reason !== undefined) : cannotRun;
  return { name: why === undefined ? name : `${name} (ignored: ${why})`, ignore: why !== undefined };
}

function whyNot(need: Need): string | undefined {
  if (!isTool(need)) return runs("sh", "-c", OTHERS[need]) ? undefined : `needs ${need}`;
  const { args, from } = TOOLS[need];
  return runs(need, ...args) ? undefined : `needs ${need}: apt-get install ${from}`;
}

function isTool(need: Need): need is keyof typeof TOOLS {
  return need in TOOLS;
}

function runs(...command: string[]): boolean {
  return succeeds(...withSystemPath(...command));
}

/**
 * Finds a tool even outside an ordinary user's PATH.
 *
 * @param command The tool and its arguments.
 * @returns A command that runs it.
 */
export function withSystemPath(...command: string[]): string[] {
  return ["sh", "-c", 'PATH="$PATH:/usr/sbin:/sbin" exec "$@"', "sh", ...command];
}
