/** Self-contained HTML pages, light or dark as the reader's system is: escaping, the common style, and the frame. */

const entities: Readonly<Record<string, string>> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#39;",
};

/** Text as HTML. */
export const escape = (text: string): string => text.replace(/[&<>"']/g, (c) => entities[c]);

/** Colours, type, facts, tiles, tables. */
export const pageStyle = `
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
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .45rem .6rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; }
th { font-weight: 600; color: var(--soft); font-size: .88rem; }
.up { color: var(--good); } .down { color: var(--bad); }
pre { background: var(--panel); border-radius: 10px; padding: 1rem; overflow-x: auto; font-size: .85rem; }
summary { cursor: pointer; color: var(--soft); }
@media print { body { max-width: none; } .tile { break-inside: avoid; } }
`;

export interface HtmlPage {
  readonly title: string;
  /** Added to the common style. */
  readonly style?: string;
  /** HTML, made with `escape` where it holds text. */
  readonly body: string;
}

/** A whole page without scripts. */
export const htmlPage = ({ title, style = "", body }: HtmlPage): string => `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escape(title)}</title>
<style>${pageStyle}${style}</style>
</head>
<body>
${body}
</body>
</html>
`;
