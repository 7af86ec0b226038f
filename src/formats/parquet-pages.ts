/**
 * The pages of a Parquet column chunk, unpacked, checked, and written again as plain pages for the library: what it is
 * handed holds what it says. So a broken page is an error that names its column, and memory follows the bytes of the file.
 * Source: the Apache Parquet format (parquet.thrift, README.md "Data Pages").
 */
import type { CompressionCodec, Encoding } from "hyparquet";
import { Encodings } from "hyparquet/src/constants.js";
import { crc32 } from "node:zlib";
import { unpackPage } from "./parquet-codecs.ts";
import { type ValueKind, checkValues, mostValues, prefixedEnd, readRuns } from "./parquet-encodings.ts";
import { type ThriftFields, type ThriftStruct, type ThriftValue, readThrift, writeThrift } from "./thrift.ts";

export interface ChunkShape extends ValueKind {
  readonly codec: CompressionCodec;
  /** Levels of optional and repeated fields on the way to the column. */
  readonly maxDefinition: number;
  readonly maxRepetition: number;
  /** Values of the chunk, nulls included, as its metadata says. */
  readonly values: number;
}

export interface UnpackedChunk {
  /** Pages without compression. */
  readonly bytes: Uint8Array;
  readonly rows: number;
  /** Where the first page of data begins; 0 without a dictionary. */
  readonly dataOffset: number;
}

/** A page with the header that belongs to it, both plain. */
interface PlainPage {
  readonly header: ThriftFields;
  readonly body: Uint8Array;
  readonly values: number;
  readonly rows: number;
}

const pageTypes = { data: 0, index: 1, dictionary: 2, dataV2: 3 };

/** Fields of the page header (parquet.thrift, PageHeader). */
const field = { type: 1, unpackedSize: 2, packedSize: 3, crc: 4, data: 5, dictionary: 7, dataV2: 8 };

/** Most bytes that a chunk may unfold to: compression of constant columns reaches thousands, of whole files hardly ten. */
const mostUnpacked = (packed: number) => 2 ** 26 + 200 * packed;

/** Unpacks and checks a column chunk. Throws an Error that says what is broken. */
export function unpackChunk(chunk: Uint8Array, shape: ChunkShape): UnpackedChunk {
  const kind: ChunkShape = { ...shape };
  const parts: Uint8Array[] = [];
  let [at, values, rows, unpacked, dataOffset] = [0, 0, 0, 0, 0];
  while (values < shape.values) {
    const { value: header, end } = readThrift(chunk, at, chunk.length);
    const packedSize = count(header.get(field.packedSize), "page size");
    const size = count(header.get(field.unpackedSize), "page size");
    if (packedSize > chunk.length - end)
      throw new Error(`a page of ${packedSize} bytes runs past the chunk's end`);
    unpacked += size;
    if (unpacked > mostUnpacked(chunk.length))
      throw new Error(`${chunk.length} bytes that unfold to ${unpacked}`);
    const packed = chunk.subarray(end, end + packedSize);
    at = end + packedSize;
    checkCrc(packed, header.get(field.crc));
    const page = plainPage(header, packed, size, kind);
    if (!page) continue;
    if (page.values > mostValues(size)) throw new Error(`a page of ${page.values} values in ${size} bytes`);
    if (values === 0 && page.values > 0) dataOffset = parts.reduce((n, part) => n + part.length, 0);
    values += page.values;
    rows += page.rows;
    parts.push(Uint8Array.from(writeThrift(page.header)), page.body);
  }
  if (values > shape.values) throw new Error(`${values} values where ${shape.values} should be`);
  return { bytes: joined(parts), rows, dataOffset };
}

function plainPage(
  header: ThriftStruct,
  packed: Uint8Array,
  size: number,
  kind: ChunkShape,
): PlainPage | undefined {
  const type = header.get(field.type);
  if (type === pageTypes.data)
    return dataPage(struct(header.get(field.data)), unpackPage(packed, size, kind.codec), kind);
  if (type === pageTypes.dataV2) return dataPageV2(struct(header.get(field.dataV2)), packed, size, kind);
  if (type === pageTypes.dictionary)
    return dictionaryPage(struct(header.get(field.dictionary)), unpackPage(packed, size, kind.codec), kind);
  if (type === pageTypes.index) return undefined;
  throw new Error("a page of an unknown kind");
}

/** Fields of DataPageHeader: 1 values, 2 encoding, 3 and 4 encodings of definition and repetition levels. */
function dataPage(header: ThriftStruct, body: Uint8Array, kind: ChunkShape): PlainPage {
  const values = count(header.get(1), "number of values");
  let at = 0;
  let levels = { nulls: 0, rows: values };
  const streams = [kind.maxRepetition, kind.maxDefinition].map((most, i) => {
    if (most === 0) return undefined;
    if (encodingOf(header.get(4 - i)) !== "RLE") throw new Error("levels in the old bit-packed encoding");
    const end = prefixedEnd(body, at);
    const stream = readRuns(body, at + 4, end, bitsOf(most), values).values;
    at = end;
    return stream;
  });
  levels = checkLevels(streams[0], streams[1], values, kind);
  const { encoding, body: checked } = checkedBody(
    encodingOf(header.get(2)),
    body,
    at,
    values - levels.nulls,
    kind,
  );
  const sizes: ThriftFields = [
    [field.type, pageTypes.data],
    [field.unpackedSize, checked.length],
    [field.packedSize, checked.length],
  ];
  const own: ThriftFields = [
    [1, values],
    [2, Encodings.indexOf(encoding)],
    [3, Encodings.indexOf("RLE")],
    [4, Encodings.indexOf("RLE")],
  ];
  return { header: [...sizes, [field.data, own]], body: checked, values, rows: levels.rows };
}

/** Fields of DataPageHeaderV2: 1 values, 2 nulls, 3 rows, 4 encoding, 5 and 6 bytes of definition and repetition levels, 7 compressed. */
function dataPageV2(header: ThriftStruct, packed: Uint8Array, size: number, kind: ChunkShape): PlainPage {
  const values = count(header.get(1), "number of values");
  const definitionBytes = count(header.get(5), "length of levels");
  const repetitionBytes = count(header.get(6), "length of levels");
  const levelBytes = definitionBytes + repetitionBytes;
  if (levelBytes > packed.length || levelBytes > size) throw new Error("levels run past the page's end");
  const runs = (at: number, length: number, most: number) =>
    most === 0 ? undefined : readRuns(packed, at, at + length, bitsOf(most), values).values;
  const levels = checkLevels(
    runs(0, repetitionBytes, kind.maxRepetition),
    runs(repetitionBytes, definitionBytes, kind.maxDefinition),
    values,
    kind,
  );
  const nulls = count(header.get(2), "number of nulls");
  const rows = count(header.get(3), "number of rows");
  if (nulls !== levels.nulls) throw new Error(`${nulls} nulls said, ${levels.nulls} found`);
  if (rows !== levels.rows) throw new Error(`${rows} rows said, ${levels.rows} found`);
  const rest = packed.subarray(levelBytes);
  const unpacked = header.get(7) === false ? rest : unpackPage(rest, size - levelBytes, kind.codec);
  const { encoding, body } = checkedBody(encodingOf(header.get(4)), unpacked, 0, values - nulls, kind);
  const whole = joined([packed.subarray(0, levelBytes), body]);
  const own: ThriftFields = [
    [1, values],
    [2, nulls],
    [3, rows],
    [4, Encodings.indexOf(encoding)],
    [5, definitionBytes],
    [6, repetitionBytes],
    [7, false],
  ];
  return {
    header: [
      [field.type, pageTypes.dataV2],
      [field.unpackedSize, whole.length],
      [field.packedSize, whole.length],
      [field.dataV2, own],
    ],
    body: whole,
    values,
    rows,
  };
}

/** Fields of DictionaryPageHeader: 1 values, 2 encoding. */
function dictionaryPage(header: ThriftStruct, body: Uint8Array, kind: ChunkShape): PlainPage {
  if (kind.dictionarySize !== undefined) throw new Error("two dictionaries");
  const values = count(header.get(1), "number of values");
  checkValues(body, 0, values, "PLAIN", kind);
  kind.dictionarySize = values;
  return {
    header: [
      [field.type, pageTypes.dictionary],
      [field.unpackedSize, body.length],
      [field.packedSize, body.length],
      [
        field.dictionary,
        [
          [1, values],
          [2, Encodings.indexOf("PLAIN")],
        ],
      ],
    ],
    body,
    values: 0,
    rows: 0,
  };
}

/** Checks the values of a page. Where the library reads an empty page or indices without bits wrongly, it is handed another one. */
function checkedBody(
  encoding: Encoding,
  body: Uint8Array,
  at: number,
  values: number,
  kind: ChunkShape,
): { encoding: Encoding; body: Uint8Array } {
  if (values === 0) return { encoding: "PLAIN", body };
  checkValues(body, at, values, encoding, kind);
  if (!encoding.endsWith("_DICTIONARY") || body[at] !== 0) return { encoding, body };
  const run: number[] = [0]; // the width, then one run of `values` zeros that takes no bytes itself
  let head = values * 2;
  for (; head > 127; head = Math.floor(head / 128)) run.push((head % 128) | 128);
  run.push(head);
  return { encoding, body: joined([body.subarray(0, at), Uint8Array.from(run)]) };
}

/** Counts nulls and rows, and throws where a level is higher than the schema has them. */
function checkLevels(
  repetition: Uint32Array | undefined,
  definition: Uint32Array | undefined,
  values: number,
  kind: ChunkShape,
): { nulls: number; rows: number } {
  let nulls = 0;
  for (const level of definition ?? []) {
    if (level > kind.maxDefinition) throw new Error(`definition level ${level} of ${kind.maxDefinition}`);
    if (level < kind.maxDefinition) nulls++;
  }
  if (!repetition) return { nulls, rows: values };
  let rows = 0;
  for (const level of repetition) {
    if (level > kind.maxRepetition) throw new Error(`repetition level ${level} of ${kind.maxRepetition}`);
    if (level === 0) rows++;
  }
  return { nulls, rows };
}

function checkCrc(packed: Uint8Array, crc: ThriftValue | undefined): void {
  if (typeof crc !== "number") return;
  if (crc32(packed) !== crc >>> 0) throw new Error("a page whose checksum is wrong");
}

const bitsOf = (most: number): number => 32 - Math.clz32(most);

function encodingOf(value: ThriftValue | undefined): Encoding {
  const encoding = typeof value === "number" ? Encodings[value] : undefined;
  if (!encoding) throw new Error("an unknown encoding");
  return encoding;
}

function count(value: ThriftValue | undefined, what: string): number {
  if (typeof value === "number" && value >= 0) return value;
  throw new Error(`a page without a ${what}`);
}

function struct(value: ThriftValue | undefined): ThriftStruct {
  if (value instanceof Map) return value as ThriftStruct;
  throw new Error("a page without its header");
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0];
  const out = new Uint8Array(parts.reduce((n, part) => n + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
