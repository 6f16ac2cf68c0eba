import { assert, assertEquals, fail } from "@std/assert";
import type { Attributes, Meter, MeterProvider, MetricOptions, ObservableCallback } from "@opentelemetry/api";
import { exportMetrics } from "../../lib/metrics.ts";
import type { Status } from "../../lib/server.ts";

const STATUS: Status = {
  uptime: 1.5,
  active: 1,
  served: 2,
  bytes: 3,
  buffered: 4,
  queuedLines: 5,
  dropped: { reset: 6, idle: 7, message: 8, buffers: 9, drain: 10, failed: 11, before_accept: 12 },
};

/** A provider that exports when it is told to. */
class FakeProvider implements Pick<MeterProvider, "getMeter"> {
  readonly meters: string[] = [];
  readonly #values: string[] = [];
  readonly #callbacks: (() => unknown)[] = [];

  getMeter(name: string, version?: string): Meter {
    this.meters.push(`${name} ${version}`);
    const create = (kind: string) => (name: string, { unit, description }: MetricOptions) => {
      assert(description?.endsWith("."), name);
      const observe = (value: number, attributes: Attributes = {}) =>
        void this.#values.push([name, kind, unit, value, ...Object.entries(attributes).flat()].join(" "));
      return {
        addCallback: (callback: ObservableCallback) => void this.#callbacks.push(() => callback({ observe })),
      };
    };
    const meter = {
      createObservableCounter: create("counter"),
      createObservableUpDownCounter: create("up-down"),
    };
    return meter as unknown as Meter;
  }

  /** What one export has. */
  async export(): Promise<string[]> {
    this.#values.length = 0;
    for (const callback of this.#callbacks) await callback();
    return [...this.#values];
  }
}

Deno.test("exportMetrics() exports every metric, with its kind and unit", async () => {
  const provider = new FakeProvider();
  exportMetrics(provider, "1.2.3", () => STATUS);
  assertEquals(provider.meters, ["echo-server 1.2.3"]);
  assertEquals(await provider.export(), [
    "echo_server.served counter {client} 2",
    "echo_server.dropped counter {client} 6 error.type reset",
    "echo_server.dropped counter {client} 7 error.type idle",
    "echo_server.dropped counter {client} 8 error.type message",
    "echo_server.dropped counter {client} 9 error.type buffers",
    "echo_server.dropped counter {client} 10 error.type drain",
    "echo_server.dropped counter {client} 11 error.type failed",
    "echo_server.dropped counter {client} 12 error.type before_accept",
    "echo_server.bytes counter By 3",
    "echo_server.active up-down {client} 1",
    "echo_server.buffered up-down By 4",
    "echo_server.queued_lines up-down {line} 5",
  ]);
});

Deno.test("exportMetrics() reads the status at each export, and not before", async () => {
  const provider = new FakeProvider();
  let served: number | undefined;
  exportMetrics(provider, "1.2.3", () => ({ ...STATUS, served: served ?? fail("read before an export") }));
  for (served of [1, 2]) assertEquals((await provider.export())[0], `echo_server.served counter {client} ${served}`);
});

Deno.test("exportMetrics() does nothing when OpenTelemetry is off", () => {
  const provider = {
    getMeter(): Meter {
      throw new Error("otel not initialized");
    },
  };
  exportMetrics(provider, "1.2.3", () => STATUS);
});
