/**
 * The service on a booted machine: the commands in `deploy/README.md`, run exactly as documented.
 */

import { assert, assertEquals, assertMatch } from "@std/assert";
import { TemporaryFolder } from "../../support/temporary_folder.ts";
import { needing } from "../requirements.ts";
import { Container } from "./container.ts";
import type { Outcome } from "./crowd.ts";
import { makeDebian } from "./debian.ts";
import { documented } from "./documented.ts";
import { crowd, echo, retry } from "./scripts.ts";

/** Adds settings to a unit. */
const settings = (unit: string, lines: string) =>
  `mkdir -p /run/systemd/system/${unit}.d; printf '[Service]\n${lines}\n' >/run/systemd/system/${unit}.d/test.conf
  systemctl daemon-reload`;

/** Removes them again. */
const asShipped = (unit: string) => `rm -r /run/systemd/system/${unit}.d; systemctl daemon-reload`;

const LOG = "/var/log/echo-server/access.log";

Deno.test({
  ...needing("the service on a booted machine", "root", "mmdebstrap", "systemd-nspawn", "nsenter"),
  async fn(t) {
    await using cleanup = new AsyncDisposableStack();
    const { path: folder } = cleanup.use(new TemporaryFolder("echo-machine-"));
    const system = `${folder}/system`;
    const step = async (name: string, fn: () => void | Promise<void>) => assert(await t.step(name, fn), name);

    await step(
      "is built from Debian's packages, and the documented commands install the service",
      () => makeDebian(system),
    );
    await step("has a cache with what the server imports at run time, and nothing else", () => {
      const cache = `${system}/usr/lib/echo-server/cache/npm/registry.npmjs.org`;
      assertEquals(names(cache).sort(), ["@logtape", "deno-std"]);
      assertEquals(names(`${cache}/@logtape`), ["logtape"]);
    });

    await using machine = await Container.boot(system);
    const run = (script: string) => machine.run(script);

    await step("starts it by the documented commands, after which it is listening", async () => {
      const printed = await run(`${documented("systemctl restart systemd-sysctl")}; ${echo("hello")}`);
      assertMatch(printed, /Active: active \(running\)[^]*hello$/);
      assertEquals(await run(`cat ${LOG}`), "[client 1]: received 5 bytes\n");
      assertEquals(await run("sysctl -n net.ipv4.tcp_notsent_lowat"), "16384\n");
    });

    await step("survives a reload immediately after its start", async () => {
      for (let i = 0; i < 3; i++) {
        await run("systemctl stop echo-server; systemctl start echo-server; systemctl reload echo-server");
        assertEquals(await run(echo("hello")), "hello");
        await run("systemctl stop echo-server; systemctl start --no-block echo-server; systemctl reload echo-server");
        assertEquals(await run(echo("hello")), "hello");
      }
    });

    await step("is restarted when SIGHUP has killed it before it listens", async () => {
      await run(`systemctl stop echo-server; systemctl start --no-block echo-server
        until pid=$(systemctl show --property=MainPID --value echo-server) && [ "$pid" != 0 ]; do :; done
        kill -HUP "$pid"
        ${retry(`[ "$(systemctl show --property=NRestarts --value echo-server)" = 1 ]`)}
        ${retry("systemctl is-active --quiet echo-server")}`);
      assertEquals(await run(echo("hello")), "hello");
    });

    await step("fails to start while the port is taken, keeps trying, and serves once it is free", async () => {
      await run(settings("echo-server.service", "RestartSec=100ms"));
      await run(
        `systemctl stop echo-server; socat TCP-LISTEN:4000,reuseaddr,fork /dev/null >/dev/null 2>&1 & echo $! >/run/taken
        ${retry("ss -ltn sport = :4000 | grep -q LISTEN")}
        ! systemctl start echo-server
        ${retry(`[ "$(systemctl show --property=NRestarts --value echo-server)" -gt 8 ]`)}
        kill "$(cat /run/taken)"; ${retry("systemctl is-active --quiet echo-server")}`,
      );
      assertEquals(await run(echo("hello")), "hello");
      assertMatch(
        await run("journalctl -u echo-server -p err -o cat"),
        /cannot listen on 0\.0\.0\.0:4000: the port is taken/,
      );
      await run(asShipped("echo-server.service"));
    });

    await step("fails to start with a wrong flag, and is not restarted", async () => {
      const start = "ExecStart=\nExecStart=/usr/bin/deno run --cached-only /usr/lib/echo-server/main.ts --nonsense";
      await run(`${settings("echo-server.service", start)}; systemctl stop echo-server; ! systemctl start echo-server`);
      const show = "systemctl show --property=NRestarts,ActiveState,ExecMainStatus echo-server | sort";
      assertEquals(await run(show), "ActiveState=failed\nExecMainStatus=2\nNRestarts=0\n");
      await run(`${asShipped("echo-server.service")}; systemctl start echo-server`);
    });

    await step(
      "reports to the journal with priority and without time, and no report exceeds the journal's limit",
      async () => {
        await run(`mkdir -p /etc/systemd/journald.conf.d
        printf '[Journal]\nRateLimitBurst=10\n' >/etc/systemd/journald.conf.d/test.conf
        systemctl restart systemd-journald
        sed -i 's/--log-format=journal/& --max-message=2/' /etc/systemd/system/echo-server.service
        systemctl daemon-reload; systemctl restart echo-server`);
        await run(`${crowd("127.0.0.1 short 2000")}; systemctl kill --signal=USR2 --kill-whom=main echo-server`);
        const current =
          "journalctl _SYSTEMD_INVOCATION_ID=$(systemctl show --property=InvocationID --value echo-server)";
        await run(`journalctl --sync; ${retry(`${current} | grep -q "echo-server.*: status uptime=[0-9.]* active="`)}`);
        const warnings = (await run(`${current} -p warning -o cat`)).trim().split("\n");
        assertEquals(warnings.length, 2000);
        for (const line of warnings) {
          assertMatch(line, /^client \d+ \(127\.0\.0\.1:\d+\) dropped after 3 bytes: message: /);
        }
        assertMatch(await run(documented("journalctl")), /client \d+ \(127\.0\.0\.1:\d+\) dropped/);
        await run(`rm -r /etc/systemd/journald.conf.d; systemctl restart systemd-journald
        cp deploy/systemd/echo-server.service /etc/systemd/system; systemctl daemon-reload; systemctl restart echo-server`);
      },
    );

    await step("lets only root read the log, and by the documented commands a group", async () => {
      const read = `setpriv --reuid=nobody --regid=adm --clear-groups cat ${LOG}`;
      await run(`${echo("before")}; ! ${read}`);
      await run(documented("useradd"));
      await run(echo("afterwards"));
      assertMatch(await run(read), /\]: received 6 bytes\n[^]*\]: received 10 bytes\n$/);
      await run(`rm -r /etc/systemd/system/echo-server.service.d; systemctl daemon-reload
        systemctl stop echo-server; userdel echo-server; systemctl start echo-server`);
      assertEquals(await run(echo("hello")), "hello");
      await run(`! ${read}`);
    });

    await step("starts again by the documented command after root has run the server with its log", async () => {
      await run(`systemctl stop echo-server; rm ${LOG}
        export DENO_DIR=/usr/lib/echo-server/cache
        deno run --allow-net=0.0.0.0:4000 --allow-write=/var/log/echo-server /usr/lib/echo-server/main.ts >/dev/null 2>&1 & server=$!
        ${retry(`test -e ${LOG}`)}; kill $server; wait $server; ! systemctl start echo-server`);
      await run(`${documented("chown")}; systemctl start echo-server`);
      assertEquals(await run(echo("hello")), "hello");
    });

    await step("rotates by the documented configuration, and every line is in exactly one file", async () => {
      await run(`${documented("install -m 644 deploy/logrotate")}; rm ${LOG}; systemctl restart echo-server`);
      assertEquals(await rotatedUnderLoad(run, ["echo-server"]), 5);
    });

    await step(
      "runs four servers on one port by the documented commands, each with its log, rotated together",
      async () => {
        await run(documented("systemctl disable --now echo-server\n"));
        await run("systemctl start echo-server@3 echo-server@4");
        assertEquals(await rotatedUnderLoad(run, ["1", "2", "3", "4"].map((name) => `echo-server@${name}`)), 20);
        await run("systemctl stop echo-server@3 echo-server@4");
      },
    );

    await step("restarts servers on one port under load, one after the other, and loses no client", async () => {
      const restart = documented("for name in 1 2");
      assertEquals((await underLoad(run, "127.0.0.1", `${restart}; ${restart}`)).failures, []);
    });

    await step("runs HAProxy in front of it by the documented commands, but not on the same port", async () => {
      await run(`sed -i 's/maxconn 40000/maxconn 4000/; /server i[34]/d' deploy/haproxy/haproxy.cfg
        ! (${documented("haproxy -c")})`);
      await run(documented("install -D"));
      await run("systemctl reset-failed haproxy; systemctl restart haproxy");
      assertEquals(await run(echo("hello", "127.0.0.10")), "hello");
      assertEquals(await run("cat /var/log/echo-server@127.0.0.1[12]/access.log"), "[client 1]: received 5 bytes\n");
    });

    await step("restarts the instances behind HAProxy under load, and loses no client", async () => {
      const restart = "deploy/haproxy/rolling_restart.sh -c 'systemctl restart echo-server@$2'";
      const { failures, served } = await underLoad(run, "127.0.0.10", restart);
      assertEquals(failures, []);
      assert(served > 100);
      const starts = `journalctl -o cat -u echo-server@127.0.0.11 -u echo-server@127.0.0.12 | grep -c ^listening`;
      assertEquals(await run(starts), "4\n");
    });
  },
});

/** Runs a script under load from 16 clients at a time. Returns what happened to them. */
async function underLoad(run: (script: string) => Promise<string>, address: string, script: string): Promise<Outcome> {
  const printed = await run(`rm -f /run/enough
    ${crowd(`${address} steady 16`)} >/run/steady 2>&1 & load=$!; ${retry("grep -q running /run/steady")}; sleep 0.5
    ${script} >/run/script
    sleep 0.5; touch /run/enough; wait $load; tail -n 1 /run/steady`);
  return JSON.parse(printed);
}

/** Rotates four times under load, and checks that no line is lost or duplicate. Returns the number of files. */
async function rotatedUnderLoad(run: (script: string) => Promise<string>, units: string[]): Promise<number> {
  const files = units.map((unit) => `/var/log/${unit}/access.log*`).join(" ");
  await run(`rm -f ${files}; systemctl restart ${units.join(" ")}`);
  const rotations = "for i in 1 2 3 4; do sleep 0.5; logrotate --force /etc/logrotate.d/echo-server; done";
  const { served, failures } = await underLoad(run, "127.0.0.1", rotations);
  assertEquals(failures, []);
  assert(served > 100);
  // A client's number makes its line unique in the log of its unit.
  for (const unit of units) await run(`! zcat -f /var/log/${unit}/access.log* | sort | uniq -d | grep .`);
  assertEquals(Number(await run(`zcat -f ${files} | wc -l`)), served);
  return Number(await run(`ls ${files} | wc -l`));
}

function names(folder: string): string[] {
  return [...Deno.readDirSync(folder)].map(({ name }) => name);
}
