import { assert, assertEquals } from "@std/assert";
import { output } from "../support/commands.ts";
import { needing } from "./requirements.ts";
import type { Seen } from "./shared_port.ts";

const PROGRAM = new URL("shared_port.ts", import.meta.url).pathname;

/** In a network namespace of its own; $1 is the setting. */
const INSIDE = 'ip link set lo up && sysctl --quiet --write net.ipv4.tcp_migrate_req="$1" && shift && exec "$@"';

/** What is seen of two servers that share a port, where clients move between their queues or do not. */
async function seen(what: "restart" | "kill", migrate: 0 | 1): Promise<Seen> {
  const permissions = ["--no-prompt", "--allow-net", "--allow-read", "--allow-write", "--allow-run"];
  const command = [Deno.execPath(), "run", ...permissions, PROGRAM, what];
  return JSON.parse(await output("unshare", "--net", "sh", "-ec", INSIDE, "sh", `${migrate}`, ...command));
}

Deno.test({
  ...needing("--reuse-port loses no client to restarts under load", "root", "network namespaces", "sysctl"),
  async fn() {
    const { served, logged, lost, notConnected } = await seen("restart", 1);
    assertEquals(lost, 0);
    // The kernel itself resets one in some hundred restarts, in its handshake: no server has ever seen it.
    assert(notConnected <= 1, `${notConnected} could not connect`);
    assert(served.length >= 1400, `${served.length} were served`);
    assertEquals(logged, served);
  },
});

Deno.test({
  ...needing(
    "--reuse-port leaves the clients in the queue of a server that is killed to the other one",
    ...["root", "network namespaces", "sysctl"] as const,
  ),
  async fn() {
    const { served, logged } = await seen("kill", 1);
    assertEquals(served, Array.from({ length: 64 }, (_, i) => i));
    assertEquals(logged, served);
  },
});

Deno.test({
  ...needing(
    "without net.ipv4.tcp_migrate_req the kernel resets the clients in the queue of a server that is killed",
    ...["root", "network namespaces", "sysctl"] as const,
  ),
  async fn() {
    const { served, logged, lost } = await seen("kill", 0);
    assert(lost > 0);
    assertEquals(logged, served);
  },
});
