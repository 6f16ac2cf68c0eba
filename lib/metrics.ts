/**
 * The server's metrics for OpenTelemetry.
 *
 * @module
 */

import type { Meter, MeterProvider } from "@opentelemetry/api";
import type { Status } from "./server.ts";

/**
 * Registers the metrics with OpenTelemetry. Does nothing unless it is on.
 *
 * They are read when they are exported; serving a client costs nothing more.
 *
 * @param provider Where the instruments come from: `Deno.telemetry.meterProvider`.
 * @param version The program's version.
 * @param status The status at this moment. Called once per export.
 */
export function exportMetrics(provider: Pick<MeterProvider, "getMeter">, version: string, status: () => Status): void {
  let meter: Meter;
  try {
    meter = provider.getMeter("echo-server", version);
  } catch {
    return; // OpenTelemetry is off. Asking the environment instead would need a permission.
  }
  const total = (name: string, unit: string, description: string) =>
    meter.createObservableCounter(`echo_server.${name}`, { unit, description });
  const current = (name: string, unit: string, description: string, value: () => number) =>
    meter.createObservableUpDownCounter(`echo_server.${name}`, { unit, description })
      .addCallback((result) => result.observe(value()));

  total("served", "{client}", "Clients served to the end.").addCallback((result) => result.observe(status().served));
  total("dropped", "{client}", "Clients not served to the end; error.type says why.").addCallback((result) => {
    for (const [reason, count] of Object.entries(status().dropped)) result.observe(count, { "error.type": reason });
  });
  total("bytes", "By", "Bytes echoed to served clients.").addCallback((result) => result.observe(status().bytes));
  current("active", "{client}", "Clients in flight.", () => status().active);
  current("buffered", "By", "Memory held by messages.", () => status().buffered);
  current("queued_lines", "{line}", "Access log lines not yet written.", () => status().queuedLines);
}
