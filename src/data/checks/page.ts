/** The page of `prefopt data check --html`: one section a check, findings with examples and remedies, numbers in tables; no scripts. */
import { escape, htmlPage } from "../../formats/html.ts";
import { dataFormats } from "../formats/table.ts";
import type { Finding } from "./check.ts";
import type { CheckedQuestion, DataReport } from "./run-checks.ts";

const style = `
:root { --error: #b3261e; --warning: #9a6700; --note: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --error: #ff8a80; --warning: #f1c04f; --note: #8dc2ff; } }
section { border: 1px solid var(--line); border-radius: 12px; padding: 1rem 1.2rem; margin: 1rem 0; }
section h2 { margin: 0; display: flex; gap: .7rem; align-items: baseline; flex-wrap: wrap; }
.badge { font-size: .78rem; font-weight: 650; border: 1.5px solid currentColor; border-radius: 999px; padding: .05rem .6rem; }
.ok { color: var(--good); } .error { color: var(--error); } .warning { color: var(--warning); } .note { color: var(--note); } .left { color: var(--soft); }
.finding { border-left: 4px solid currentColor; padding: .1rem 0 .1rem .9rem; margin: 1rem 0 0; }
.finding > * { color: var(--ink); } .finding h3 { font-size: 1rem; margin: 0 0 .2rem; } .finding p { margin: 0 0 .3rem; color: var(--soft); }
.finding ul { margin: .3rem 0 0; padding-left: 1.1rem; font-size: .93rem; overflow-wrap: anywhere; }
code { font: .92em ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; }
details { margin-top: .8rem; } details table { max-width: 34rem; margin-top: .4rem; }
td:last-child { font-variant-numeric: tabular-nums; }
nav ul { list-style: none; padding: 0; margin: 1.2rem 0 0; display: flex; flex-wrap: wrap; gap: .4rem 1rem; } nav a { color: inherit; }
`;

export function checkPage(report: DataReport): string {
  const { data, against, format, records, checks } = report;
  const facts = [
    [String(records), "records"],
    [dataFormats[format.name].title, format.reason],
    ...(against === undefined ? [] : [[against, "held out"]]),
  ];
  const index = checks
    .map(
      ({ id, title, status }) =>
        `<li class="${classOf(status)}"><a href="#${id}">${escape(title)}</a>: ${status}</li>`,
    )
    .join("");
  return htmlPage({
    title: `prefopt: check of ${data}`,
    style,
    body: [
      `<h1>Check of ${escape(data)}</h1>`,
      `<ul class="facts">${facts.map(([value, label]) => `<li><b>${escape(value)}</b> ${escape(label)}</li>`).join("")}</ul>`,
      `<nav aria-label="Checks"><ul>${index}</ul></nav>`,
      `<main>${checks.map(section).join("\n")}</main>`,
    ].join("\n"),
  });
}

const classOf = (status: CheckedQuestion["status"]) => (status === "left out" ? "left" : status);

function section({ id, title, says, status, findings, numbers, leftOut }: CheckedQuestion): string {
  const badge = `<span class="badge ${classOf(status)}">${status}</span>`;
  const rows = Object.entries(numbers).map(
    ([name, value]) => `<tr><td>${escape(name)}</td><td>${shownNumber(value)}</td></tr>`,
  );
  const table =
    rows.length > 0 ? `<details><summary>numbers</summary><table>${rows.join("")}</table></details>` : "";
  const out = leftOut === undefined ? "" : `<p>${escape(leftOut)}</p>`;
  return `<section id="${id}"><h2>${escape(title)} ${badge}</h2><p>${escape(says)}</p>${out}${findings.map(finding).join("")}${table}</section>`;
}

function finding({ severity, title, why, remedy, examples }: Finding): string {
  const items = examples.map(
    ({ at, text }) => `<li><code>${escape(at)}</code>${text === undefined ? "" : ` ${escape(text)}`}</li>`,
  );
  const list = items.length > 0 ? `<ul>${items.join("")}</ul>` : "";
  return `<div class="finding ${severity}"><h3><span class="${severity}">${severity}:</span> ${escape(title)}</h3><p>${escape(why)}.</p><p>${escape(remedy)}.</p>${list}</div>`;
}

/** Whole numbers as they are, others with three places. */
export const shownNumber = (value: number): string =>
  Number.isInteger(value)
    ? value.toLocaleString("en")
    : value.toLocaleString("en", { maximumFractionDigits: 3 });
