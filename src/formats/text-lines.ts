/**
 * Text out of bytes, and lines out of text, as streams. Bytes that are no UTF-8 are an error that names the line: replacing
 * them would change what is learned. Work and memory stay proportional to the longest line.
 */
import { RequestError } from "../errors.ts";

/** Most characters of one line or one value. No record is that long, and a packed file can claim any length. */
export const longestText = 2 ** 26;

/** The text of bytes in UTF-8, piece by piece, without a byte-order mark. `name` stands for the file in errors. */
export async function* textOf(chunks: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true });
  let line = 1;
  for await (const chunk of chunks) {
    let text: string;
    try {
      text = decoder.decode(chunk, { stream: true });
    } catch {
      throw notUtf8(`${name}:${line + firstBrokenLine(chunk)}`);
    }
    if (text !== "") yield text;
    for (const byte of chunk) if (byte === 10) line++;
  }
  try {
    const rest = decoder.decode();
    if (rest !== "") yield rest;
  } catch {
    throw notUtf8(`${name}:${line}`);
  }
}

/** The lines of a text, without their ends (LF or CRLF). */
export async function* linesOf(texts: AsyncIterable<string>, name: string): AsyncGenerator<string> {
  let begun: string[] = [];
  let length = 0;
  let line = 0;
  const whole = (end: string) => {
    line++;
    const text = begun.length > 0 ? begun.join("") + end : end;
    begun = [];
    length = 0;
    return text.endsWith("\r") ? text.slice(0, -1) : text;
  };
  for await (const text of texts) {
    let from = 0;
    for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", from)) {
      yield whole(text.slice(from, at));
      from = at + 1;
    }
    if (from < text.length) begun.push(text.slice(from));
    length += text.length - from;
    if (length > longestText) throw tooLong(`${name}:${line + 1}`);
  }
  if (begun.length > 0) yield whole("");
}

/** The error of a line or value that is longer than `longestText`. */
export function tooLong(where: string): RequestError {
  return new RequestError({
    code: "text-too-long",
    what: "is too long to be read",
    where,
    why: `it has more than ${longestText} characters`,
    fix: "Write one record a line",
  });
}

function notUtf8(where: string): RequestError {
  return new RequestError({
    code: "not-utf8",
    what: "is not text in UTF-8",
    where,
    fix: "Save the file as UTF-8",
  });
}

/** How many lines of a chunk come before the one that cannot be decoded. */
function firstBrokenLine(chunk: Uint8Array): number {
  // A character may have begun in the chunk before: its last bytes are passed over.
  let from = 0;
  while (from < 3 && (chunk[from] & 0xc0) === 0x80) from++;
  for (let line = 0; ; line++) {
    const end = chunk.indexOf(10, from);
    try {
      new TextDecoder("utf-8", { fatal: true }).decode(chunk.subarray(from, end < 0 ? chunk.length : end));
    } catch {
      return line;
    }
    if (end < 0) return line;
    from = end + 1;
  }
}
