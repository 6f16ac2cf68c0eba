/** The results as text, for the terminal and for a Markdown page. */
import { bottleneck, type Figures, type FloodFigures, LIMIT, type Results, TWO_SUBJECTS } from "./results.ts";
import type { Verdict } from "./targets.ts";
import { FLOODS } from "./workloads.ts";

const MB = 1000 ** 2, MIB = 1024 ** 2;

const COLUMNS: { title: string; of: (figures: Figures) => number | undefined; digits: number }[] = [
  { title: "µs CPU per client", of: ({ cpuPerClient }) => cpuPerClient, digits: 1 },
  { title: "clients/s", of: ({ clientsPerSecond }) => clientsPerSecond, digits: 0 },
  { title: "p50 ms", of: ({ p50 }) => p50, digits: 2 },
  { title: "p99 ms", of: ({ p99 }) => p99, digits: 2 },
  { title: "server cores", of: ({ serverCores }) => serverCores, digits: 2 },
  { title: "load cores", of: ({ loadCores }) => loadCores, digits: 2 },
  { title: "other cores", of: ({ othersCores }) => othersCores, digits: 2 },
  { title: "peak MiB", of: ({ peak }) => peak / MIB, digits: 1 },
  { title: "over idle MiB", of: ({ peakOverIdle }) => peakOverIdle / MIB, digits: 1 },
  { title: "KiB per idle client", of: ({ perIdleClient }) => perIdleClient && perIdleClient / 1024, digits: 1 },
];

/** A table with a line for each workload and server. */
export function resultsTable(results: Results): string {
  const rows = Object.entries(results.figures).flatMap(([workload, servers]) =>
    Object.entries(servers).map(([server, figures]) => {
      const limit = servers[LIMIT]?.cpuPerClient;
      const [cpu = "", ...cells] = COLUMNS.map(({ of, digits }) => of(figures)?.toFixed(digits) ?? "");
      const range = results.rounds > 1 ? figures.cpuRange.map((each) => each.toFixed(1)).join(" to ") : "";
      const toLimit = limit ? (figures.cpuPerClient / limit).toFixed(2) : "";
      return [workload, server, cpu, range, toLimit, bottleneck(figures, results.machine.cores), ...cells];
    })
  );
  const [cpu = "", ...titles] = COLUMNS.map(({ title }) => title);
  return table(["workload", "server", cpu, "min to max", `/ ${LIMIT}`, "bottleneck", ...titles], rows);
}

const FLOOD_COLUMNS: { title: string; of: (figures: FloodFigures) => number; digits: number }[] = [
  { title: "clients", of: ({ clients }) => clients, digits: 0 },
  { title: "p50 ms", of: ({ p50 }) => p50, digits: 1 },
  { title: "p99 ms", of: ({ p99 }) => p99, digits: 1 },
  { title: "worst ms", of: ({ worst }) => worst, digits: 1 },
  { title: "flood MB/s", of: ({ bytesPerSecond }) => bytesPerSecond / MB, digits: 2 },
  { title: "dropped", of: ({ dropped }) => dropped, digits: 0 },
  { title: "server cores", of: ({ serverCores }) => serverCores, digits: 2 },
  { title: "load cores", of: ({ loadCores }) => loadCores, digits: 2 },
  { title: "other cores", of: ({ othersCores }) => othersCores, digits: 2 },
  { title: "peak MiB", of: ({ peak }) => peak / MIB, digits: 1 },
];

/** A table of the ordinary clients beside each flood, with a line for each server. */
export function floodTable({ floods = {} }: Results): string {
  const rows = Object.entries(floods).flatMap(([flood, servers]) =>
    Object.entries(servers).map(([server, figures]) => [
      flood,
      server,
      ...FLOOD_COLUMNS.map(({ of, digits }) => of(figures).toFixed(digits)),
    ])
  );
  return table(["a client beside a", "server", ...FLOOD_COLUMNS.map(({ title }) => title)], rows);
}

/** What {@linkcode summaryTable} shows of each server. */
const SUMMARY: { title: string; of: (results: Results, server: string) => number | string | undefined }[] = [
  ...["64 B x 64", "64 B x 1000", "4 KiB x 64", "64 KiB x 64", "4 MB x 16"].map((workload) => ({
    title: `${workload}: µs of CPU`,
    of: ({ figures }: Results, server: string) => figures[workload]?.[server]?.cpuPerClient,
  })),
  { title: "64 B x 64: clients/s", of: ({ figures }, server) => figures["64 B x 64"]?.[server]?.clientsPerSecond },
  {
    title: "… bottleneck",
    of({ figures, machine }, server) {
      const of = figures["64 B x 64"]?.[server];
      return of && bottleneck(of, machine.cores);
    },
  },
  ...["64 B x 64", "64 B x 1000"].map((workload) => ({
    title: `${workload}: p99, ms`,
    of: ({ figures }: Results, server: string) => figures[workload]?.[server]?.p99,
  })),
  {
    title: "4 MB x 16: peak, MiB",
    of({ figures }, server) {
      const peak = figures["4 MB x 16"]?.[server]?.peak;
      return peak && peak / MIB;
    },
  },
  {
    title: "10,000 idle: KiB per client",
    of({ figures }, server) {
      const bytes = figures["10000 idle"]?.[server]?.perIdleClient;
      return bytes && bytes / 1024;
    },
  },
  ...FLOODS.map(({ name }) => ({
    title: `${name}: p99, ms`,
    of: ({ floods }: Results, server: string) => floods?.[name]?.[server]?.p99,
  })),
  { title: "start, ms", of: ({ startTime }, server) => startTime[server] },
];

/** The summary: a column for each server that was measured under every workload. */
export function summaryTable(results: Results): string {
  const measured = Object.values<Record<string, unknown>>({ ...results.figures, ...results.floods });
  const servers = [...new Set(measured.flatMap((each) => Object.keys(each)))]
    .filter((server) => server !== TWO_SUBJECTS);
  const rows = SUMMARY.map(({ title, of }) => [title, ...servers.map((server) => brief(of(results, server)))]);
  return table(["", ...servers], rows.filter((row) => row.slice(1).some((cell) => cell !== "")));
}

/** With one digit below ten, else none, and with a comma between thousands. */
export function brief(value: number | string | undefined): string {
  if (typeof value !== "number") return value ?? "";
  return value < 9.95 ? value.toFixed(1) : Math.round(value).toLocaleString("en");
}

/** A table of the time each server takes to start. */
export function startTable({ startTime }: Results): string {
  return table(
    ["server", "start to listening, ms"],
    Object.entries(startTime).map(([name, ms]) => [name, ms.toFixed(1)]),
  );
}

/** A table of the targets that could be checked, and how many could not. */
export function targetsTable(verdicts: Verdict[]): string {
  const rows = verdicts.flatMap(({ workload, target, measured, met }) =>
    measured === undefined ? [] : [[workload, target, measured, met ? "met" : "MISSED"]]
  );
  const left = verdicts.length - rows.length;
  return [table(["workload", "target", "measured", ""], rows), left > 0 ? `${left} targets not measured` : ""]
    .filter((part) => part !== "").join("\n\n");
}

/** A Markdown table that is also readable as text: columns as wide as their widest cell, numbers right-aligned. */
function table(titles: string[], rows: string[][]): string {
  if (rows.length === 0) return "";
  const numeric = titles.map((_, i) => rows.some((row) => row[i]) && rows.every((row) => isFigure(row[i] ?? "")));
  const widths = titles.map((title, i) =>
    Math.max(3, ...[title, ...rows.map((row) => row[i] ?? "")].map((s) => s.length))
  );
  const pad = (cell: string, i: number) => numeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
  const rule = widths.map((width, i) => numeric[i] ? "-".repeat(width - 1) + ":" : "-".repeat(width));
  return [titles.map(pad), rule, ...rows.map((row) => row.map(pad))].map((cells) => `| ${cells.join(" | ")} |`).join(
    "\n",
  );
}

/** Whether a cell is right-aligned. */
function isFigure(cell: string): boolean {
  return /^[\d.,]*$/.test(cell) || ["server", "load", "machine", "neither"].includes(cell);
}
