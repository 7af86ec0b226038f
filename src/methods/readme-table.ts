/** The README's table of systems, written from the code: `npm run docs:methods` puts it between its two markers. */
import { WorkError } from "../errors.ts";
import { methods } from "./table.ts";

export const markers = {
  begin: "<!-- methods: written by npm run docs:methods -->",
  end: "<!-- end of methods -->",
} as const;

/** The table in Markdown, one row a system, columns padded so that it reads as plain text too. */
export function methodsMarkdown(): string {
  const header = ["id", "system", "kind", "trains", "status"];
  const rows = methods.map(({ id, title, paper, kind, modality, status }) => [
    `\`${id}\``,
    `[${title}](https://arxiv.org/abs/${paper})`,
    kind,
    modality,
    status,
  ]);
  const widths = header.map((name, c) => Math.max(name.length, ...rows.map((row) => row[c].length)));
  const line = (row: readonly string[]) => `| ${row.map((cell, c) => cell.padEnd(widths[c])).join(" | ")} |`;
  return [line(header), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)].join("\n");
}

/** A README with its table brought up to date. Throws where the markers are missing. */
export function withMethodsTable(readme: string): string {
  const begin = readme.indexOf(markers.begin);
  const end = readme.indexOf(markers.end);
  if (begin < 0 || end < begin)
    throw new WorkError({
      code: "markers-missing",
      what: "has no place for the table of methods",
      where: "README.md",
      fix: `Add the lines ${markers.begin} and ${markers.end}`,
    });
  return `${readme.slice(0, begin)}${markers.begin}\n\n${methodsMarkdown()}\n\n${readme.slice(end)}`;
}
