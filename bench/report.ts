/** The results as text, for the terminal and for a Markdown page. */
import type { Figures } from "./measure.ts";
import { LIMIT, type Results } from "./results.ts";
import type { Verdict } from "./targets.ts";

const MIB = 1024 ** 2;

const COLUMNS: { title: string; of: (figures: Figures) => number | undefined; digits: number }[] = [
  { title: "µs CPU a client", of: ({ cpuPerClient }) => cpuPerClient, digits: 1 },
  { title: "clients/s", of: ({ clientsPerSecond }) => clientsPerSecond, digits: 0 },
  { title: "p50 ms", of: ({ p50 }) => p50, digits: 2 },
  { title: "p99 ms", of: ({ p99 }) => p99, digits: 2 },
  { title: "peak MiB", of: ({ peak }) => peak / MIB, digits: 1 },
  { title: "over idle MiB", of: ({ peakOverIdle }) => peakOverIdle / MIB, digits: 1 },
  { title: "KiB an idle client", of: ({ perIdleClient }) => perIdleClient && perIdleClient / 1024, digits: 1 },
];

/** A table with a line for each workload and server. */
export function resultsTable(results: Results): string {
  const rows = Object.entries(results.figures).flatMap(([workload, servers]) =>
    Object.entries(servers).map(([server, figures]) => {
      const limit = servers[LIMIT]?.cpuPerClient;
      const cells = COLUMNS.map(({ of, digits }) => of(figures)?.toFixed(digits) ?? "");
      const range = results.rounds > 1 ? figures.cpuRange.map((cpu) => cpu.toFixed(1)).join(" to ") : "";
      return [
        workload,
        server,
        ...cells.toSpliced(1, 0, range, limit ? (figures.cpuPerClient / limit).toFixed(2) : ""),
      ];
    })
  );
  const titles = COLUMNS.map(({ title }) => title).toSpliced(1, 0, "rounds", `/ ${LIMIT}`);
  return table(["workload", "server", ...titles], rows);
}

/** A table of the time each server takes to start. */
export function startTable({ startTime }: Results): string {
  return table(
    ["server", "start to listening, ms"],
    Object.entries(startTime).map(([name, ms]) => [name, ms.toFixed(1)]),
  );
}

/** A table of the targets that could be judged, and how many could not. */
export function targetsTable(verdicts: Verdict[]): string {
  const rows = verdicts.flatMap(({ workload, target, measured, met }) =>
    measured === undefined ? [] : [[workload, target, measured, met ? "met" : "MISSED"]]
  );
  const left = verdicts.length - rows.length;
  return table(["workload", "target", "measured", ""], rows) + (left > 0 ? `\n\n${left} targets not measured` : "");
}

/** A Markdown table that is also legible as it is: columns as wide as their widest cell, numbers to the right. */
function table(titles: string[], rows: string[][]): string {
  const numeric = titles.map((_, i) => rows.length > 0 && rows.every((row) => /^-?[\d.]*$/.test(row[i] ?? "")));
  const widths = titles.map((title, i) =>
    Math.max(3, ...[title, ...rows.map((row) => row[i] ?? "")].map((s) => s.length))
  );
  const pad = (cell: string, i: number) => numeric[i] ? cell.padStart(widths[i] ?? 0) : cell.padEnd(widths[i] ?? 0);
  const rule = widths.map((width, i) => numeric[i] ? "-".repeat(width - 1) + ":" : "-".repeat(width));
  return [titles.map(pad), rule, ...rows.map((row) => row.map(pad))].map((cells) => `| ${cells.join(" | ")} |`).join(
    "\n",
  );
}
