/**
 * Checks of the values inside a Parquet page before the library decodes them. It trusts lengths, counts and dictionary
 * indices; here each is held against the bytes that are there, so that a broken file ends in an error instead of in wrong
 * values, endless loops or gigabytes. Source: Encodings.md of the Apache Parquet format.
 */
import type { Encoding, ParquetType } from "hyparquet";
import { deltaBinaryUnpack } from "hyparquet/src/delta.js";

/** What the checks know of a column. */
export interface ValueKind {
  readonly type: ParquetType;
  /** Bytes of a value of FIXED_LEN_BYTE_ARRAY. */
  readonly typeLength: number;
  /** Values of the chunk's dictionary, once it has been seen. */
  dictionarySize?: number;
}

/** Throws an Error where `count` values of this encoding do not stand in the bytes from `at` on. */
export function checkValues(
  bytes: Uint8Array,
  at: number,
  count: number,
  encoding: Encoding,
  kind: ValueKind,
): void {
  const check = checks[encoding];
  if (!check) throw new Error(`encoding ${encoding} is not supported`);
  check(bytes, at, count, kind);
}

type Check = (bytes: Uint8Array, at: number, count: number, kind: ValueKind) => void;

const checks: Partial<Record<Encoding, Check>> = {
  PLAIN: checkPlain,
  PLAIN_DICTIONARY: checkIndices,
  RLE_DICTIONARY: checkIndices,
  RLE(bytes, at, count, { type }) {
    if (type !== "BOOLEAN") throw new Error(`encoding RLE of ${type}`);
    readRuns(bytes, at + 4, prefixedEnd(bytes, at), 1, count);
  },
  DELTA_BINARY_PACKED(bytes, at, count, { type }) {
    if (type !== "INT32" && type !== "INT64") throw new Error(`delta encoding of ${type}`);
    checkDeltas(bytes, at, count);
  },
  DELTA_LENGTH_BYTE_ARRAY(bytes, at, count) {
    const lengths = deltaNumbers(bytes, at, count);
    checkTotal(lengths.values, bytes.length - lengths.end);
  },
  DELTA_BYTE_ARRAY(bytes, at, count) {
    const prefixes = deltaNumbers(bytes, at, count);
    const suffixes = deltaNumbers(bytes, prefixes.end, count);
    checkTotal(suffixes.values, bytes.length - suffixes.end);
    let before = 0;
    let total = 0;
    for (let i = 0; i < count; i++) {
      if (prefixes.values[i] < 0 || prefixes.values[i] > before)
        throw new Error("a prefix longer than its value");
      before = prefixes.values[i] + suffixes.values[i];
      total += before;
    }
    // Shared prefixes unfold; a page is meant to be about a megabyte.
    if (total > 2 ** 26 + 200 * bytes.length) throw new Error(`values of ${total} bytes in all`);
  },
  BYTE_STREAM_SPLIT(bytes, at, count, kind) {
    if (kind.type === "BOOLEAN" || kind.type === "BYTE_ARRAY")
      throw new Error(`byte streams of ${kind.type}`);
    checkPlain(bytes, at, count, kind);
  },
};

const widths: Partial<Record<ParquetType, number>> = { INT32: 4, INT64: 8, INT96: 12, FLOAT: 4, DOUBLE: 8 };

function checkPlain(bytes: Uint8Array, at: number, count: number, { type, typeLength }: ValueKind): void {
  const left = bytes.length - at;
  if (type !== "BYTE_ARRAY") {
    const needed = type === "BOOLEAN" ? Math.ceil(count / 8) : count * (widths[type] ?? typeLength);
    if (needed > left) throw new Error(`${count} values of ${type} in ${left} bytes`);
    return;
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  for (let i = 0; i < count; i++) {
    if (at + 4 > bytes.length) throw new Error(`${count} values where there are ${i}`);
    const length = view.getUint32(at, true);
    at += 4 + length;
    if (at > bytes.length) throw new Error(`a value of ${length} bytes runs past the page's end`);
  }
}

/** Indices into the dictionary: a byte with their width, then runs. */
function checkIndices(bytes: Uint8Array, at: number, count: number, { dictionarySize }: ValueKind): void {
  if (dictionarySize === undefined) throw new Error("indices without a dictionary");
  const width = bytes[at];
  // Wider ones would be cut by the library; a dictionary of 16 million values is none.
  if (!(width <= 24)) throw new Error(`dictionary indices of ${width} bits`);
  if (width === 0) {
    if (dictionarySize === 0) throw new Error("indices into an empty dictionary");
    return;
  }
  for (const index of readRuns(bytes, at + 1, bytes.length, width, count).values)
    if (index >= dictionarySize) throw new Error(`value ${index} of a dictionary of ${dictionarySize}`);
}

/** Where a stream ends that begins with its length in four bytes. */
export function prefixedEnd(bytes: Uint8Array, at: number): number {
  if (at + 4 > bytes.length) throw new Error("the page ends early");
  const length = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at, true);
  if (length > bytes.length - at - 4) throw new Error(`levels of ${length} bytes run past the page's end`);
  return at + 4 + length;
}

/** Most values that a page may claim: a run says a million of them in four bytes, and such columns exist. */
export const mostValues = (bytes: number): number => 2 ** 21 + 64 * bytes;

/** The `count` values of runs and packed groups in bytes [at, end), `width` bits each. */
export function readRuns(
  bytes: Uint8Array,
  at: number,
  end: number,
  width: number,
  count: number,
): { values: Uint32Array; end: number } {
  if (count > mostValues(bytes.length)) throw new Error(`a page of ${count} values`);
  const values = new Uint32Array(count);
  const mask = 2 ** width - 1;
  let seen = 0;
  while (seen < count) {
    const head = varint(bytes, at, end, 5);
    at = head.end;
    if (head.value % 2 === 1) {
      const groups = Math.floor(head.value / 2);
      if (groups * width > end - at) throw new Error("packed values run past their end");
      if (width === 0 && groups > Math.ceil((count - seen) / 8))
        throw new Error("more values than the page has");
      let bits = 0;
      let have = 0;
      let from = at;
      for (let left = Math.min(groups * 8, count - seen); left > 0; left--) {
        for (; have < width; have += 8) bits |= bytes[from++] << have;
        values[seen++] = bits & mask;
        bits >>>= width;
        have -= width;
      }
      at += groups * width;
    } else {
      const run = head.value / 2;
      if (run > count - seen) throw new Error("a run longer than the page has values");
      let value = 0;
      for (let i = 0; i < Math.ceil(width / 8); i++) {
        if (at >= end) throw new Error("a run without its value");
        value += bytes[at++] * 2 ** (8 * i);
      }
      values.fill(value, seen, seen + run);
      seen += run;
    }
  }
  return { values, end: at };
}

/** Walks delta-packed integers; returns where they end. */
function checkDeltas(bytes: Uint8Array, at: number, count: number): number {
  const next = (most: number) => {
    const { value, end } = varint(bytes, at, bytes.length, most);
    at = end;
    return value;
  };
  const [blockSize, parts, total] = [next(5), next(5), next(5)];
  next(10); // the first value
  const perPart = blockSize / parts;
  if (!(parts >= 1 && parts <= 4096) || !Number.isInteger(perPart / 8) || perPart < 8 || blockSize > 2 ** 20)
    throw new Error(`delta blocks of ${blockSize} values in ${parts} parts`);
  if (total !== count) throw new Error(`${total} deltas where ${count} values should be`);
  for (let left = count - 1; left > 0;) {
    next(10); // the smallest delta
    if (parts > bytes.length - at) throw new Error("deltas run past the page's end");
    const bits = bytes.subarray(at, at + parts);
    at += parts;
    for (let i = 0; i < parts && left > 0; i++, left -= perPart) {
      if (bits[i] > 64) throw new Error(`deltas of ${bits[i]} bits`);
      at += (perPart * bits[i]) / 8;
      if (at > bytes.length) throw new Error("deltas run past the page's end");
    }
  }
  return at;
}

function deltaNumbers(bytes: Uint8Array, at: number, count: number): { values: Int32Array; end: number } {
  const end = checkDeltas(bytes, at, count);
  if (count > mostValues(bytes.length)) throw new Error(`a page of ${count} values`);
  const values = new Int32Array(count);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  deltaBinaryUnpack({ view, offset: at }, count, values);
  return { values, end };
}

function checkTotal(lengths: Int32Array, left: number): void {
  let total = 0;
  for (const length of lengths) {
    if (length < 0) throw new Error("a negative length");
    total += length;
  }
  if (total > left) throw new Error(`values of ${total} bytes in ${left}`);
}

/** An unsigned integer in groups of seven bits, as a number; beyond 2^53 it is only passed over. */
function varint(bytes: Uint8Array, at: number, end: number, most: number): { value: number; end: number } {
  let value = 0;
  for (let i = 0; i < most; i++) {
    if (at >= end) throw new Error("the page ends early");
    const byte = bytes[at++];
    value += (byte & 127) * 2 ** (7 * i);
    if (byte < 128) return { value, end: at };
  }
  throw new Error(`an integer of more than ${most} bytes`);
}
