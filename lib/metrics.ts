/**
 * The server's figures as OpenTelemetry metrics.
 *
 * @module
 */

import type { Status } from "./server.ts";

/** An instrument. All that can be done with it is to hand it back to what made it. */
export type Instrument = object;

/** What an instrument is called, and what it counts in. */
export interface InstrumentOptions {
  /** What it tells. */
  description: string;
  /** A UCUM unit, or what is counted in curly braces. */
  unit: string;
}

/** Takes the values of one export. */
export interface Observer {
  /** Takes one value. */
  observe(instrument: Instrument, value: number, attributes?: Record<string, string>): void;
}

/** The part of OpenTelemetry's `Meter` that is used here. */
export interface Meter {
  /** Makes an instrument for what only grows. */
  createObservableCounter(name: string, options: InstrumentOptions): Instrument;
  /** Makes an instrument for what grows and shrinks. */
  createObservableUpDownCounter(name: string, options: InstrumentOptions): Instrument;
  /** Has a function called once an export. It may only observe the instruments named. */
  addBatchObservableCallback(callback: (observer: Observer) => void, instruments: Instrument[]): void;
}

/** The part of OpenTelemetry's `MeterProvider` that is used here. Deno's own has no type. */
export interface MeterProvider {
  /** Makes what makes instruments. Deno's throws unless OpenTelemetry is on. */
  getMeter(name: string, version: string): Meter;
}

/**
 * Has the figures exported for as long as the process lives. Does nothing unless OpenTelemetry is on.
 *
 * The figures are read when they are exported; serving a client costs nothing more.
 *
 * @param provider Where the instruments come from: `Deno.telemetry.meterProvider`.
 * @param version The program's version.
 * @param status The figures at this moment. Called once an export.
 *
 * @example Export the figures of a server
 * ```ts ignore
 * exportMetrics(Deno.telemetry.meterProvider, "1.0.0", () => server.status);
 * ```
 */
export function exportMetrics(provider: MeterProvider, version: string, status: () => Status): void {
  let meter: Meter;
  try {
    meter = provider.getMeter("echo-server", version);
  } catch {
    return; // OpenTelemetry is not on. There is no other way to ask without a permission.
  }
  const grows = (name: string, unit: string, description: string) =>
    meter.createObservableCounter(name, { unit, description });
  const growsAndShrinks = (name: string, unit: string, description: string) =>
    meter.createObservableUpDownCounter(name, { unit, description });
  const ended = "Clients that have ended: served, or, with error.type, not served and why.";
  const clients = grows("echo_server.clients", "{client}", ended);
  const active = growsAndShrinks("echo_server.client.active", "{client}", "Clients in flight.");
  const echoed = grows("echo_server.message.echoed", "By", "Bytes echoed to clients served to the end.");
  const buffered = growsAndShrinks("echo_server.buffer.usage", "By", "Memory that messages hold.");
  const queued = growsAndShrinks("echo_server.access_log.queued", "{line}", "Lines that wait for the disk.");
  meter.addBatchObservableCallback((observer) => {
    const figures = status();
    observer.observe(clients, figures.served);
    for (const [reason, count] of Object.entries(figures.dropped)) {
      observer.observe(clients, count, { "error.type": reason });
    }
    observer.observe(clients, figures.goneBeforeAccept, { "error.type": "gone_before_accept" });
    observer.observe(active, figures.active);
    observer.observe(echoed, figures.bytes);
    observer.observe(buffered, figures.buffered);
    observer.observe(queued, figures.queuedLines);
  }, [clients, active, echoed, buffered, queued]);
}
