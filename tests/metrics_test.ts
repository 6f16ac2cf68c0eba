import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import config from "../deno.json" with { type: "json" };
import { exportMetrics, type Instrument, type MeterProvider, type Observer } from "../lib/metrics.ts";
import type { Status } from "../lib/server.ts";
import { Receiver } from "./otlp.ts";
import { canRun, Program, until } from "./program.ts";
import { pattern, roundTrip, RudeClient, writeAll } from "./tcp.ts";

const STATUS: Status = {
  uptime: 1.5,
  active: 1,
  served: 2,
  letGo: { reset: 3, idle: 4, message: 5, buffers: 6, drain: 7, failed: 8 },
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
  name: "main.ts exports its metrics with its two permissions alone, and they are the figures of its status line",
  ignore: !canRun,
  async fn() {
    await using receiver = new Receiver();
    await using program = await Program.start({ env: receiver.env(50) });
    await roundTrip(program.address, pattern(5));
    await roundTrip(program.address, pattern(7));
    const rude = await RudeClient.connect(program.address);
    await rude.write(pattern(3));
    await program.statusWhen(({ active, buffered }) => active === 1 && buffered > 0);
    await rude.reset();
    await program.line(/let go after 3 bytes: reset/);
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
  name:
    "main.ts has its diagnostics exported as log records of their level, the last ones too, and prints them as ever",
  ignore: !canRun,
  async fn() {
    await using receiver = new Receiver();
    await using program = await Program.start({
      env: receiver.env(60_000),
      flags: ["--max-message=3", "--log-level=info"],
    });
    assertEquals(await receiver.severityOf(/ info: listening on 127\.0\.0\.1:\d+, /), "INFO 9");

    using client = await Deno.connect(program.address);
    await writeAll(client, pattern(4));
    await program.line(/ warning: client 1 .* let go .*: message/);
    assertEquals(await receiver.severityOf(/ warning: client 1 .* let go .*: message/), "WARN 13");

    Deno.removeSync(program.accessLog);
    Deno.mkdirSync(program.accessLog);
    program.kill("SIGHUP");
    assertEquals(await receiver.severityOf(/ error: the old access log stays in use: /), "ERROR 17");

    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
    assertEquals(await receiver.severityOf(/ info: stopping: /), "INFO 9");

    assertEquals(program.stdout, "");
    assertEquals(receiver.records.map(({ body }) => body.trimEnd()), program.stderr);
  },
});

Deno.test({
  name: "main.ts serves and ends in time when nobody takes its exports",
  ignore: !canRun,
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

Deno.test({
  name: "main.ts serves on when nobody reads its stderr any more",
  ignore: !canRun,
  async fn() {
    await using program = await Program.start({ launcher: ["bash", "-c", 'exec "$0" "$@" 2> >(head -n 1 >&2)'] });
    // When head has left, stderr is at its end for the test and a closed pipe for the program.
    await assertRejects(() => program.line(/a second line/), Error, "ended without");
    for (const signal of ["SIGUSR2", "SIGUSR2", "SIGHUP"] as const) program.kill(signal);
    const rude = await RudeClient.connect(program.address);
    await rude.write(pattern(3));
    await rude.reset();
    assertEquals(await roundTrip(program.address, pattern(5)), pattern(5));
    await until(() => program.log() !== "");
    assertMatch(program.log(), /^\[client \d\]: received 5 bytes\n$/);
    program.kill("SIGTERM");
    assertEquals(await program.exit(), 0);
  },
});
