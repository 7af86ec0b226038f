/** What commands print: results on stdout, everything else on stderr, colours only where a person looks. */
import { stripVTControlCharacters, styleText } from "node:util";

type Style = Parameters<typeof styleText>[0];

/** Styles a text for a stream that shows colours. */
export function styled(style: Style, text: string, stream: NodeJS.WriteStream = process.stdout): string {
  const wanted = stream.isTTY && !process.env.NO_COLOR;
  return wanted ? styleText(style, text) : text;
}

/** One line of JSON, the last on stdout. Waits until it is written. */
export function printJson(value: unknown): Promise<void> {
  return print(`${JSON.stringify(value)}\n`);
}

/** Text on stdout, waiting for readers that are slower. */
export function print(text: string): Promise<void> {
  return written(process.stdout, text);
}

/** Resolves when all that was printed so far has left the process. */
export async function flush(): Promise<void> {
  await written(process.stdout, "");
  await written(process.stderr, "");
}

function written(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((resolve) => stream.write(text, () => resolve()));
}

/** Columns that a table or a line may take: a terminal's width, any where nobody looks. */
export const terminalWidth = () => (process.stdout.isTTY ? (process.stdout.columns ?? 80) : Infinity);

/** The last column is not squeezed below this many characters. */
const leastWidth = 20;

/**
 * Columns padded to their widest cell, those in `right` aligned to the right. Where a row is wider than `width`, the last
 * column goes on in further lines under itself; nothing is cut off.
 */
export function table(
  rows: readonly (readonly string[])[],
  right: readonly number[] = [],
  width = terminalWidth(),
): string {
  const columns = Math.max(0, ...rows.map((row) => row.length));
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...rows.map((r) => visible(r[c] ?? ""))));
  const last = columns - 1;
  const indent = widths.slice(0, last).reduce((sum, w) => sum + w + 2, 0);
  const room = Math.max(leastWidth, width - indent);
  const line = (row: readonly string[]) =>
    row
      .map((cell, c) => {
        const padding = " ".repeat(widths[c] - visible(cell));
        if (right.includes(c)) return padding + cell;
        return c === last ? wrapped(cell, room).join(`\n${" ".repeat(indent)}`) : cell + padding;
      })
      .join("  ")
      .trimEnd();
  return rows.map(line).join("\n");
}

/** Characters that a text takes on a terminal, its colours left out. */
const visible = (text: string) => stripVTControlCharacters(text).length;

/** Lines of at most `width` characters, broken between words. */
export function wrapped(text: string, width: number): string[] {
  if (visible(text) <= width) return [text];
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && visible(line) + 1 + visible(word) <= width)
      lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

/** "1 min 20 s" */
export function duration(seconds: number): string {
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  return s < 3600
    ? `${Math.floor(s / 60)} min ${s % 60} s`
    : `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}
