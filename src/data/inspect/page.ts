/** The page of `prefopt data inspect --html`: every token with its mask, told by colour, line and border, ids on demand; no scripts. */
import { escape, htmlPage } from "../../formats/html.ts";
import { showSource } from "../load-records.ts";
import { type ShownPart, type ShownProblem, type ShownRow, type ShownToken, countsOf } from "./inspect.ts";

export interface InspectPage {
  /** What is looked at: a file or a recipe. */
  readonly name: string;
  /** Facts above the records, in words. */
  readonly facts: readonly (readonly [label: string, value: string])[];
  readonly rows: readonly (ShownRow | ShownProblem)[];
}

const style = `
:root { --trained: #d7efe1; --trained-ink: #11452c; --end: #ffe3b3; --end-ink: #5c3a00; --gone: #f7d9d6; --gone-ink: #7a1f16; --given: #eceff1; --special: #1f5fa8; }
@media (prefers-color-scheme: dark) { :root { --trained: #17402c; --trained-ink: #c9f2da; --end: #5a4311; --end-ink: #ffe9bd; --gone: #552521; --gone-ink: #ffd2cd; --given: #262c31; --special: #8dc2ff; } }
.row { border: 1px solid var(--line); border-radius: 12px; padding: .9rem 1.1rem 1.1rem; margin: 1.2rem 0; }
.row h2 { margin: 0 0 .2rem; font-size: 1rem; overflow-wrap: anywhere; }
.row h3 { margin: .9rem 0 .3rem; font-size: .82rem; font-weight: 600; color: var(--soft); }
.tokens { font: 15px/1.9 ui-monospace, SFMono-Regular, Menlo, Consolas, monospace; white-space: pre-wrap; overflow-wrap: anywhere; margin: 0; color: var(--ink); }
.t { background: var(--given); padding: .12em .05em; box-shadow: -1px 0 0 var(--paper), inset 1px 0 0 var(--line); border-radius: 2px; }
.trained { background: var(--trained); color: var(--trained-ink); border-bottom: 2px solid currentColor; }
.end { background: var(--end); color: var(--end-ink); outline: 2px solid currentColor; outline-offset: -2px; }
.truncated { background: var(--gone); color: var(--gone-ink); text-decoration: line-through; }
.special { font-style: italic; }
.prompt.special { color: var(--special); }
.legend { display: flex; flex-wrap: wrap; gap: .5rem 1.2rem; list-style: none; margin: 1rem 0 0; padding: 0; font-size: .93rem; color: var(--soft); }
.legend .t { padding: .1em .4em; }
.problem { color: var(--bad); }
#ids:checked ~ main .t::after { content: attr(data-id); font-size: .62em; vertical-align: super; opacity: .75; margin-left: .15em; text-decoration: none; display: inline-block; }
#ids { accent-color: var(--good); }
`;

const legend: readonly (readonly [mask: string, says: string])[] = [
  ["prompt", "given, not learned"],
  ["trained", "learned"],
  ["end", "end token, learned: it teaches to stop"],
  ["truncated", "removed by truncation"],
];

export function inspectPage({ name, facts, rows }: InspectPage): string {
  const items = facts.map(([label, value]) => `<li><b>${escape(value)}</b> ${escape(label)}</li>`).join("");
  const key = legend
    .map(([mask, says]) => `<li><span class="t ${mask}">${mask}</span> ${escape(says)}</li>`)
    .join("");
  return htmlPage({
    title: `prefopt: what is trained on in ${name}`,
    style,
    body: [
      `<h1>What is trained on</h1>`,
      `<ul class="facts"><li><b>${escape(name)}</b></li>${items}</ul>`,
      `<ul class="legend">${key}</ul>`,
      `<input type="checkbox" id="ids"> <label for="ids">show token ids</label>`,
      `<main>${rows.map(section).join("\n")}</main>`,
    ].join("\n"),
  });
}

function section(row: ShownRow | ShownProblem): string {
  const at = escape(showSource(row.source));
  if ("problem" in row)
    return `<section class="row" aria-label="${at}"><h2>${at}</h2><p class="problem">${escape(row.problem)}</p></section>`;
  const counts = countsOf(row);
  const numbers = Object.entries(row.fields).map(([name, value]) => `${name} ${value}`);
  const about = [
    row.kind,
    `${counts.prompt} given`,
    `${counts.trained + counts.end} learned`,
    ...(counts.truncated > 0 ? [`${counts.truncated} truncated`] : []),
    ...numbers,
  ].join(" · ");
  const trees = row.trees.map(
    ({ prompt, branches }) =>
      `<h3>prompt</h3><p class="tokens">${tokens(prompt)}</p>` +
      branches.map((branch) => branch.map(part).join("")).join(""),
  );
  const warning = row.warning === undefined ? "" : `<p class="problem">${escape(row.warning)}</p>`;
  return `<section class="row" aria-label="${at}"><h2>${at}</h2><p>${escape(about)}</p>${warning}${trees.join("\n")}</section>`;
}

const part = ({ role, tokens: list }: ShownPart) =>
  `<h3>${escape(role)}</h3><p class="tokens">${tokens(list)}</p>`;

function tokens(list: readonly ShownToken[]): string {
  return list
    .map(({ id, text, mask, special }) => {
      const classes = ["t", mask, ...(special ? ["special"] : [])].join(" ");
      return `<span class="${classes}" data-id="${id}" title="${mask}, id ${id}">${visible(text ?? String(id))}</span>`;
    })
    .join("");
}

/** Line breaks are seen and break the line. */
const visible = (text: string) =>
  escape(text).replaceAll("\r", "␍").replaceAll("\t", "→\t").replaceAll("\n", "↵\n");
