import { assert, assertEquals } from "@std/assert";
import config from "../../deno.json" with { type: "json" };
import { exportMetrics, type Instrument, type MeterProvider, type Observer } from "../../lib/metrics.ts";
import type { Status } from "../../lib/server.ts";
import { Receiver } from "../support/otlp_receiver.ts";
import { canRun, Program, until } from "../support/program.ts";
import { ending, pattern, roundTrip, RudeClient, writeAll } from "../support/tcp_client.ts";
import { unless } from "../support/permissions.ts";

const missing = canRun ? "" : "permissions are missing";

const STATUS: Status = {
  uptime: 1.5,
  active: 1,
  served: 2,
  dropped: { reset: 3, idle: 4, message: 5, buffers: 6, drain: 7, failed: 8 },
  goneBeforeAccept: 9,
  bytes: 10,
  buffered: 11,
  queuedLines: 12,
};

/** A provider that exports when it is told to. */
class FakeProvider implements MeterProvider {
  readonly meters: string[] = [];
  readonly instruments = new Map<Instrument, string>();
  readonly #callbacks: { callback: (observer: Observer) => void; instruments: Instrument[] }[] = [];

  getMeter(name: string, version: string): ReturnType<MeterProvider["getMeter"]> {
    this.meters.push(`${name} ${version}`);
    const make = (kind: string) => (name: string, { unit, description }: { unit: string; description: string }) => {
      assert(description.endsWith("."), name);
      const instrument = {};
      this.instruments.set(instrument, `${name} ${kind} ${unit}`);
      return instrument;
    };
    return {
      createObservableCounter: make("counter"),
      createObservableUpDownCounter: make("up-down"),
      addBatchObservableCallback: (callback, instruments) => void this.#callbacks.push({ callback, instruments }),
    };
  }

  /** What one export has: OpenTelemetry drops a value whose instrument was not named with the callback. */
  export(): string[] {
    const values: string[] = [];
    for (const { callback, instruments } of this.#callbacks) {
      callback({
        observe: (instrument, value, attributes) => {
          if (!instruments.includes(instrument)) return;
          values.push([this.instruments.get(instrument), value, ...Object.entries(attributes ?? {}).flat()].join(" "));
        },
      });
    }
    return values;
  }
}

Deno.test("exportMetrics() exports every figure, with its kind and unit", () => {
  const provider = new FakeProvider();
  exportMetrics(provider, "1.2.3", () => STATUS);
  assertEquals(provider.meters, ["echo-server 1.2.3"]);
  assertEquals(provider.export(), [
    "echo_server.clients counter {client} 2",
    "echo_server.clients counter {client} 3 error.type reset",
    "echo_server.clients counter {client} 4 error.type idle",
    "echo_server.clients counter {client} 5 error.type message",
    "echo_server.clients counter {client} 6 error.type buffers",
    "echo_server.clients counter {client} 7 error.type drain",
    "echo_server.clients counter {client} 8 error.type failed",
    "echo_server.clients counter {client} 9 error.type gone_before_accept",
    "echo_server.client.active up-down {client} 1",
    "echo_server.message.echoed counter By 10",
    "echo_server.buffer.usage up-down By 11",
    "echo_server.access_log.queued up-down {line} 12",
  ]);
});

Deno.test("exportMetrics() reads the status once an export, and not before", () => {
  const provider = new FakeProvider();
  let reads = 0;
  exportMetrics(provider, "1.2.3", () => ({ ...STATUS, served: ++reads }));
  assertEquals(reads, 0);
  for (const nth of [1, 2]) assertEquals(provider.export()[0], `echo_server.clients counter {client} ${nth}`);
  assertEquals(reads, 2);
});

Deno.test("exportMetrics() does nothing when OpenTelemetry is off", () => {
  exportMetrics(
    {
      getMeter() {
        throw new Error("otel not initialized");
      },
    },
    "1.2.3",
    () => STATUS,
  );
});

Deno.test({
  ...unless(
    missing,
    "main.ts exports its metrics with its two permissions alone, and they are the figures of its status line",
  ),
  async fn() {
    await using receiver = new Receiver();
    await using program = await Program.start({ env: receiver.env(50) });
    await roundTrip(program.address, pattern(5));
    await roundTrip(program.address, pattern(7));
    const rude = await RudeClient.connect(program.address);
    await rude.write(pattern(3));
    await program.statusWhen(({ active, buffered }) => active === 1 && buffered > 0);
    await rude.reset();
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
  ...unless(missing, "main.ts makes no log records of its diagnostics"),
  async fn() {
    await using receiver = new Receiver();
    await using program = await Program.start({ env: receiver.env(60_000) });
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals([receiver.records, program.stdout], [0, ""]);
  },
});

Deno.test({
  ...unless(missing, "main.ts serves and ends in time when nobody takes its exports"),
  async fn() {
    const receiver = new Receiver();
    const env = receiver.env(60_000);
    await receiver[Symbol.asyncDispose]();
    await using program = await Program.start({ env });
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals(program.log(), "[client 1]: received 5 bytes\n");
  },
});

for (const [what, delay] of [["answers after a second", 1000], ["never answers", Infinity]] as const) {
  Deno.test({
    ...unless(
      missing,
      `main.ts drops everybody and ends by itself on the second signal while a collector ${what}`,
    ),
    async fn() {
      await using receiver = new Receiver(delay);
      const env = { ...receiver.env(100), OTEL_EXPORTER_OTLP_TIMEOUT: "1500" };
      await using program = await Program.start({ env, flags: ["--drain-timeout=1000"] });
      assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
      using stuck = await Deno.connect(program.address);
      await program.statusWhen(({ active }) => active === 1);
      await until(() => receiver.exports > 0);
      program.kill("SIGTERM");
      await program.line(/stopping/);
      const stopped = performance.now();
      await until(() => performance.now() - stopped > 1200);
      program.kill("SIGTERM");
      assertEquals(await program.exit(), 0);
      await ending(stuck);
      assertEquals(program.matches(/client 2 .* dropped after 0 bytes: drain/).length, 1);
      assertEquals(program.log(), "[client 1]: received 5 bytes\n");
    },
  });
}
