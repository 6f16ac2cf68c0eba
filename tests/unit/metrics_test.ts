import { assert, assertEquals } from "@std/assert";
import { exportMetrics, type Instrument, type MeterProvider, type Observer } from "../../lib/metrics.ts";
import type { Status } from "../../lib/server.ts";

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
