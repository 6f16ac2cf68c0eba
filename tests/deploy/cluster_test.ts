import { assert, assertEquals, assertMatch } from "@std/assert";
import { DEFAULTS } from "../../lib/options.ts";
import { run } from "../support/commands.ts";
import { pattern, ResettingClient } from "../support/tcp_client.ts";
import { until } from "../support/wait.ts";
import { Cluster, type Name, NAMES } from "./cluster.ts";
import { Hosts } from "./hosts.ts";
import { echo, Load, loggedSizes } from "./load.ts";
import { replace } from "./replace.ts";
import { needing } from "./requirements.ts";

const CONFIG = new URL("../../deploy/haproxy/haproxy.cfg", import.meta.url);
const SYSCTL = new URL("../../deploy/haproxy/sysctl.conf", import.meta.url).pathname;
const SCRIPT = new URL("../../deploy/haproxy/rolling_restart.sh", import.meta.url).pathname;

Deno.test({
  ...needing(
    "cluster echoes messages of 0 bytes to 64 MiB, and a client that sees EOF finds its line",
    "haproxy",
  ),
  async fn() {
    await using cluster = await Cluster.start();
    const sizes = [0, 1, 4095, 4096, 4097, 65_536, 1_000_003, 1_048_576, 67_108_864];
    for (const [i, size] of sizes.entries()) {
      assertEquals(await echo(cluster.address, pattern(size, i)), undefined, `${size} bytes`);
      assertEquals(loggedSizes(cluster.lines), sizes.slice(0, i + 1));
    }
  },
});

Deno.test({
  ...needing("cluster distributes clients evenly, and the four logs together have a line for each", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start();
    await using load = new Load(cluster.address, 32, 16_384);
    await load.serves(2000);
    await load.stop();
    assertEquals(load.failures, []);
    assertEquals(loggedSizes(cluster.lines), load.served);
    // An instance that finishes sooner is given more.
    for (const instance of cluster.instances) {
      const share = instance.lines().length / load.served.length;
      assert(share > 0.15 && share < 0.35, `one instance of four had ${share} of the clients`);
    }

    // Clients that stay connected are distributed equally.
    using stack = new DisposableStack();
    for (let i = 0; i < 40; i++) {
      const conn = stack.use(await Deno.connect(cluster.address));
      await conn.write(pattern(1));
    }
    await Promise.all(cluster.instances.map((one) => one.statusWhen(({ active }) => active === 10)));
  },
});

Deno.test({
  ...needing("cluster has a line for every empty message", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start();
    await using load = new Load(cluster.address, 32, 0);
    await load.serves(1000);
    await load.stop();
    assertEquals(load.failures, []);
    assertEquals(loggedSizes(cluster.lines), load.served);
  },
});

Deno.test({
  ...needing("cluster's health checks cause no line and no report, and use up no client number", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start();
    // HAProxy takes an instance that was set down for up again after two checks that succeed.
    for (let round = 1; round <= 3; round++) {
      for (const name of NAMES) await cluster.balancer.ask(`set server echo/${name} health down`);
      await until(async () => {
        const servers = (await cluster.balancer.ask("show stat echo 4 -1")).split("\n").filter((line) =>
          /^echo,/.test(line)
        );
        return servers.length === NAMES.length && servers.every((line) => line.split(",")[17] === "UP");
      });
    }
    cluster.instance("i4").kill("SIGKILL");
    await cluster.balancer.log.find(/Server echo\/i4 is DOWN/);
    for (const instance of cluster.instances) {
      assertEquals(instance.log(), "");
      assertEquals(instance.stderr.length, 1, instance.stderr.join("\n")); // that it is listening
    }
    for (const name of ["i1", "i2", "i3"] as const) {
      assertEquals(await echo(cluster.instance(name).address, pattern(5)), undefined);
      assertEquals(cluster.instance(name).log(), "[client 1]: received 5 bytes\n");
    }
  },
});

Deno.test({
  ...needing("cluster serves a client that half-closes while it waits for a free instance", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start([], (config) => replace(config, "maxconn 10000", "maxconn 1"));
    using clients = new DisposableStack();
    const conns: Deno.TcpConn[] = [];
    while (conns.length < NAMES.length) conns.push(clients.use(await Deno.connect(cluster.address)));
    await Promise.all(cluster.instances.map((one) => one.statusWhen(({ active }) => active === 1)));
    const waiting = echo(cluster.address, pattern(100));
    await until(async () => (await cluster.balancer.ask("show info")).includes("CurrConns: 5"));
    await conns[0]?.closeWrite();
    assertEquals(await waiting, undefined);
    assertEquals(loggedSizes(cluster.lines), [0, 100]);
  },
});

Deno.test({
  ...needing("cluster passes a client's reset on, so that there is no line for it", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start();
    const client = await ResettingClient.connect(cluster.address);
    await client.write(pattern(11));
    await Promise.any(cluster.instances.map((one) => one.statusWhen(({ buffered }) => buffered > 0)));
    await client.reset();
    await Promise.any(cluster.instances.map((one) => one.line(/client 1 .*dropped after 11 bytes: reset/)));
    assertEquals(cluster.lines, []);
  },
});

Deno.test({
  ...needing("haproxy.cfg has longer timeouts than --idle-timeout"),
  async fn() {
    const config = await Deno.readTextFile(CONFIG);
    for (const side of ["client", "server"]) {
      const seconds = Number(new RegExp(`^ *timeout ${side} (\\d+)s$`, "m").exec(config)?.[1]);
      // The server drops a client at most a quarter of the timeout late.
      assert(seconds > DEFAULTS.idleTimeout * 1.25, `timeout ${side} ${seconds}s`);
    }
  },
});

Deno.test({
  ...needing("cluster leaves it to the server to drop an idle client, so that there is no line for it", "haproxy"),
  async fn() {
    await using cluster = await Cluster.start(["--idle-timeout=1"]);
    using conn = await Deno.connect(cluster.address);
    await conn.write(pattern(3));
    assertEquals(await conn.read(new Uint8Array(1)), null);
    await Promise.any(cluster.instances.map((one) => one.line(/client 1 .*dropped after 3 bytes: idle/)));
    assertEquals(cluster.lines, []);
  },
});

Deno.test({
  ...needing(
    "cluster loses only the clients in flight at an instance that is killed, and takes it out within 2 s",
    "haproxy",
  ),
  async fn() {
    await using cluster = await Cluster.start();
    await using load = new Load(cluster.address, 64, 1_048_576);
    await load.serves(200);
    const killed = performance.now();
    cluster.instance("i2").kill("SIGKILL");
    await cluster.balancer.log.find(/Server echo\/i2 is DOWN/);
    const took = performance.now() - killed;
    assert(took < 2000, `it took ${took} ms`);
    await load.serves(200);
    await load.stop();

    const served = load.served.length;
    const lost = load.failures.length;
    assert(lost <= 64, `${lost} clients were lost`);
    for (const { port, reason } of load.failures) {
      const line = cluster.balancer.log.all.findLast((line) => line.startsWith(`127.0.0.1:${port} `));
      // It had been forwarded: for a client that was not, these times are -1.
      assert(line !== undefined && / echo\/i2 \d+\/\d+\/\d+ /.test(line), `not in flight at i2: ${reason}: ${line}`);
    }
    const lines = cluster.lines.length;
    assert(lines >= served && lines <= served + lost, `${lines} lines, ${served} served, ${lost} lost`);
  },
});

Deno.test({
  ...needing("rolling_restart.sh restarts all four instances under load, and no client fails", "haproxy", "socat"),
  async fn() {
    await using cluster = await Cluster.start();
    await using load = new Load(cluster.address, 32, 262_144);
    await load.serves(200);

    // The command that the script runs asks this test to restart an instance, and waits for that.
    const path = `${cluster.folder}/restart.sock`;
    const listener = Deno.listen({ transport: "unix", path });
    const restarting = restartOnDemand(cluster, listener);
    const command = `printf %s "$1" | socat -t 30 - UNIX-CONNECT:${path} | grep -q done`;
    const script = await run(["sh", SCRIPT, "-S", cluster.balancer.socket, "-t", "10", "-c", command]);
    listener.close();
    const restarted = await restarting;
    await load.serves(200);
    await load.stop();

    assertEquals(script.stderr, "");
    assertEquals(script.code, 0);
    assertEquals(restarted, NAMES.map((name) => [name, 0]));
    assertEquals(load.failures, []);
    assertEquals(loggedSizes(cluster.lines), load.served);
  },
});

Deno.test({
  ...needing("rolling_restart.sh does not touch the last instance that is up", "haproxy", "socat"),
  async fn() {
    await using cluster = await Cluster.start();
    for (const name of ["i1", "i2", "i3"] as const) cluster.instance(name).kill("SIGKILL");
    await Promise.all(["i1", "i2", "i3"].map((name) => cluster.balancer.log.find(new RegExp(`echo/${name} is DOWN`))));
    const script = await run(["sh", SCRIPT, "-S", cluster.balancer.socket, "-c", "false", "i4"]);
    assertMatch(script.stderr, /no other server is up, so i4 is not touched/);
    assertEquals(script.code, 1);
    assertEquals(await echo(cluster.address, pattern(5)), undefined);
  },
});

Deno.test({
  ...needing("rolling_restart.sh stops at an instance that does not come back", "haproxy", "socat"),
  async fn() {
    await using cluster = await Cluster.start();
    const script = await run([
      "sh",
      SCRIPT,
      "-S",
      cluster.balancer.socket,
      "-t",
      "1",
      "-c",
      `kill ${cluster.instance("i1").pid}`,
    ]);
    assertMatch(script.stderr, /i1 did not come up within 1 s/);
    assertEquals(script.code, 1);
    assertEquals(await echo(cluster.address, pattern(5)), undefined);
  },
});

Deno.test({
  ...needing("cluster of two hosts continues with one when the other is turned off", "haproxy", "network namespaces"),
  async fn() {
    await using hosts = await Hosts.start();
    await hosts.clients(50);
    assert(hosts.a.log() !== "" && hosts.b.log() !== "", "one host had no client");

    const off = performance.now();
    await hosts.turnOff("b");
    await hosts.balancer.log.find(/Server echo\/b is DOWN/);
    const took = performance.now() - off;
    assert(took < 2000, `it took ${took} ms`);
    await hosts.clients(50);
    assertEquals(
      loggedSizes([...hosts.a.lines(), ...hosts.b.lines()]),
      Array.from({ length: 100 }, (_, i) => (i >> 1) * 100),
    );
  },
});

Deno.test({
  ...needing(
    "haproxy/sysctl.conf lets a port be used for more than one client a minute",
    "haproxy",
    "sysctl",
    "network namespaces",
  ),
  async fn() {
    await using hosts = await Hosts.start();
    await hosts.onFront("sysctl", "-q", "-p", SYSCTL);
    // Few enough ports that each is soon used twice, and too many for that to happen within a second.
    await hosts.onFront("sysctl", "-q", "-w", "net.ipv4.ip_local_port_range=40000 44999");
    await hosts.turnOff("b");
    await hosts.balancer.log.find(/Server echo\/b is DOWN/);
    await hosts.clients(7000);
    assertEquals(hosts.a.lines().length, 7000);
  },
});

/** Restarts each instance whose name arrives. Returns names and exit statuses once the listener is closed. */
async function restartOnDemand(cluster: Cluster, listener: Deno.UnixListener): Promise<[Name, number][]> {
  const restarted: [Name, number][] = [];
  for await (const conn of listener) {
    const buffer = new Uint8Array(16);
    const asked = new TextDecoder().decode(buffer.subarray(0, await conn.read(buffer) ?? 0));
    const name = NAMES.find((name) => name === asked);
    if (name === undefined) throw new Error(`there is no instance ${asked}`);
    restarted.push([name, await cluster.restart(name)]);
    await conn.write(new TextEncoder().encode("done"));
    conn.close();
  }
  return restarted;
}
