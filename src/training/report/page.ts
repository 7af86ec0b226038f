/** The frame of a report: one self-contained HTML page, light or dark as the reader's system is, with uPlot inside. */

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

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as HTML. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c]);

/** JSON that can stand inside a script element. */
const scriptJson = (value: unknown): string =>
  JSON.stringify(value)
    .replaceAll("<", "\\u003c")
    .replaceAll("\u2028", "\\u2028")
    .replaceAll("\u2029", "\\u2029");

const style = `
:root { color-scheme: light dark; --ink: #1d2328; --soft: #667078; --line: #dfe3e6; --paper: #ffffff; --panel: #f6f7f8; --good: #1f7a4d; --bad: #b3443a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9eb; --soft: #98a2a9; --line: #343b41; --paper: #14181b; --panel: #1c2125; --good: #5fc795; --bad: #e98379; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1080px; padding: 2.5rem 1.25rem 4rem; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; letter-spacing: -.01em; }
h2 { font-size: 1.1rem; margin: 2.5rem 0 .75rem; }
p, dl { color: var(--soft); margin: 0 0 1rem; }
.facts { display: flex; flex-wrap: wrap; gap: .4rem 1.6rem; margin: 1rem 0 0; padding: 0; list-style: none; color: var(--soft); font-size: .93rem; }
.facts b { color: var(--ink); font-weight: 600; }
.tiles { display: grid; grid-template-columns: repeat(auto-fit, minmax(190px, 1fr)); gap: .8rem; margin-top: 1.5rem; }
.tile { background: var(--panel); border-radius: 10px; padding: .9rem 1rem; }
.tile .value { font-size: 1.5rem; font-weight: 650; font-variant-numeric: tabular-nums; }
.tile .label, .tile .note { color: var(--soft); font-size: .85rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 460px), 1fr)); gap: 1rem; }
.chart { border: 1px solid var(--line); border-radius: 10px; padding: .8rem .6rem .4rem; min-width: 0; }
.chart h3 { font-size: .95rem; margin: 0 .4rem .3rem; font-weight: 600; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: var(--soft); font-size: .88rem; }
.sample { border: 1px solid var(--line); border-radius: 10px; margin: 0 0 .8rem; display: grid; grid-template-columns: 1fr 1fr; }
.sample > div { padding: .7rem .9rem; overflow-wrap: anywhere; }
.sample > div + div { border-left: 1px solid var(--line); }
.sample .prefix { color: var(--soft); }
.sample .score { float: right; margin-left: .8rem; font-variant-numeric: tabular-nums; font-size: .85rem; font-weight: 600; }
.up { color: var(--good); } .down { color: var(--bad); }
pre { background: var(--panel); border-radius: 10px; padding: 1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; color: var(--soft); }
@media (max-width: 640px) { .sample { grid-template-columns: 1fr; } .sample > div + div { border-left: 0; border-top: 1px solid var(--line); } }
@media print { body { max-width: none; } .chart, .sample, .tile { break-inside: avoid; } }
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
<style>${uplot.style}${style}</style>
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
