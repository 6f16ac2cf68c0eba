import { assert, assertEquals } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { OtlpReceiver } from "../support/otlp_receiver.ts";
import { cannotRun, ignoreIf } from "../support/permissions.ts";
import { Program } from "../support/program.ts";
import { pattern, ResettingClient, roundTrip, waitForClose, writeAll } from "../support/tcp_client.ts";
import { delay, until } from "../support/wait.ts";

const missing = cannotRun;

Deno.test({
  ...ignoreIf(
    missing,
    "main.ts exports the numbers of its status line as metrics, with no permissions but its two",
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
    // All that was sent has been read once the buffers have 100,000 bytes: from then on the number stays the same.
    const status = await program.statusWhen(({ active, buffered }) => active === 1 && buffered >= 100_000);

    await receiver.metricsWhen((metrics) => metrics["echo_server.buffered"]?.values[""] === status.buffered);
    const { metrics } = receiver;
    assertEquals([...receiver.meters], [`echo-server ${config.version}`]);
    const dropped = { reset: 1, idle: 0, message: 0, buffers: 0, drain: 0, failed: 0, before_accept: 0 };
    assertEquals(
      Object.fromEntries(
        Object.entries(metrics).map(([name, { unit, monotonic, values }]) => [name, { unit, monotonic, values }]),
      ),
      {
        "echo_server.served": { unit: "{client}", monotonic: true, values: { "": 2 } },
        "echo_server.dropped": { unit: "{client}", monotonic: true, values: dropped },
        "echo_server.bytes": { unit: "By", monotonic: true, values: { "": 12 } },
        "echo_server.active": { unit: "{client}", monotonic: false, values: { "": 1 } },
        "echo_server.buffered": { unit: "By", monotonic: false, values: { "": status.buffered } },
        "echo_server.queued_lines": { unit: "{line}", monotonic: false, values: { "": 0 } },
      },
    );
    assert(Object.values(metrics).every(({ description }) => description !== ""));
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts exports no log records"),
  async fn() {
    await using receiver = new OtlpReceiver();
    await using program = await Program.start({ env: receiver.env(60_000) });
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals([receiver.records, program.stdout], [0, ""]);
  },
});

Deno.test({
  ...ignoreIf(missing, "main.ts serves and exits when no collector listens"),
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
      `main.ts drops all clients and exits on a repeated signal while the collector ${what}`,
    ),
    async fn() {
      await using receiver = new OtlpReceiver(answersAfter);
      const env = { ...receiver.env(100), OTEL_EXPORTER_OTLP_TIMEOUT: "1500" };
      await using program = await Program.start({ env, flags: ["--drain-timeout=1000"] });
      assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
      using pending = await Deno.connect(program.address);
      await program.statusWhen(({ active }) => active === 1);
      await until(() => receiver.exports > 0);
      program.kill("SIGTERM");
      await program.line(/draining/);
      await delay(1200); // within a second of the first it would count once
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 0);
      await waitForClose(pending);
      assertEquals(program.matches(/client 2 .* dropped after 0 bytes: drain/).length, 1);
      assertEquals(program.log(), "[client 1]: received 5 bytes\n");
    },
  });
}
