/**
 * Rows of files into another file, chosen by place. Lines of JSON go over to the letter, whatever their numbers and spaces; rows of other
 * kinds of files by their values.
 */
import { RequestError } from "../errors.ts";
import { exists, writeFileAtomic } from "./files.ts";
import { contentChunks, packedChunks } from "./gzip.ts";
import { type Row, isJsonLines, readRows, rowFormatOf, writeRows } from "./rows.ts";
import { linesOf, textOf } from "./text-lines.ts";

export interface RowPlaces {
  readonly path: string;
  /** Lines, or numbers of rows, as `readRows` counts them. */
  readonly lines: ReadonlySet<number>;
}

export interface CopyOptions {
  /** Overwrites a file that is there. */
  readonly force?: boolean;
  readonly signal?: AbortSignal;
}

/** Throws a RequestError where rows of these files cannot go into that one: it is there already, or holds them otherwise. */
export async function checkCopy(
  paths: readonly string[],
  out: string,
  { force }: CopyOptions = {},
): Promise<void> {
  const { textOnly = false } = rowFormatOf(out);
  const other = paths.find((path) => (rowFormatOf(path).textOnly ?? false) !== textOnly);
  if (other !== undefined) {
    throw new RequestError({
      code: "other-kind-of-file",
      what: "cannot take the rows as they are",
      where: out,
      why: `cells of a table are all text, and of it and ${other} one is a table`,
      fix: "Name a file of the same kind as the data, or convert it with prefopt data convert",
    });
  }
  if (!force && (await exists(out))) {
    throw new RequestError({
      code: "file-exists",
      what: "the file is there already",
      where: out,
      why: "nothing is overwritten",
      fix: "Choose another name for --out, or give --force",
    });
  }
}

/** Writes the chosen rows in their order. The file appears whole or not at all. Returns how many they are. */
export async function copyRows(
  from: readonly RowPlaces[],
  out: string,
  options: CopyOptions = {},
): Promise<number> {
  await checkCopy(
    from.map(({ path }) => path),
    out,
    options,
  );
  const count = from.reduce((n, { lines }) => n + lines.size, 0);
  if ([out, ...from.map(({ path }) => path)].every(isJsonLines))
    await writeFileAtomic(out, packedChunks(out, chosenLines(from, options.signal)));
  else await writeRows(out, () => chosenRows(from, options.signal));
  return count;
}

async function* chosenLines(
  from: readonly RowPlaces[],
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  for (const { path, lines } of from) {
    let line = 0;
    for await (const text of linesOf(textOf(contentChunks(path), path), path)) {
      signal?.throwIfAborted();
      if (lines.has(++line)) yield encoder.encode(`${text}\n`);
    }
  }
}

async function* chosenRows(from: readonly RowPlaces[], signal: AbortSignal | undefined): AsyncGenerator<Row> {
  for (const { path, lines } of from)
    for await (const { line, value } of readRows(path)) {
      signal?.throwIfAborted();
      // Rows that were scored are objects.
      if (lines.has(line)) yield value as Row;
    }
}
