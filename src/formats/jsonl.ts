/** JSON Lines: one JSON value a line. Errors name file and line. */
import { RequestError } from "../errors.ts";
import { appendText, exists, fileChunks, readText, writeFileAtomic } from "./files.ts";

export interface JsonLine {
  /** Counted from 1, blank lines included. */
  readonly line: number;
  readonly value: unknown;
}

/** The values of a file. A byte-order mark, CRLF and blank lines are tolerated; an empty file is an error. */
export function readJsonl(path: string): AsyncGenerator<JsonLine> {
  return readJsonlStream(fileChunks(path), path);
}

/** The values of a stream of bytes; `name` stands for the file in errors. */
export async function* readJsonlStream(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
): AsyncGenerator<JsonLine> {
  let line = 0;
  let found = false;
  for await (const text of lines(chunks)) {
    line++;
    const trimmed = (line === 1 ? text.replace(/^\uFEFF/, "") : text).trim();
    if (trimmed === "") continue;
    found = true;
    yield { line, value: parseLine(trimmed, `${name}:${line}`) };
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

async function* lines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of chunks) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = parts.pop() ?? "";
    yield* parts;
  }
  rest += decoder.decode();
  if (rest !== "") yield rest;
}

function parseLine(text: string, where: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const excerpt = text.length > 60 ? `${text.slice(0, 60)}…` : text;
    throw new RequestError(
      {
        code: "not-json",
        what: "is not valid JSON",
        where,
        why: `${(cause as Error).message} in: ${excerpt}`,
        fix: "Correct the line or remove it",
      },
      { cause },
    );
  }
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
