/** Markdown on a terminal: headings and strong words bold, links as their text, blocks of code set in, tables as they are, text in lines. */
import type { Section } from "../methods/markdown.ts";
import { styled, terminalWidth, wrapped } from "./output.ts";

/** Sections one after the other; the first heading is left to the caller where it is the page's title. */
export function proseLines(sections: readonly Section[]): string {
  return sections
    .map(({ level, title, text }) => [level > 1 ? styled("bold", plain(title)) : "", body(text)])
    .map((parts) => parts.filter(Boolean).join("\n"))
    .filter(Boolean)
    .join("\n\n");
}

function body(text: string): string {
  let fenced = false;
  const lines = text.split("\n").flatMap((line) => {
    if (line.startsWith("```")) {
      fenced = !fenced;
      return [];
    }
    if (fenced) return [`    ${line}`.trimEnd()];
    if (line.startsWith("|")) return [plain(line)];
    const width = Math.min(terminalWidth(), 120);
    if (!line.startsWith("- ")) return wrapped(plain(line), width);
    return wrapped(plain(line.slice(2)), width - 2).map((part, i) => `${i === 0 ? "- " : "  "}${part}`);
  });
  return lines.join("\n");
}

/** A line of text without its marks. */
export const plain = (line: string): string =>
  line
    .replaceAll(/\[([^\]]+)\]\([^)]+\)/g, "$1")
    .replaceAll(/\*\*([^*]+)\*\*/g, (_, strong: string) => styled("bold", strong))
    .replaceAll(/(?<![\w])_([^_]+)_(?![\w])/g, "$1")
    .replaceAll("\\_", "_");
