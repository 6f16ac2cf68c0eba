import { assert, assertEquals } from "@std/assert";
import { output } from "../support/commands.ts";
import { needing } from "./requirements.ts";
import type { Outcome } from "./shared_port.ts";

const PROGRAM = new URL("shared_port.ts", import.meta.url).pathname;

/** Runs in a new network namespace; $1 is the setting. */
const INSIDE = 'ip link set lo up && sysctl --quiet --write net.ipv4.tcp_migrate_req="$1" && shift && exec "$@"';

/** What happens to clients of two servers on one port, where the kernel moves connections between backlogs or does not. */
async function outcome(what: "restart" | "kill", migrate: 0 | 1): Promise<Outcome> {
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write", "--allow-run"];
  const command = [Deno.execPath(), "run", ...permissions, PROGRAM, what];
  return JSON.parse(await output("unshare", "--net", "sh", "-ec", INSIDE, "sh", `${migrate}`, ...command));
}

Deno.test({
  ...needing("--reuse-port loses no client to restarts under load", "root", "network namespaces", "sysctl"),
  async fn() {
    const { served, logged, lost, notConnected } = await outcome("restart", 1);
    assertEquals(lost, 0);
    // In some hundred restarts the kernel resets one client during its handshake, before a server can see it.
    assert(notConnected <= 1, `${notConnected} could not connect`);
    assert(served.length >= 1400, `${served.length} were served`);
    assertEquals(logged, served);
  },
});

Deno.test({
  ...needing(
    "--reuse-port leaves the connections in a killed server's backlog to the other server",
    ...["root", "network namespaces", "sysctl"] as const,
  ),
  async fn() {
    const { served, logged } = await outcome("kill", 1);
    assertEquals(served, Array.from({ length: 64 }, (_, i) => i));
    assertEquals(logged, served);
  },
});

Deno.test({
  ...needing(
    "without net.ipv4.tcp_migrate_req the kernel resets the connections in a killed server's backlog",
    ...["root", "network namespaces", "sysctl"] as const,
  ),
  async fn() {
    const { served, logged, lost } = await outcome("kill", 0);
    assert(lost > 0);
    assertEquals(logged, served);
  },
});
