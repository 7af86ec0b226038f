/**
 * What of the documentation is written from the code: the README's table of systems, the table of objectives in docs/methods, the facts
 * at the head of each page, and defaults and ranges in its tables of options. `npm run docs:methods` brings files up to date.
 */
import { WorkError } from "../errors.ts";
import { optionFacts } from "../objectives/option-facts.ts";
import { objectives, objectiveNamed } from "../objectives/table.ts";
import { type Table, between, sectionsOf, tableMarkdown, tablesOf } from "./markdown.ts";
import { factsOfObjective } from "./objective-facts.ts";
import { linkOf, objectivePages, pageOfSystem } from "./pages.ts";
import { type MethodEntry, methods } from "./table.ts";

export const markers = {
  methods: ["<!-- methods: written by npm run docs:methods -->", "<!-- end of methods -->"],
  objectives: ["<!-- objectives: written by npm run docs:methods -->", "<!-- end of objectives -->"],
  facts: ["<!-- facts: written by npm run docs:methods -->", "<!-- end of facts -->"],
} as const;

const code = (text: string) => `\`${text}\``;
const arxiv = (paper: string) => `[arXiv:${paper}](https://arxiv.org/abs/${paper})`;

/** The table of systems, one row a system; `docs` is the way to the pages. */
export function methodsMarkdown(docs: string): string {
  return tableMarkdown({
    header: ["id", "system", "objective", "kind", "trains", "status"],
    rows: methods.map(({ id, title, paper, objectives: own, kind, modality, status }) => {
      const page = pageOfSystem(id);
      return [
        page ? `[${code(id)}](${docs}${page}.md)` : code(id),
        `[${title}](https://arxiv.org/abs/${paper})`,
        own.map(code).join(", "),
        kind,
        modality,
        status,
      ];
    }),
  });
}

/** The table of objectives, one row an objective, linked as from docs/methods/. */
export function objectivesMarkdown(
  ids: readonly string[] = Object.keys(objectivePages),
  here?: string,
): string {
  return tableMarkdown({
    header: ["objective", "name", "records", "must come with", "reference?", "source"],
    rows: ids.map((id) => {
      const { aliases, files, fields, reference } = factsOfObjective(objectiveNamed(id));
      const { title, paper } = objectivePages[id];
      const link = linkOf(id);
      const way = here && link.startsWith(`${here}.md`) ? link.slice(here.length + 3) : link;
      const name = way ? `[${code(id)}](${way})` : code(id);
      const also = aliases.length > 0 ? ` (also ${aliases.map(code).join(", ")})` : "";
      return [name + also, title, files, fields, reference, paper ? arxiv(paper) : ""];
    }),
  });
}

/** What is said of a system at the head of its page. */
function systemFacts({ id, paper, year, kind, status, command, objectives: own }: MethodEntry): string {
  const [first = "", ...others] = own;
  const or = others.length > 0 ? ` (or ${others.map(code).join(", ")})` : "";
  const trains = `train with ${code(`objective: ${first}`)}${or}`;
  const now = {
    works: `works: ${code(command ?? `method: ${id}`)}`,
    "objective only": `objective only: ${trains}; ${code(`method: ${id}`)} is not built yet`,
    planned: "planned: nothing of it is built yet",
  }[status];
  return `Paper: ${arxiv(paper)} (${year}). Kind: ${kind}. In prefopt: ${now}.`;
}

/** The facts at the head of a page: its system, and the objectives that it is about. */
export function factsMarkdown(page: string): string {
  const system = methods.find((m) => pageOfSystem(m.id) === page);
  const here = objectives().flatMap(({ id }) =>
    Object.hasOwn(objectivePages, id) && objectivePages[id].page === page ? [id] : [],
  );
  const ids = here.length > 0 ? here : (system?.objectives ?? []);
  const parts = [system && systemFacts(system), ids.length > 0 && objectivesMarkdown(ids, page)];
  return parts.filter(Boolean).join("\n\n");
}

/** A page with its facts and tables of options as the code has them. Throws where there is no place for the facts. */
export function withPageFacts(markdown: string, page: string): string {
  const written = between(markdown, ...markers.facts, factsMarkdown(page));
  if (written === undefined) throw missing(`docs/methods/${page}.md`, markers.facts);
  return withOptions(written, page);
}

/** A table of options in a page, and the objectives whose defaults its columns hold. */
interface OptionTable extends Table {
  readonly from: number;
  readonly to: number;
  /** By column. */
  readonly defaults: ReadonlyMap<number, string>;
}

/** The tables of options of a page: their first column is called "option". */
export function optionTables(markdown: string, page: string): OptionTable[] {
  const lines = markdown.split("\n");
  const ofPage = Object.keys(objectivePages).filter((id) => objectivePages[id].page === page);
  return tablesOf(markdown)
    .filter((t) => t.header[0] === "option")
    .map((table) => {
      const above = lines.slice(0, table.from).join("\n");
      const headings = sectionsOf(above).flatMap(({ title }) => /^`(.+)`$/.exec(title)?.[1] ?? []);
      const usual = headings.at(-1) ?? ofPage[0];
      const named = (name: string) => /^`(.+)`$/.exec(name)?.[1] ?? (name === "default" ? usual : undefined);
      const defaults = table.header.flatMap((name, c): [number, string][] => {
        const id = c === 0 ? undefined : named(name);
        return id === undefined ? [] : [[c, id]];
      });
      return { ...table, defaults: new Map(defaults) };
    });
}

/** A page whose tables of options have the defaults and ranges of the code; names and meanings stay. */
function withOptions(markdown: string, page: string): string {
  const lines = markdown.split("\n");
  for (const table of optionTables(markdown, page).reverse()) {
    const range = table.header.indexOf("range");
    const facts = new Map([...table.defaults].map(([c, id]) => [c, optionFacts(objectiveNamed(id))]));
    const rows = table.rows.map((row) =>
      row.map((cell, c) => {
        const own = [...facts.values()][0]?.find((o) => code(o.name) === row[0]);
        if (c === range) return own?.range ?? cell;
        const column = facts.get(c)?.find((o) => code(o.name) === row[0]);
        return column?.default ?? cell;
      }),
    );
    lines.splice(table.from, table.to - table.from, tableMarkdown({ header: table.header, rows }));
  }
  return lines.join("\n");
}

/** The README with its table brought up to date. Throws where the markers are missing. */
export function withMethodsTable(readme: string): string {
  const written = between(readme, ...markers.methods, methodsMarkdown("docs/methods/"));
  if (written === undefined) throw missing("README.md", markers.methods);
  return written;
}

/** docs/methods/README.md with its tables brought up to date. Throws where the markers are missing. */
export function withObjectivesTable(readme: string): string {
  const where = "docs/methods/README.md";
  const first = between(readme, ...markers.objectives, objectivesMarkdown());
  if (first === undefined) throw missing(where, markers.objectives);
  const written = between(first, ...markers.methods, methodsMarkdown(""));
  if (written === undefined) throw missing(where, markers.methods);
  return written;
}

const missing = (where: string, [begin, end]: readonly [string, string]) =>
  new WorkError({
    code: "markers-missing",
    what: "has no place for what is written from the code",
    where,
    fix: `Add the lines ${begin} and ${end}`,
  });
