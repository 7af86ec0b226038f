/** The frame of a report: one self-contained HTML page, light or dark as the reader's system is, with uPlot inside. */

import { escape, pageStyle } from "../../formats/html.ts";

export { escape } from "../../formats/html.ts";

export interface Page {
  readonly title: string;
  /** HTML of the body, made with `escape` where it holds text. */
  readonly body: string;
  /** Data of the charts; drawn by the script at the end of the page. */
  readonly charts: readonly Chart[];
  readonly uplot: { readonly script: string; readonly style: string };
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly xs: readonly number[];
  readonly series: readonly { readonly label: string; readonly values: readonly (number | null)[] }[];
  /** Points without lines, for one measure against another. */
  readonly scatter?: boolean;
}

/** JSON that can stand inside a script element. */
const scriptJson = (value: unknown): string =>
  JSON.stringify(value)
    .replaceAll("<", "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");

const style = `
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem; }
.chart { border: 1px solid var(--line); border-radius: 10px; padding: .8rem .6rem .4rem; min-width: 0; }
.chart h3 { font-size: .95rem; margin: 0 .4rem .3rem; font-weight: 600; }
.sample { border: 1px solid var(--line); border-radius: 10px; margin: 0 0 .8rem; display: grid; grid-template-columns: 1fr 1fr; }
.sample > div { padding: .7rem .9rem; overflow-wrap: anywhere; }
.sample > div + div { border-left: 1px solid var(--line); }
.sample .prefix { color: var(--soft); }
.sample .score { float: right; margin-left: .8rem; font-variant-numeric: tabular-nums; font-size: .85rem; font-weight: 600; }
@media (max-width: 640px) { .sample { grid-template-columns: 1fr; } .sample > div + div { border-left: 0; border-top: 1px solid var(--line); } }
@media print { .chart, .sample { break-inside: avoid; } }
`;

const draw = `
const dark = matchMedia("(prefers-color-scheme: dark)");
const plots = [];
function plot() {
  for (const p of plots.splice(0)) p.destroy();
  const css = getComputedStyle(document.documentElement);
  const [soft, line] = [css.getPropertyValue("--soft").trim(), css.getPropertyValue("--line").trim()];
  const colours = dark.matches ? ["#6cb2eb", "#f2a65a", "#8fd19e", "#e58fb1"] : ["#1f6fb2", "#d97a1e", "#2c8a57", "#b8457a"];
  charts.forEach((c, i) => {
    const place = document.getElementById("chart-" + i);
    const axis = { stroke: soft, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1 }, font: "12px system-ui" };
    const few = c.xs.length < 12;
    plots.push(new uPlot({
      width: place.clientWidth, height: 240,
      scales: { x: { time: false } },
      axes: [{ ...axis, label: c.x, labelSize: 22, labelFont: "12px system-ui" }, { ...axis, size: 58, values: (u, vs) => vs.map((v) => v !== 0 && Math.abs(v) < 1e-3 ? v.toExponential() : String(Number(v.toPrecision(6)))) }],
      series: [{ label: c.x }, ...c.series.map((s, k) => ({ label: s.label, stroke: colours[k % colours.length], width: c.scatter ? 0 : 2, spanGaps: true,
        paths: c.scatter ? () => null : undefined, points: { show: c.scatter || few, size: c.scatter ? 9 : 6, fill: colours[k % colours.length] },
        value: (u, v) => v == null ? "–" : Number(v.toPrecision(4)) }))],
    }, [c.xs, ...c.series.map((s) => s.values)], place));
  });
}
plot();
dark.addEventListener("change", plot);
let last = innerWidth;
addEventListener("resize", () => { if (innerWidth !== last) { last = innerWidth; plot(); } });
`;

/** The whole page as a string. */
export function renderPage({ title, body, charts, uplot }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${uplot.style}${pageStyle}${style}</style>
</head>
<body>
${body}
<script>${uplot.script}</script>
<script>const charts = ${scriptJson(charts)};${draw}</script>
</body>
</html>
`;
}

/** Places for the charts, in order. */
export function chartPlaces(charts: readonly Chart[]): string {
  const place = (c: Chart, i: number) =>
    `<div class="chart"><h3>${escape(c.title)}</h3><div id="chart-${i}"></div></div>`;
  return `<div class="charts">${charts.map(place).join("\n")}</div>`;
}
