import { assert, assertEquals } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { OtlpReceiver } from "../support/otlp_receiver.ts";
import { canRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { delay, until } from "../support/wait.ts";

const missing = canRun ? "" : "permissions are missing";

Deno.test({
  ...ignoreIf(
    missing,
    "main.ts exports its metrics with its two permissions alone, and they are the figures of its status line",
  ),
  async fn() {
    await using receiver = new OtlpReceiver();
    await using program = await Program.start({ env: receiver.env(50) });
    await roundTrip(program.address, pattern(5));
    await roundTrip(program.address, pattern(7));
    const resetting = await ResettingClient.connect(program.address);
    await resetting.write(pattern(3));
    await program.statusWhen(({ active, buffered }) => active === 1 && buffered > 0);
    await resetting.reset();
    await program.line(/dropped after 3 bytes: reset/);
    using staying = await Deno.connect(program.address);
    await writeAll(staying, pattern(100_000));
    // It is at rest when all that was sent has been read: the chunks of 100,000 bytes hold at least as many.
    const status = await program.statusWhen(({ active, buffered }) => active === 1 && buffered >= 100_000);

    await receiver.metricsWhen((metrics) => metrics["echo_server.buffer.usage"]?.values[""] === status.buffered);
    const { metrics } = receiver;
    assertEquals([...receiver.meters], [`echo-server ${config.version}`]);
    assertEquals(
      Object.fromEntries(
        Object.entries(metrics).map(([name, { unit, monotonic, values }]) => [name, { unit, monotonic, values }]),
      ),
      {
        "echo_server.clients": {
          unit: "{client}",
          monotonic: true,
          values: {
            "": 2,
            reset: 1,
            idle: 0,
            message: 0,
            buffers: 0,
            drain: 0,
            failed: 0,
            gone_before_accept: 0,
          },
        },
        "echo_server.client.active": { unit: "{client}", monotonic: false, values: { "": 1 } },
        "echo_server.message.echoed": { unit: "By", monotonic: true, values: { "": 12 } },
        "echo_server.buffer.usage": { unit: "By", monotonic: false, values: { "": status.buffered } },
        "echo_server.access_log.queued": { unit: "{line}", monotonic: false, values: { "": 0 } },
      },
    );
    assert(Object.values(metrics).every(({ description }) => description !== ""));
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts makes no log records of its diagnostics"),
  async fn() {
    await using receiver = new OtlpReceiver();
    await using program = await Program.start({ env: receiver.env(60_000) });
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals([receiver.records, program.stdout], [0, ""]);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts serves and ends in time when nobody takes its exports"),
  async fn() {
    const receiver = new OtlpReceiver();
    const env = receiver.env(60_000);
    await receiver[Symbol.asyncDispose]();
    await using program = await Program.start({ env });
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals(program.log(), "[client 1]: received 5 bytes\n");
  },
});

for (const [what, answersAfter] of [["answers after a second", 1000], ["never answers", Infinity]] as const) {
  Deno.test({
    ...ignoreIf(
      missing,
      `main.ts drops everybody and ends by itself on the second signal while a collector ${what}`,
    ),
    async fn() {
      await using receiver = new OtlpReceiver(answersAfter);
      const env = { ...receiver.env(100), OTEL_EXPORTER_OTLP_TIMEOUT: "1500" };
      await using program = await Program.start({ env, flags: ["--drain-timeout=1000"] });
      assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
      using stuck = await Deno.connect(program.address);
      await program.statusWhen(({ active }) => active === 1);
      await until(() => receiver.exports > 0);
      program.kill("SIGTERM");
      await program.line(/stopping/);
      await delay(1200);
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 0);
      await waitForClose(stuck);
      assertEquals(program.matches(/client 2 .* dropped after 0 bytes: drain/).length, 1);
      assertEquals(program.log(), "[client 1]: received 5 bytes\n");
    },
  });
}
