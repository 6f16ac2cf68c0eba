/**
 * Draws the `results.json` of a folder as two charts beside it.
 *
 * It is a separate program, with its own `deno.json`, so that the server's users do not download what it imports.
 *
 * @module
 */

import * as vega from "vega";
import { compile, type TopLevelSpec } from "vega-lite";
import { type Figures, type Results, SUBJECT, TWO_SUBJECTS } from "../results.ts";
import { FLOODS, SERIES } from "../workloads.ts";

/** Colors that can be told apart on white and on black. The server under test has the one that stands out. */
const ACCENT = "#e8743b";
const OTHERS = "#8b949e";
const LINES = ["#4393d6", "#4a9d4a", "#b98a1d", "#a371e0", OTHERS, "#c2589a"];

/** Bars: a panel for each measurement. */
function barChart(results: Results): Promise<string> {
  const panels: { title: string; workload: string; figure: keyof Omit<Figures, "cpuRange">; per: number }[] = [
    { title: "64 B × 64: µs of CPU per client", workload: "64 B x 64", figure: "cpuPerClient", per: 1 },
    { title: "64 B × 1000: µs of CPU per client", workload: "64 B x 1000", figure: "cpuPerClient", per: 1 },
    { title: "4 KiB × 64: µs of CPU per client", workload: "4 KiB x 64", figure: "cpuPerClient", per: 1 },
    { title: "64 KiB × 64: µs of CPU per client", workload: "64 KiB x 64", figure: "cpuPerClient", per: 1 },
    { title: "4 MB × 16: ms of CPU per client", workload: "4 MB x 16", figure: "cpuPerClient", per: 1000 },
    { title: "4 MB × 16: peak memory, MiB", workload: "4 MB x 16", figure: "peak", per: 1024 ** 2 },
    { title: "64 B × 1000: p99, ms", workload: "64 B x 1000", figure: "p99", per: 1 },
    { title: "64 B × 64: thousand clients/s", workload: "64 B x 64", figure: "clientsPerSecond", per: 1000 },
    { title: "10,000 idle: KiB per client", workload: "10000 idle", figure: "perIdleClient", per: 1024 },
  ];
  const bar = (panel: string, server: string, value: number) => ({
    panel,
    server,
    value,
    label: value.toFixed(value < 100 ? 1 : 0),
  });
  const floodPanels = FLOODS.map(({ name, connections, bytes }) => ({
    title: `flood ${connections} × ${bytes} B: p99, ms`,
    flood: name,
  }));
  const values = [
    ...panels.flatMap(({ title, workload, figure, per }) =>
      Object.entries(results.figures[workload] ?? {})
        .filter(([server]) => server !== TWO_SUBJECTS)
        .map(([server, figures]) => bar(title, server, (figures[figure] ?? NaN) / per))
    ),
    ...floodPanels.flatMap(({ title, flood }) =>
      Object.entries(results.floods?.[flood] ?? {}).map(([server, { p99 }]) => bar(title, server, p99))
    ),
  ];
  return draw({
    data: { values },
    facet: {
      field: "panel",
      sort: [...panels, ...floodPanels].map(({ title }) => title),
      title: null,
      header: { labelFontSize: 12, labelAnchor: "start" },
    },
    columns: 3,
    bounds: "flush",
    spacing: { row: 34, column: 60 },
    spec: {
      width: 170,
      height: { step: 19 },
      encoding: {
        y: { field: "server", sort: null, title: null },
        x: { field: "value", type: "quantitative", axis: null, scale: { nice: false } },
      },
      layer: [
        {
          mark: { type: "bar", height: 13 },
          encoding: { color: { condition: { test: `datum.server === '${SUBJECT}'`, value: ACCENT }, value: OTHERS } },
        },
        { mark: { type: "text", align: "left", dx: 4 }, encoding: { text: { field: "label" } } },
      ],
    },
    resolve: { scale: { x: "independent" } },
  });
}

/** Lines: CPU per client against clients at a time. */
function seriesChart(results: Results): Promise<string> {
  const values = SERIES.flatMap(({ name, atATime }) =>
    Object.entries(results.figures[name] ?? {})
      .filter(([server]) => server !== TWO_SUBJECTS)
      .map(([server, { cpuPerClient }]) => ({ atATime, server, cpuPerClient }))
  );
  const servers = [...new Set(values.map(({ server }) => server))];
  const colors = [ACCENT, ...LINES];
  const height = 260;
  return draw({
    width: 520,
    height,
    data: { values },
    encoding: {
      color: { field: "server", scale: { domain: servers, range: colors }, legend: null },
      x: {
        field: "atATime",
        type: "quantitative",
        scale: { type: "log" },
        title: "clients at a time, 64 B each",
        axis: { values: [1, 10, 100, 1000, 10_000], format: ",d", grid: false },
      },
    },
    layer: [
      {
        mark: { type: "line", point: true },
        encoding: {
          y: { field: "cpuPerClient", type: "quantitative", title: "µs of CPU per client" },
          strokeWidth: { condition: { test: `datum.server === '${SUBJECT}'`, value: 3.5 }, value: 1.5 },
        },
      },
      {
        data: { values: lineLabels(values, 14 / height) },
        mark: { type: "text", align: "left", dx: 10 },
        encoding: { y: { field: "y", type: "quantitative" }, text: { field: "server" } },
      },
    ],
  });
}

/** A label at the end of each line, `gap` of the height of the chart from the next one at least. */
function lineLabels(values: { atATime: number; server: string; cpuPerClient: number }[], gap: number) {
  const highest = Math.max(...values.map(({ cpuPerClient }) => cpuPerClient));
  const last = Math.max(...values.map(({ atATime }) => atATime));
  let y = -Infinity;
  return values
    .filter(({ atATime }) => atATime === last)
    .toSorted((a, b) => a.cpuPerClient - b.cpuPerClient)
    .map(({ atATime, server, cpuPerClient }) => ({
      atATime,
      server,
      y: y = Math.max(cpuPerClient, y + gap * highest),
    }));
}

/** Text and lines follow the reader's scheme, on no background of their own. */
const STYLE = `<style>text{fill:#1f2328}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>`;

async function draw(spec: TopLevelSpec): Promise<string> {
  const { spec: compiled } = compile({
    ...spec,
    config: {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: {
        gridColor: OTHERS,
        gridOpacity: 0.25,
        domainColor: OTHERS,
        tickColor: OTHERS,
        domain: false,
        ticks: false,
      },
    },
  });
  const svg = await new vega.View(vega.parse(compiled), { renderer: "none" }).toSVG();
  return svg.replace(/(<svg[^>]*>)/, `$1${STYLE}`) + "\n";
}

const [folder = "bench"] = Deno.args;
const results: Results = JSON.parse(await Deno.readTextFile(`${folder}/results.json`));
await Deno.writeTextFile(`${folder}/results.svg`, await barChart(results));
await Deno.writeTextFile(`${folder}/scaling.svg`, await seriesChart(results));
