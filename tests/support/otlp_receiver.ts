/**
 * A receiver of OpenTelemetry's protocol, OTLP over HTTP in JSON.
 *
 * @module
 */

import { until } from "./wait.ts";

/** An attribute, as it is sent (OTLP). */
interface KeyValue {
  key: string;
  value: { stringValue?: string };
}

/** An export of metrics, as it is sent. Only what is read here. */
interface MetricsExport {
  resourceMetrics: {
    scopeMetrics: { scope: { name: string; version: string }; metrics: SentMetric[] }[];
  }[];
}

/** A metric, as it is sent. Nothing here is a gauge or a histogram. */
interface SentMetric {
  name: string;
  unit: string;
  description: string;
  sum?: { isMonotonic: boolean; dataPoints: { asDouble: number; attributes: KeyValue[] }[] };
}

/** An export of log records, as it is sent. Only what is read here. */
interface LogsExport {
  resourceLogs: { scopeLogs: { logRecords: unknown[] }[] }[];
}

/** One metric of an export. */
export interface Metric {
  /** Its unit. */
  unit: string;
  /** Its description. */
  description: string;
  /** Whether it is a counter: its values never decrease. */
  monotonic: boolean;
  /** Its values, by `error.type`. The one without attributes is under the empty string. */
  values: Record<string, number>;
}

/** A receiver on a free port of the loopback. */
export class OtlpReceiver implements AsyncDisposable {
  /** Log records so far. */
  records = 0;
  /** Exports received, answered or not. */
  exports = 0;
  /** The names and versions of the meters that the program's metrics came from. */
  readonly meters: Set<string> = new Set();
  /** The program's metrics in the last export that had any, by name. */
  metrics: Record<string, Metric> = {};

  readonly #server: Deno.HttpServer<Deno.NetAddr>;

  readonly #delay: number;
  readonly #disposed = new AbortController();

  /** @param delay Milliseconds before each answer; `Infinity` for none. */
  constructor(delay: number = 0) {
    this.#delay = delay;
    const { signal } = this.#disposed;
    this.#server = Deno.serve({ hostname: "127.0.0.1", port: 0, onListen: () => {}, signal }, async (request) => {
      const body = await request.json();
      this.exports++;
      await this.#pause();
      const { pathname } = new URL(request.url);
      if (pathname === "/v1/metrics") this.#takeMetrics(body);
      if (pathname === "/v1/logs") this.#takeLogs(body);
      return Response.json({});
    });
  }

  /**
   * The environment variables with which Deno exports to it: log records within 50 ms, metrics at an interval. Deno 2.9.6
   * can hang for good if it exits while metrics are collected: the interval has to be longer than a program runs that
   * exits by itself.
   *
   * @param interval Milliseconds between two exports of metrics.
   */
  env(interval: number): Record<string, string> {
    return {
      OTEL_DENO: "true",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${this.#server.addr.port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      OTEL_METRIC_EXPORT_INTERVAL: `${interval}`,
      OTEL_BLRP_SCHEDULE_DELAY: "50",
    };
  }

  /** Waits until the metrics meet a condition. */
  metricsWhen(condition: (metrics: Record<string, Metric>) => boolean): Promise<void> {
    return until(() => condition(this.metrics), () => `metrics; the last were ${JSON.stringify(this.metrics)}`);
  }

  /** Stops listening. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#delay > 0) this.#disposed.abort();
    await (this.#delay > 0 ? this.#server.finished : this.#server.shutdown());
  }

  async #pause(): Promise<void> {
    if (this.#delay === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = this.#delay === Infinity ? undefined : setTimeout(resolve, this.#delay);
    this.#disposed.signal.addEventListener("abort", () => resolve());
    await promise;
    clearTimeout(timer);
  }

  #takeMetrics({ resourceMetrics }: MetricsExport): void {
    const scopes = resourceMetrics.flatMap(({ scopeMetrics }) => scopeMetrics);
    const own = scopes.find(({ scope }) => scope.name === "echo-server");
    if (own === undefined) return;
    this.meters.add(`${own.scope.name} ${own.scope.version}`);
    this.metrics = Object.fromEntries(own.metrics.map(({ name, unit, description, sum }) => [name, {
      unit,
      description,
      monotonic: sum?.isMonotonic ?? false,
      values: Object.fromEntries((sum?.dataPoints ?? []).map(({ attributes, asDouble }) => [
        attributes.map(({ key, value }) => key === "error.type" ? value.stringValue : key).join(),
        asDouble,
      ])),
    }]));
  }

  #takeLogs({ resourceLogs }: LogsExport): void {
    this.records += resourceLogs.flatMap(({ scopeLogs }) => scopeLogs).flatMap(({ logRecords }) => logRecords).length;
  }
}
