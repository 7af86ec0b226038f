/**
 * The compressions of Parquet pages, each unpacked into exactly the bytes that the page's header promises, or not at all.
 * Snappy is written out here: the libraries' decoders follow broken lengths.
 */
import type { CompressionCodec } from "hyparquet";
import { decompressLz4Raw, decompressZstd } from "hyparquet-compressors";
import { brotliDecompressSync, gunzipSync } from "node:zlib";

type Unpack = (packed: Uint8Array, size: number) => Uint8Array;

const codecs: Partial<Record<CompressionCodec, Unpack>> = {
  UNCOMPRESSED: (packed) => packed,
  SNAPPY: unpackSnappy,
  GZIP: (packed, size) => gunzipSync(packed, { maxOutputLength: size }),
  BROTLI: (packed, size) => brotliDecompressSync(packed, { maxOutputLength: size }),
  ZSTD: unpackZstd,
  LZ4_RAW: decompressLz4Raw,
};

/** Unpacks a page into `size` bytes. Throws an Error where the bytes are broken or come to another size. */
export function unpackPage(packed: Uint8Array, size: number, codec: CompressionCodec): Uint8Array {
  const unpack = codecs[codec];
  if (!unpack) throw new Error(`compression ${codec} is not supported`);
  const page = size === 0 ? new Uint8Array(0) : unpack(packed, size);
  if (page.length !== size) throw new Error(`a page of ${page.length} bytes whose header says ${size}`);
  return page;
}

/** Zstandard, into a buffer of the page's size, so that no claim of the frame is followed beyond it (RFC 8878, 3.1.1). */
function unpackZstd(packed: Uint8Array, size: number): Uint8Array {
  const descriptor = packed[4];
  const single = (descriptor >> 5) & 1;
  const width = [single, 2, 4, 8][descriptor >> 6];
  const at = 6 - single + [0, 1, 2, 4][descriptor & 3];
  if (at + width > packed.length) throw new Error("broken Zstandard data");
  if (width > 0) {
    let claimed = width === 2 ? 256 : 0;
    for (let i = 0; i < width; i++) claimed += packed[at + i] * 2 ** (8 * i);
    if (claimed !== size) throw new Error(`a page of ${claimed} bytes whose header says ${size}`);
  }
  return decompressZstd(packed, new Uint8Array(size));
}

/** Snappy's raw format: literals and copies of what came before (google/snappy, format_description.txt). */
export function unpackSnappy(packed: Uint8Array, size: number): Uint8Array {
  const fail = (): never => {
    throw new Error("broken Snappy data");
  };
  const out = new Uint8Array(size);
  let at = 0;
  let to = 0;
  const little = (bytes: number) => {
    if (at + bytes > packed.length) fail();
    let value = 0;
    for (let i = 0; i < bytes; i++) value += packed[at++] * 2 ** (8 * i);
    return value;
  };
  while (at < packed.length && packed[at++] >= 128); // the size, which the header has said
  while (at < packed.length) {
    const tag = packed[at++];
    const kind = tag & 3;
    if (kind === 0) {
      const short = tag >> 2;
      const length = 1 + (short < 60 ? short : little(short - 59));
      if (length > packed.length - at || length > size - to) fail();
      out.set(packed.subarray(at, at + length), to);
      at += length;
      to += length;
      continue;
    }
    const length = kind === 1 ? 4 + ((tag >> 2) & 7) : 1 + (tag >> 2);
    const distance = kind === 1 ? (tag >> 5) * 256 + little(1) : little(kind === 2 ? 2 : 4);
    if (distance === 0 || distance > to || length > size - to) fail();
    if (distance >= length) out.copyWithin(to, to - distance, to - distance + length);
    else for (let i = 0; i < length; i++) out[to + i] = out[to + i - distance];
    to += length;
  }
  if (to !== size) fail();
  return out;
}
