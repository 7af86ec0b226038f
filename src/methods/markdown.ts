/** The little of Markdown that pages of methods use: sections, tables, blocks of code. Tables are written as Prettier writes them. */

export interface Section {
  /** 1 for `#`. */
  readonly level: number;
  readonly title: string;
  /** What stands below the heading, up to the next heading of any level. */
  readonly text: string;
}

/** The sections of a page in order; what stands before the first heading is left out. */
export function sectionsOf(markdown: string): Section[] {
  const sections: { level: number; title: string; lines: string[] }[] = [];
  let fenced = false;
  for (const line of markdown.split("\n")) {
    if (line.startsWith("```")) fenced = !fenced;
    const heading = fenced ? null : /^(#+) (.*)$/.exec(line);
    if (heading) sections.push({ level: heading[1].length, title: heading[2], lines: [] });
    else sections.at(-1)?.lines.push(line);
  }
  return sections.map(({ level, title, lines }) => ({ level, title, text: lines.join("\n").trim() }));
}

/** A section with those below it; empty where there is none of that title. */
export function sectionNamed(sections: readonly Section[], title: string): Section[] {
  const first = sections.findIndex((s) => s.title === title);
  if (first < 0) return [];
  const { level } = sections[first];
  const rest = sections.slice(first + 1);
  const end = rest.findIndex((s) => s.level <= level);
  return [sections[first], ...(end < 0 ? rest : rest.slice(0, end))];
}

export interface Table {
  readonly header: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** The tables of a text, each with the lines that it takes. */
export function tablesOf(markdown: string): (Table & { readonly from: number; readonly to: number })[] {
  const lines = markdown.split("\n");
  const isRow = (line: string | undefined) => line?.startsWith("|") ?? false;
  const starts = lines.flatMap((line, i) => (isRow(line) && !isRow(lines[i - 1]) ? [i] : []));
  return starts.map((from) => {
    const count = lines.slice(from).findIndex((line) => !isRow(line));
    const to = count < 0 ? lines.length : from + count;
    const [header, , ...rows] = lines.slice(from, to).map(cellsOf);
    return { header, rows, from, to };
  });
}

const cellsOf = (line: string) =>
  line
    .replace(/^\|/, "")
    .replace(/\|\s*$/, "")
    .split("|")
    .map((cell) => cell.trim());

/** A table with padded columns. */
export function tableMarkdown({ header, rows }: Table): string {
  const widths = header.map((name, c) => Math.max(3, width(name), ...rows.map((row) => width(row[c]))));
  const padded = (cell: string, c: number) => cell + " ".repeat(widths[c] - width(cell));
  const line = (row: readonly string[]) => `| ${row.map(padded).join(" | ")} |`;
  return [line(header), line(widths.map((w) => "-".repeat(w))), ...rows.map(line)].join("\n");
}

/** Characters that a text takes; marks on letters (p̄) take none. */
const width = (text: string) => [...text.replaceAll(/\p{M}/gu, "")].length;

/** The texts of blocks of code in a language. */
export const blocksOf = (markdown: string, language: string): string[] =>
  [...markdown.matchAll(new RegExp(`^\`\`\`${language}\n([\\s\\S]*?)^\`\`\`$`, "gm"))].map((m) => m[1]);

/** A text with what stands between two markers replaced; undefined where the markers are missing. */
export function between(markdown: string, begin: string, end: string, content: string): string | undefined {
  const [from, to] = [markdown.indexOf(begin), markdown.indexOf(end)];
  if (from < 0 || to < from) return undefined;
  return `${markdown.slice(0, from)}${begin}\n\n${content}\n\n${markdown.slice(to)}`;
}
