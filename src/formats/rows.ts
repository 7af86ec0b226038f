/**
 * Files of rows: one table of formats, by the end of the name. A row is any JSON value when read and an object when written;
 * a format added here is read and written wherever data files are. Libraries are loaded by the first file that needs them.
 */
import { RequestError, nearest } from "../errors.ts";
import { baseName, writeFileAtomic } from "./files.ts";
import { contentChunks, packedChunks } from "./gzip.ts";
import { jsonListText, readJsonList } from "./json-list.ts";
import { type JsonLine, jsonlText, readJsonlStream } from "./jsonl.ts";

export type Row = Readonly<Record<string, unknown>>;

/** Rows to write: a list, a stream, or a function that begins the stream anew (then nothing is kept in memory). */
export type RowSource = Iterable<Row> | AsyncIterable<Row> | (() => Iterable<Row> | AsyncIterable<Row>);

export interface RowFormat {
  /** Every cell is text, whatever it stands for. */
  readonly textOnly?: boolean;
  /** Writing walks through the rows twice: first for their columns. */
  readonly twice?: boolean;
  read(path: string): AsyncGenerator<JsonLine>;
  write(path: string, rows: () => Iterable<Row> | AsyncIterable<Row>): AsyncIterable<Uint8Array>;
}

/** Formats by the end of a name; each text format also with .gz behind it. */
const rowFormats: Readonly<Record<string, RowFormat>> = {
  ".jsonl": text(readJsonlStream, (rows, path) => jsonlText(rows(), path)),
  ".ndjson": text(readJsonlStream, (rows, path) => jsonlText(rows(), path)),
  ".json": text(readJsonOrLines, (rows, path) => jsonListText(rows(), path)),
  ".csv": table(","),
  ".tsv": table("\t"),
  ".parquet": { twice: true, read: readParquet, write: writeParquet },
};

/** Ends of names that are files of rows: ".jsonl", ".jsonl.gz", … */
export const rowExtensions: readonly string[] = Object.keys(rowFormats).flatMap((end) =>
  end === ".parquet" ? [end] : [end, `${end}.gz`],
);

/**
 * The rows of a file, with their lines (JSON Lines, tables: where the row begins) or numbers (JSON lists, Parquet), from 1.
 * Memory stays bounded by the longest row, in Parquet by a row group. Throws a RequestError for whatever is wrong with it.
 */
export function readRows(path: string): AsyncGenerator<JsonLine> {
  return rowFormatOf(path).read(path);
}

/**
 * Writes rows into a file, whole or not at all. `atEnd` is told how many bytes it has before it appears, and may throw. Throws
 * where a value does not fit the format.
 */
export async function writeRows(
  path: string,
  rows: RowSource,
  atEnd?: (bytes: number) => void,
): Promise<void> {
  const format = rowFormatOf(path);
  const chunks = packedChunks(path, format.write(path, await walkable(rows, format.twice)));
  await writeFileAtomic(path, atEnd ? counted(chunks, atEnd) : chunks);
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  atEnd: (bytes: number) => void,
): AsyncGenerator<Uint8Array> {
  let bytes = 0;
  for await (const chunk of chunks) {
    bytes += chunk.length;
    yield chunk;
  }
  atEnd(bytes);
}

/** The format of a file, by the end of its name. Names without an end are JSON Lines; unknown ends throw. */
export function rowFormatOf(path: string): RowFormat {
  const name = baseName(path).toLowerCase();
  const end = /\.[^.]*$/.exec(name.replace(/\.gz$/, ""))?.[0] ?? ".jsonl";
  const format = Object.hasOwn(rowFormats, end) ? rowFormats[end] : undefined;
  const packed = name.endsWith(".gz");
  if (format && !(packed && end === ".parquet")) return format;
  const guess = nearest(end, Object.keys(rowFormats));
  throw new RequestError({
    code: "unknown-format",
    what: `files that end in ${end}${packed ? ".gz" : ""} are not data files`,
    where: path,
    why: `these are: ${Object.keys(rowFormats).join(", ")}, and with .gz those of text`,
    fix: guess && !packed ? `Did you mean ${guess}?` : "Convert the file to one of them",
  });
}

/** Whether a file holds one JSON value a line, gzip'ed or not. */
export const isJsonLines = (path: string): boolean =>
  [rowFormats[".jsonl"], rowFormats[".ndjson"]].includes(rowFormatOf(path));

/** A format of text, gzip'ed or not. */
function text(
  read: (chunks: AsyncIterable<Uint8Array>, name: string) => AsyncGenerator<JsonLine>,
  write: (rows: () => Iterable<Row> | AsyncIterable<Row>, path: string) => AsyncIterable<string>,
): RowFormat {
  return {
    read: (path) => read(contentChunks(path), path),
    write: (path, rows) => bytesOf(write(rows, path)),
  };
}

function table(delimiter: "," | "\t"): RowFormat {
  const format = text(
    async function* (chunks, name) {
      const { readCsv } = await import("./csv.ts");
      yield* readCsv(chunks, name, delimiter);
    },
    async function* (rows, path) {
      const { csvText } = await import("./csv.ts");
      const columns = new Set<string>();
      for await (const row of rows()) for (const key of Object.keys(row)) columns.add(key);
      yield* csvText(rows(), [...columns], path, delimiter);
    },
  );
  return { ...format, textOnly: true, twice: true };
}

async function* readParquet(path: string): AsyncGenerator<JsonLine> {
  const parquet = await import("./parquet-read.ts");
  yield* parquet.readParquet(path);
}

async function* writeParquet(
  path: string,
  rows: () => Iterable<Row> | AsyncIterable<Row>,
): AsyncGenerator<Uint8Array> {
  const [{ ShapeFinder }, { parquetBytes }] = await Promise.all([
    import("./parquet-schema.ts"),
    import("./parquet-write.ts"),
  ]);
  const finder = new ShapeFinder(path);
  for await (const row of rows()) finder.add(row);
  yield* parquetBytes(rows(), finder.columns, finder.schema());
}

/** A .json file is one list, or an object with one; many files of that name hold one object a line, and are read so. */
async function* readJsonOrLines(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<JsonLine> {
  const source = chunks[Symbol.asyncIterator]();
  const first = await source.next();
  const all = async function* () {
    if (first.done) return;
    yield first.value;
    yield* { [Symbol.asyncIterator]: () => source };
  };
  const lines = first.done ? false : holdsLines(new TextDecoder().decode(first.value));
  yield* lines ? readJsonlStream(all(), name) : readJsonList(all(), name);
}

/** Whether a text begins with an object on a line of its own, and goes on with another. */
function holdsLines(start: string): boolean {
  const [line, ...rest] = start.trimStart().split("\n");
  if (!line.startsWith("{") || !rest.some((l) => l.trimStart().startsWith("{"))) return false;
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}

async function* bytesOf(texts: AsyncIterable<string>): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let gathered = "";
  for await (const piece of texts) {
    gathered += piece;
    if (gathered.length < 1 << 16) continue;
    yield encoder.encode(gathered);
    gathered = "";
  }
  yield encoder.encode(gathered);
}

/** Rows as a function that begins them; a stream that is walked through twice is kept in memory for it. */
async function walkable(rows: RowSource, twice = false): Promise<() => Iterable<Row> | AsyncIterable<Row>> {
  if (typeof rows === "function") return rows;
  if (!twice || Array.isArray(rows)) return () => rows;
  const kept: Row[] = [];
  for await (const row of rows) kept.push(row);
  return () => kept;
}
