/**
 * The service on a slow machine that enforces memory limits, is rebooted and loses power: run with `--full`.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { TemporaryFolder } from "../../support/temporary_folder.ts";
import { needing } from "../requirements.ts";
import { documented } from "./documented.ts";
import { crowd, echo, retry } from "./scripts.ts";
import { VirtualMachine } from "./virtual_machine.ts";

const NAME = "the service on a machine that enforces memory limits";
const full = Deno.args.includes("--full");

Deno.test({
  ...(full
    ? needing(NAME, "root", "mmdebstrap", "systemd-nspawn", "qemu-system-x86_64", "mke2fs")
    : { name: `${NAME} (left out: needs --full)`, ignore: true }),
  async fn(t) {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder("echo-machine-"));
    const step = async (name: string, fn: () => Promise<void>) => assert(await t.step(name, fn), name);
    await using machine = await VirtualMachine.make(folder);
    const run = (script: string) => machine.run(script);

    await step("boots, and starts by the documented commands", async () => {
      await machine.turnOn();
      const printed = await run(`${documented("systemctl restart systemd-sysctl")}; ${echo("hello")}`);
      assertMatch(printed, /Active: active \(running\)[^]*hello$/);
      assertEquals(await run("sysctl -n net.ipv4.tcp_max_orphans"), "16384\n");
    });

    for (const [count, bytes] of [[3500, 1_000_000], [6000, 120_000], [18_000, 16_000]] as const) {
      await step(`serves well-behaved clients beside ${count} that send ${bytes} bytes and read nothing`, async () => {
        const printed = await run(`${CROWD_NETWORK}; systemctl restart echo-server; ulimit -n 100000
          ip netns exec crowd ${crowd(`10.9.0.1 unread ${count} ${bytes}`)} >/run/unread 2>&1 & crowd=$!
          ${crowd("127.0.0.1 good 45")} >/run/good
          timeout 120 sh -c 'until grep -q holding /run/unread; do sleep 1; done'
          group=/sys/fs/cgroup/system.slice/echo-server.service; cat $group/memory.peak
          sed -n 's/^sock //p' $group/memory.stat; systemctl show --property=NRestarts --value echo-server
          cat /run/good; kill $crowd; wait $crowd || :; ip link del outer; ip netns del crowd`);
        const [peak = "", kernel = "", restarts, outcome = ""] = printed.trim().split("\n");
        console.log(`peak ${Number(peak) >> 20} MiB; ${Number(kernel) >> 20} MiB in the kernel's buffers at the end`);
        assert(Number(kernel) <= 65_536 * count, `the kernel's buffers hold ${kernel} bytes`);
        assertEquals(restarts, "0");
        assertEquals(JSON.parse(outcome), { served: 450, failures: [] });
      });
    }

    await step("is stopped with 10000 clients in flight, and reports each", async () => {
      await run(`systemctl restart echo-server; ulimit -n 100000
        ${crowd("127.0.0.1 idle 10000")} >/run/idle 2>&1 & crowd=$!
        timeout 120 sh -c 'until grep -q "holding 10000" /run/idle; do sleep 1; done'
        systemctl stop echo-server; kill $crowd`);
      assertEquals(await run("systemctl show --property=Result echo-server"), "Result=success\n");
      const reports =
        "journalctl --sync; journalctl -b -u echo-server -o cat | grep -c 'dropped after 0 bytes: drain: '";
      assertEquals(await run(reports), "10000\n");
      await run("systemctl start echo-server");
    });

    await step("serves again after a reboot, and appends to the same log", async () => {
      const before = Number(await run(LINES));
      const boot = await run("cat /proc/sys/kernel/random/boot_id; (sleep 1; systemctl reboot) >/dev/null 2>&1 &");
      for (let now = boot; now === boot;) {
        now = await run("cat /proc/sys/kernel/random/boot_id").catch(() => boot);
        await new Promise((resolve) => setTimeout(resolve, 1000));
      }
      await machine.booted();
      assertEquals(await run(echo("again")), "again");
      assertEquals(Number(await run(LINES)), before + 1);
    });

    await step("serves again after a power cut under load, and appends to the same log", async () => {
      await run(`rm -f /run/enough; ${crowd("127.0.0.1 steady 16")} >/run/steady 2>&1 &
        ${retry("grep -q running /run/steady")}; sleep 10`);
      await machine.cutPower();
      await machine.turnOn();
      assertEquals(await run(echo("again")), "again");
      // The kernel loses what it has not written yet, and may leave zero bytes in its place.
      assertMatch(await run(`tail -c 100 ${LOG}`), /\[client 1\]: received 5 bytes\n$/);
    });
  },
});

const LOG = "/var/log/echo-server/access.log";
const LINES = `wc -l <${LOG}`;

/**
 * A network for clients whose own kernel buffers next to nothing, with packets so large that the server's kernel takes
 * much at once, as on a fast network; and the memory for TCP of a machine with 32 GB.
 */
const CROWD_NETWORK = `
ip netns add crowd; ip link add outer mtu 65535 type veth peer name inner mtu 65535 netns crowd
ip address add 10.9.0.1/24 dev outer; ip link set outer up
ip -n crowd address add 10.9.0.2/24 dev inner; ip -n crowd link set inner up
ip netns exec crowd sysctl -q net.ipv4.tcp_rmem='4096 4096 4096' net.ipv4.ip_local_port_range='1024 65535'
sysctl -q net.ipv4.tcp_mem='393216 524288 786432'`;
