/** JSON Lines: one JSON value a line. Errors name file and line. */
import { RequestError } from "../errors.ts";
import { appendText, exists, readText, writeFileAtomic } from "./files.ts";
import { contentChunks } from "./gzip.ts";
import { parseJson, toJson } from "./parse-json.ts";
import { linesOf, textOf } from "./text-lines.ts";

export interface JsonLine {
  /** Counted from 1, blank lines included; in files that have rows instead of lines, the row. */
  readonly line: number;
  readonly value: unknown;
}

/** The values of a file. A byte-order mark, CRLF and blank lines are tolerated; an empty file is an error. */
export function readJsonl(path: string): AsyncGenerator<JsonLine> {
  return readJsonlStream(contentChunks(path), path);
}

/** The values of a stream of bytes; `name` stands for the file in errors. */
export async function* readJsonlStream(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<JsonLine> {
  let line = 0;
  let found = false;
  for await (const text of linesOf(textOf(chunks, name), name)) {
    line++;
    const trimmed = text.trim();
    if (trimmed === "") continue;
    found = true;
    yield { line, value: parseJson(trimmed, `${name}:${line}`) };
  }
  if (!found) {
    throw new RequestError({
      code: "empty-file",
      what: "is empty",
      where: name,
      fix: "Give one JSON object a line",
    });
  }
}

/** Lines of JSON for rows, as a stream of text. Throws where JSON has no word for a value. */
export async function* jsonlText(
  rows: AsyncIterable<unknown> | Iterable<unknown>,
  name: string,
): AsyncGenerator<string> {
  let line = 0;
  for await (const row of rows) yield `${toJson(row, `${name}:${++line}`)}\n`;
}

/** Appends values to a file, one a line. */
export async function appendJsonl(path: string, ...values: unknown[]): Promise<void> {
  await appendText(path, values.map((v) => `${JSON.stringify(v)}\n`).join(""));
}

/**
 * Cuts a log back to the lines that `keep` accepts, up to the first that it does not; a last line torn by a kill goes too.
 * Returns what was kept.
 */
export async function truncateJsonl(
  path: string,
  keep: (value: Record<string, unknown>) => boolean,
): Promise<Record<string, unknown>[]> {
  if (!(await exists(path))) return [];
  const kept: Record<string, unknown>[] = [];
  for (const line of (await readText(path)).split("\n")) {
    if (line === "") continue;
    let value: Record<string, unknown>;
    try {
      value = JSON.parse(line) as Record<string, unknown>;
    } catch {
      break;
    }
    if (!keep(value)) break;
    kept.push(value);
  }
  await writeFileAtomic(path, kept.map((v) => `${JSON.stringify(v)}\n`).join(""));
  return kept;
}
