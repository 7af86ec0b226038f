/**
 * Parquet files row by row, over `hyparquet`: one row group and of it one column at a time is read from the file, checked
 * (parquet-pages.ts) and decoded. A null is how Parquet writes an absent field, so null fields of rows and structs are left
 * out. Integers become numbers, dates ISO texts, binary columns Uint8Arrays.
 */
import {
  type ColumnMetaData,
  type FileMetaData,
  type SchemaTree,
  parquetMetadata,
  parquetScan,
  parquetSchema,
} from "hyparquet";
import { RequestError } from "../errors.ts";
import { fileSize, readRange } from "./files.ts";
import type { JsonLine } from "./jsonl.ts";
import { unpackChunk } from "./parquet-pages.ts";
import { parseJson } from "./parse-json.ts";
import { readThrift } from "./thrift.ts";

/** Most bytes of a footer; one of a thousand columns in a thousand row groups has about a hundred million. */
const mostFooter = 2 ** 27;
/** Groups within groups that a schema may have. */
const deepestSchema = 24;
/** Most decoded values of a row group beyond those that its bytes can hold: columns of nulls and constants take none. */
const mostCells = (bytes: number) => 2 ** 24 + 64 * bytes;

/** The rows of a file, numbered from 1. Throws a RequestError where the file is broken or holds what is not supported. */
export async function* readParquet(path: string): AsyncGenerator<JsonLine> {
  const size = await fileSize(path);
  const metadata = await readFooter(path, size);
  const tree = checked(path, () => checkedSchema(metadata));
  const leaves = leavesOf(tree);
  checked(path, () => checkGroups(metadata, leaves, size));
  let line = 0;
  for (const group of metadata.row_groups) {
    const rows = Number(group.num_rows);
    const columns: { name: string; data: ArrayLike<unknown> }[] = [];
    for (const { element } of tree.children) {
      const own = group.columns.map((c) => c.meta_data).filter((c) => c?.path_in_schema[0] === element.name);
      const data = await readColumn(path, metadata, leaves, own as ColumnMetaData[], element.name, rows);
      columns.push({ name: element.name, data });
    }
    for (let i = 0; i < rows; i++) {
      line++;
      const value: Record<string, unknown> = {};
      for (const { name, data } of columns) {
        const cell = plain(data[i], `${path}, row ${line}, column ${name}`);
        if (cell !== null) value[name] = cell;
      }
      yield { line, value };
    }
  }
  if (line === 0) throw new RequestError({ code: "empty-file", what: "has no rows", where: path });
}

async function readFooter(path: string, size: number): Promise<FileMetaData> {
  const magic = async (at: number) => Buffer.from(await readRange(path, at, at + 4)).toString("latin1");
  if (size < 12 || (await magic(0)) !== "PAR1") throw broken(path, "it does not begin with PAR1");
  const end = await magic(size - 4);
  if (end === "PARE") throw broken(path, "it is encrypted");
  if (end !== "PAR1") throw broken(path, "it does not end with PAR1, so it was cut short");
  const length = new DataView((await readRange(path, size - 8, size - 4)).buffer).getUint32(0, true);
  if (length > size - 12) throw broken(path, `its footer claims ${length} bytes of ${size}`);
  if (length > mostFooter)
    throw broken(path, `its footer has ${length} bytes; at most ${mostFooter} are read`);
  const footer = await readRange(path, size - 8 - length, size);
  return checked(path, () => {
    readThrift(footer, 0, length); // lengths and nesting, before the library follows them
    return parquetMetadata(footer, { geoparquet: false });
  });
}

/** The schema as a tree, after its numbers of children have been counted out. */
function checkedSchema(metadata: FileMetaData): SchemaTree {
  const { schema } = metadata;
  let next = 1;
  const children = (count: number, depth: number): void => {
    if (depth > deepestSchema) throw new Error(`a schema of more than ${deepestSchema} levels`);
    const names = new Set<string>();
    for (let i = 0; i < count; i++) {
      const element = schema.at(next++);
      if (!element) throw new Error("a schema with fewer fields than it says");
      const { name, num_children: inner = 0, type } = element;
      if (typeof name !== "string" || name === "__proto__") throw new Error(`a column named ${String(name)}`);
      if (names.has(name)) throw new Error(`two columns named "${name}"`);
      if (inner === 0 && !type) throw new Error(`column "${name}" has neither type nor fields`);
      names.add(name);
      children(inner, depth + 1);
    }
  };
  const count = schema.at(0)?.num_children ?? 0;
  if (count === 0) throw new Error("a schema without columns");
  children(count, 0);
  if (next !== schema.length) throw new Error("a schema with more fields than it says");
  schema[0].repetition_type = undefined; // means nothing there; some writers set it
  return parquetSchema(metadata);
}

interface Leaf {
  readonly path: string;
  readonly element: SchemaTree["element"];
  readonly maxDefinition: number;
  readonly maxRepetition: number;
}

function leavesOf(node: SchemaTree, maxDefinition = 0, maxRepetition = 0): Leaf[] {
  return node.children.flatMap((child) => {
    const { repetition_type: repetition = "REQUIRED" } = child.element;
    const definition = maxDefinition + Number(repetition !== "REQUIRED");
    const repeated = maxRepetition + Number(repetition === "REPEATED");
    if (child.children.length > 0) return leavesOf(child, definition, repeated);
    const path = child.path.join(".");
    return [{ path, element: child.element, maxDefinition: definition, maxRepetition: repeated }];
  });
}

/** Numbers of rows, columns and bytes of the row groups, against each other and against the file. */
function checkGroups(metadata: FileMetaData, leaves: readonly Leaf[], size: number): void {
  let [rows, bytes] = [0, 0];
  for (const group of metadata.row_groups) {
    if (group.columns.length !== leaves.length)
      throw new Error(`a row group of ${group.columns.length} columns; the schema has ${leaves.length}`);
    let groupBytes = 0;
    for (const [i, column] of group.columns.entries()) {
      const meta = column.meta_data;
      if (column.file_path) throw new Error("columns in other files");
      if (!meta || column.crypto_metadata) throw new Error("encrypted columns");
      if (meta.path_in_schema.join(".") !== leaves[i].path)
        throw new Error(`column ${meta.path_in_schema.join(".")} where ${leaves[i].path} should be`);
      if (meta.type !== leaves[i].element.type) throw new Error(`column ${leaves[i].path} of two types`);
      if (Number(group.num_rows) === 0) continue; // its columns need not be there
      const { start, end } = rangeOf(meta);
      if (!(start >= 4 && end >= start && end <= size - 8))
        throw new Error(`column ${leaves[i].path} at bytes ${start} to ${end} of ${size}`);
      groupBytes += end - start;
    }
    const groupRows = whole(group.num_rows, "number of rows");
    if (groupRows * leaves.length > mostCells(groupBytes))
      throw new Error(`a row group of ${groupRows} rows in ${groupBytes} bytes`);
    rows += groupRows;
    bytes += groupBytes;
  }
  if (rows !== whole(metadata.num_rows, "number of rows"))
    throw new Error("row groups of more or fewer rows than the file says");
  if (bytes > size) throw new Error("columns that overlap");
}

function rangeOf(meta: ColumnMetaData): { start: number; end: number } {
  const data = whole(meta.data_page_offset, "page offset");
  const dictionary = meta.dictionary_page_offset ? whole(meta.dictionary_page_offset, "page offset") : data;
  const start = Math.min(data, dictionary);
  return { start, end: start + whole(meta.total_compressed_size, "size") };
}

/** The values of a column in one row group: a list as long as the group has rows. */
async function readColumn(
  path: string,
  metadata: FileMetaData,
  leaves: readonly Leaf[],
  chunks: readonly ColumnMetaData[],
  name: string,
  rows: number,
): Promise<ArrayLike<unknown>> {
  if (rows === 0) return [];
  const where = `${path}, column ${name}`;
  const parts: Uint8Array[] = [];
  const columns: { meta_data: ColumnMetaData }[] = [];
  let at = 4; // offset 0 would mean that there is none
  for (const meta of chunks) {
    const leaf = leaves.find((l) => l.path === meta.path_in_schema.join("."));
    const { start, end } = rangeOf(meta);
    const bytes = await readRange(path, start, end);
    const chunk = checked(where, () => {
      const unpacked = unpackChunk(bytes, {
        type: meta.type,
        typeLength: leaf?.element.type_length ?? 0,
        codec: meta.codec,
        maxDefinition: leaf?.maxDefinition ?? 0,
        maxRepetition: leaf?.maxRepetition ?? 0,
        values: whole(meta.num_values, "number of values"),
      });
      if (unpacked.rows !== rows) throw new Error(`${unpacked.rows} rows where ${rows} should be`);
      return unpacked;
    });
    parts.push(chunk.bytes);
    columns.push({
      meta_data: {
        ...meta,
        codec: "UNCOMPRESSED",
        dictionary_page_offset: chunk.dataOffset > 0 ? BigInt(at) : undefined,
        data_page_offset: BigInt(at + chunk.dataOffset),
        total_compressed_size: BigInt(chunk.bytes.length),
        statistics: undefined,
      },
    });
    at += chunk.bytes.length;
  }
  try {
    const scan = await parquetScan({
      file: memoryFile(parts),
      metadata: {
        ...metadata,
        num_rows: BigInt(rows),
        row_groups: [
          { columns, num_rows: BigInt(rows), total_byte_size: BigInt(at) },
        ] as FileMetaData["row_groups"],
      },
      columns: [name],
      utf8: false,
      useOffsetIndex: false,
      parsers,
    });
    const data = await scan.readColumn({ column: name, rowStart: 0, rowEnd: rows });
    if (data.length !== rows) throw new Error(`${data.length} values where ${rows} should be`);
    return data;
  } catch (cause) {
    throw notParquet(where, cause);
  }
}

/** Bytes in memory as the library reads files: four unused ones, then the parts. */
function memoryFile(parts: readonly Uint8Array[]) {
  const whole = new Uint8Array(parts.reduce((n, part) => n + part.length, 4));
  let at = 4;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return {
    byteLength: whole.length,
    slice: (start: number, end?: number): ArrayBuffer => whole.buffer.slice(start, end),
  };
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
const textOf = (bytes: Uint8Array): string => {
  try {
    return strict.decode(bytes);
  } catch {
    throw new Error("a text that is not UTF-8");
  }
};
const timeOf = (milliseconds: number) => new Date(milliseconds).toISOString();

/** What values become that the library would make objects of. */
const parsers = {
  stringFromBytes: (bytes: Uint8Array | undefined) => bytes && textOf(bytes),
  jsonFromBytes: (bytes: Uint8Array | undefined) => bytes && parseJson(textOf(bytes), "a JSON column"),
  timestampFromMilliseconds: (n: bigint) => timeOf(Number(n)),
  timestampFromMicroseconds: (n: bigint) => timeOf(Number(n / 1000n)),
  timestampFromNanoseconds: (n: bigint) => timeOf(Number(n / 1_000_000n)),
  dateFromDays: (days: number) => timeOf(days * 86_400_000).slice(0, 10),
};

/** A decoded value as JSON has it; bytes stay bytes. */
function plain(value: unknown, where: string): unknown {
  if (value === undefined || value === null) return null;
  if (typeof value === "bigint") {
    if (Number.isSafeInteger(Number(value))) return Number(value);
    throw new RequestError({
      code: "integer-too-large",
      what: `integer ${value} cannot be kept exactly`,
      where,
      why: "numbers are exact up to 2^53 only",
      fix: "Write the column as text",
    });
  }
  if (typeof value !== "object") return value;
  if (value instanceof Uint8Array) return value.slice();
  if (ArrayBuffer.isView(value))
    return Array.from(value as unknown as ArrayLike<unknown>, (v) => plain(v, where));
  if (Array.isArray(value)) return value.map((v) => plain(v, where));
  const out: Record<string, unknown> = {};
  for (const [key, inner] of Object.entries(value)) {
    const given = plain(inner, where);
    if (given !== null) out[key] = given;
  }
  return out;
}

function whole(value: bigint | number | undefined, what: string): number {
  const n = Number(value);
  if (value === undefined || !Number.isSafeInteger(n) || n < 0) throw new Error(`no valid ${what}`);
  return n;
}

/** Runs what may throw anything at all on broken bytes. */
function checked<T>(where: string, work: () => T): T {
  try {
    return work();
  } catch (cause) {
    throw notParquet(where, cause);
  }
}

/** What the library or a check raised, as an error for people; a TypeError of the library says that a part was not there. */
function notParquet(where: string, cause: unknown): RequestError {
  if (cause instanceof RequestError) return cause;
  const why = cause instanceof TypeError ? "its parts do not fit together" : (cause as Error).message;
  return broken(where, why, cause);
}

function broken(where: string, why: string, cause?: unknown): RequestError {
  return new RequestError(
    {
      code: "parquet-invalid",
      what: "is not a Parquet file that can be read",
      where,
      why,
      fix: "Copy, download or write it again",
    },
    { cause },
  );
}
