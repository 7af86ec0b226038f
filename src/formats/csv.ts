/**
 * Comma- or tab-separated tables with a header, over `csv-parse`. Every cell is text: a table does not say what is a number.
 * Quotes, line breaks in quotes, LF, CRLF and a byte-order mark are read; a row of another length is an error with its line.
 */
import { Readable, pipeline } from "node:stream";
import { type CsvError, parse } from "csv-parse";
import { RequestError } from "../errors.ts";
import type { JsonLine } from "./jsonl.ts";
import { toJson } from "./parse-json.ts";
import { longestText, textOf } from "./text-lines.ts";

/** The rows of a table, each an object of its cells; `line` is where the row begins. Throws a RequestError that names the line. */
export async function* readCsv(
  chunks: AsyncIterable<Uint8Array>,
  name: string,
  delimiter: "," | "\t",
): AsyncGenerator<JsonLine> {
  // Where rows end and begin, as they are parsed: ahead of those that the loop below has seen.
  let last = 0;
  let pairs = 0; // CRLF in cells, which the library counts as two lines
  const begins: number[] = [];
  const onRecord = (record: string[], { lines }: { readonly lines: number }) => {
    pairs += record.reduce((n, cell) => n + (cell.match(/\r\n/g)?.length ?? 0), 0);
    last = lines - pairs;
    begins.push(last - record.reduce((n, cell) => n + lineBreaks(cell), 0));
    return record;
  };
  const parser = parse({
    delimiter,
    on_record: onRecord,
    record_delimiter: ["\r\n", "\n", "\r"],
    relax_column_count: true, // counted below, where the header's names can be said
    skip_empty_lines: true,
    max_record_size: longestText,
  });
  pipeline(Readable.from(textOf(chunks, name)), parser, () => undefined);
  let header: readonly string[] | undefined;
  let rows = 0;
  try {
    for await (const record of parser as AsyncIterable<string[]>) {
      const line = begins.shift() ?? 0;
      if (!header) header = checkHeader(record, `${name}:${line}`, delimiter);
      else {
        if (record.length !== header.length) throw ragged(record, header, `${name}:${line}`);
        rows++;
        yield { line, value: Object.fromEntries(header.map((key, i) => [key, record[i]])) };
      }
    }
  } catch (cause) {
    throw cause instanceof RequestError ? cause : broken(cause as CsvError, name, last);
  }
  if (rows > 0) return;
  throw new RequestError({
    code: "empty-file",
    what: header ? "has a header and no rows" : "is empty",
    where: name,
    fix: "Give a line of names and one row a record",
  });
}

/**
 * A table as a stream of text, its columns in the given order. Lists and objects are written as JSON; what is absent, null
 * or undefined as an empty cell.
 */
export async function* csvText(
  rows: AsyncIterable<Readonly<Record<string, unknown>>> | Iterable<Readonly<Record<string, unknown>>>,
  columns: readonly string[],
  name: string,
  delimiter: "," | "\t",
): AsyncGenerator<string> {
  const quoted = (text: string) =>
    (text === "" && columns.length === 1) || /["\r\n]|^\s|\s$/.test(text) || text.includes(delimiter)
      ? `"${text.replaceAll('"', '""')}"`
      : text;
  const line = (cells: readonly string[]) => `${cells.map(quoted).join(delimiter)}\n`;
  yield line(columns);
  let count = 0;
  for await (const row of rows) {
    count++;
    yield line(columns.map((key) => cellOf(row[key], `${name}, row ${count}`)));
  }
}

function cellOf(value: unknown, where: string): string {
  if (value === null || value === undefined) return "";
  return typeof value === "string" ? value : toJson(value, where);
}

const lineBreaks = (cell: string): number => cell.match(/\r\n|\n|\r/g)?.length ?? 0;

function checkHeader(header: readonly string[], where: string, delimiter: string): readonly string[] {
  const fail = (what: string, why?: string) =>
    new RequestError({ code: "csv-header", what, where, why, fix: "Begin the file with a line of names" });
  const empty = header.findIndex((key) => key.trim() === "");
  if (empty >= 0) throw fail(`column ${empty + 1} has no name`);
  const twice = header.find((key, i) => header.indexOf(key) !== i);
  if (twice !== undefined) throw fail(`two columns are named "${twice}"`);
  const other = header.length === 1 && [";", "\t", ","].find((d) => d !== delimiter && header[0].includes(d));
  if (other) {
    const names: Readonly<Record<string, string>> = { ";": "semicolons", "\t": "tabs", ",": "commas" };
    throw fail(
      `its header is one column, "${header[0]}"`,
      `it seems to be separated by ${names[other]}; .csv means commas and .tsv tabs`,
    );
  }
  return header;
}

function ragged(record: readonly string[], header: readonly string[], where: string): RequestError {
  return new RequestError({
    code: "csv-row",
    what: `the row has ${record.length} cells`,
    where,
    why: `the header has ${header.length}: ${header.slice(0, 8).join(", ")}`,
    fix: "Quote cells that hold a separator or a line break",
  });
}

/** What csv-parse found, in words. */
const reasons: Readonly<Record<string, string>> = {
  CSV_QUOTE_NOT_CLOSED: "a quote is never closed",
  INVALID_OPENING_QUOTE: "there is a quote inside of a cell that does not begin with one",
  CSV_INVALID_CLOSING_QUOTE: "there is text after a closing quote",
  CSV_MAX_RECORD_SIZE: `a row has more than ${longestText} characters`,
};

/** `last`: the line that the last good row ends on. */
function broken(cause: CsvError, name: string, last: number): RequestError {
  return new RequestError(
    {
      code: "csv-invalid",
      what: "is not a valid table",
      where: `${name}:${last + 1}`,
      why: reasons[cause.code] ?? cause.message,
      fix: 'Put cells with quotes in quotes, and double the quotes inside: "a ""word"""',
    },
    { cause },
  );
}
