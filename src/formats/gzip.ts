/** Bytes of files that may be gzip'ed, told by the name: what ends in .gz is packed and unpacked on the way, in a stream. */
import { Readable, pipeline } from "node:stream";
import { createGunzip, createGzip } from "node:zlib";
import { RequestError } from "../errors.ts";
import { fileChunks } from "./files.ts";

export const isGzip = (path: string): boolean => /\.gz$/i.test(path);

/** Chunks of a file's content, unpacked where its name ends in .gz. Throws a RequestError where the file is no whole gzip file. */
export async function* contentChunks(path: string): AsyncGenerator<Uint8Array> {
  if (!isGzip(path)) return yield* fileChunks(path);
  const unpack = createGunzip();
  // Whichever side fails, the loop below meets the error.
  pipeline(Readable.from(fileChunks(path)), unpack, () => undefined);
  try {
    yield* unpack as AsyncIterable<Uint8Array>;
  } catch (cause) {
    if (cause instanceof RequestError) throw cause;
    throw new RequestError(
      {
        code: "gzip-invalid",
        what: "is not a whole gzip file",
        where: path,
        why: (cause as Error).message,
        fix: "Copy or download it again",
      },
      { cause },
    );
  }
}

/** The same bytes, packed where the name ends in .gz. */
export async function* packedChunks(
  path: string,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  if (!isGzip(path)) return yield* chunks;
  const pack = createGzip();
  pipeline(Readable.from(chunks), pack, () => undefined);
  yield* pack as AsyncIterable<Uint8Array>;
}
