/**
 * Rows kept in the user's cache folder, under a name made of everything that they depend on: the data's bytes, the tokenizer with its
 * template, and the job. A file is written aside and renamed, and ends in the SHA-256 of what is before it.
 */
import {
  exists,
  joinPath,
  makeFolder,
  packageFolder,
  readBytes,
  readJson,
  removePath,
  userCacheFolder,
  writeFileAtomic,
} from "../formats/files.ts";
import { sha256, sha256OfFile } from "../formats/sha256.ts";
import type { Detected } from "./formats/detect.ts";
import type { Skipped } from "./load-records.ts";
import { type PackedRows, packRows, unpackRows } from "./packed-rows.ts";
import type { DataKind } from "./record-formats.ts";
import type { RowJob } from "./row-job.ts";
import type { TokenRow } from "./token-row.ts";

export interface KeptRows {
  readonly rows: readonly TokenRow[];
  readonly skipped: readonly Skipped[];
  readonly kind: DataKind;
  readonly format: Detected;
  readonly unread: ReadonlyMap<string, number>;
}

export interface CacheKey {
  /** Files that are read, in order. */
  readonly paths: readonly string[];
  /** The format that was asked for. */
  readonly format?: string;
  readonly invalid: "error" | "skip";
  readonly job: RowJob;
  /** Names the tokenizer's files and what its template depends on (text/tokenizer-files.ts). */
  readonly tokenizer?: string;
}

/** Raised by every change of what is kept, or of how rows are made. */
const version = "prefopt rows 2";
const magic = new TextEncoder().encode("PREFROWS");
/** Bytes of the digest at the end. */
const digestSize = 32;

/** Where rows of this key are kept. */
export async function rowCachePath({ paths, ...key }: CacheKey): Promise<string> {
  const own = (await readJson(joinPath(packageFolder(), "package.json"))) as { version: string };
  const contents = await Promise.all(paths.map(sha256OfFile));
  const name = sha256(JSON.stringify([version, own.version, contents, key]));
  return joinPath(userCacheFolder(), "rows", `${name}.rows`);
}

/** Rows that were kept; undefined where there are none, `damaged` where the file is not what was written. */
export async function loadKeptRows(
  path: string,
  files: readonly string[],
): Promise<KeptRows | "damaged" | undefined> {
  if (!(await exists(path))) return undefined;
  const bytes = await readBytes(path).catch(() => undefined);
  const kept = bytes && decode(bytes, files);
  if (kept) return kept;
  await removePath(path);
  return "damaged";
}

/** Keeps rows. */
export async function keepRows(path: string, kept: KeptRows, files: readonly string[]): Promise<void> {
  await makeFolder(joinPath(userCacheFolder(), "rows"));
  await writeFileAtomic(path, encode(kept, files));
}

interface Header {
  readonly count: number;
  readonly wide: boolean;
  readonly lengths: readonly [lines: number, stream: number, floats: number];
  readonly strings: readonly string[];
  readonly skipped: readonly (Omit<Skipped, "source"> & { file: number; line: number })[];
  readonly kind: DataKind;
  readonly format: Detected;
  readonly unread: readonly (readonly [string, number])[];
}

function encode(kept: KeptRows, files: readonly string[]): Uint8Array {
  const packed = packRows(kept.rows, files);
  const { count, lines, stream, floats, strings } = packed;
  const header: Header = {
    count,
    wide: stream instanceof Uint32Array,
    lengths: [lines.length, stream.length, floats.length],
    strings,
    skipped: kept.skipped.map(({ source, ...problem }) => ({
      ...problem,
      file: files.indexOf(source.file),
      line: source.line,
    })),
    kind: kept.kind,
    format: kept.format,
    unread: [...kept.unread],
  };
  const text = new TextEncoder().encode(JSON.stringify(header));
  // The arrays stand at multiples of eight, the widest first.
  const parts = [floats, lines, stream].map(
    (array) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength),
  );
  const start = aligned(magic.length + 4 + text.length);
  const size = start + parts.reduce((n, part) => n + aligned(part.length), 0);
  const bytes = new Uint8Array(size + digestSize);
  bytes.set(magic);
  new DataView(bytes.buffer).setUint32(magic.length, text.length, true);
  bytes.set(text, magic.length + 4);
  let at = start;
  for (const part of parts) {
    bytes.set(part, at);
    at += aligned(part.length);
  }
  bytes.set(digest(bytes.subarray(0, size)), size);
  return bytes;
}

/** Undefined where the bytes are not what was written. */
function decode(read: Uint8Array, files: readonly string[]): KeptRows | undefined {
  const bytes = new Uint8Array(read.buffer, read.byteOffset, read.byteLength); // whose slices are copies, unlike a Buffer's
  const size = bytes.length - digestSize;
  if (size < magic.length + 4) return undefined;
  const found = bytes.subarray(size);
  if (!digest(bytes.subarray(0, size)).every((byte, i) => byte === found[i])) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const length = view.getUint32(magic.length, true);
  const text = bytes.subarray(magic.length + 4, magic.length + 4 + length);
  const header = JSON.parse(new TextDecoder().decode(text)) as Header;
  const [lines, stream, floats] = header.lengths;
  let at = aligned(magic.length + 4 + length);
  const take = (n: number) => {
    const part = bytes.slice(at, at + n).buffer;
    at += aligned(n);
    return part;
  };
  const packed: PackedRows = {
    count: header.count,
    strings: header.strings,
    floats: new Float64Array(take(floats * 8)),
    lines: new Uint32Array(take(lines * 4)),
    stream: header.wide ? new Uint32Array(take(stream * 4)) : new Uint16Array(take(stream * 2)),
  };
  return {
    rows: unpackRows(packed, files),
    skipped: header.skipped.map(({ file, line, ...problem }) => ({
      ...problem,
      source: { file: files[file], line },
    })),
    kind: header.kind,
    format: header.format,
    unread: new Map(header.unread),
  };
}

const aligned = (n: number) => Math.ceil(n / 8) * 8;

function digest(bytes: Uint8Array): Uint8Array {
  const hex = sha256(bytes);
  return Uint8Array.from({ length: digestSize }, (_, i) => Number.parseInt(hex.slice(2 * i, 2 * i + 2), 16));
}
