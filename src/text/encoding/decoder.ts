/**
 * The decoders of a tokenizer.json: how tokens become text again. Rules are those of the original library
 * (huggingface/tokenizers): bytes that are no UTF-8 become U+FFFD, and a byte-order mark is text like any other.
 */
import { CTCDecoder } from "@huggingface/tokenizers";
import { patternOf } from "./pattern.ts";
import { byteSymbols } from "./pre-tokenizers.ts";

/** Changes a list of pieces; joined they are the text. */
export type Decoder = (pieces: readonly string[]) => readonly string[];
type Json = Readonly<Record<string, unknown>>;

const each =
  (change: (piece: string, index: number, count: number) => string): Decoder =>
  (pieces) =>
    pieces.map((piece, i) => change(piece, i, pieces.length));

/** By `type`. */
const makers: Readonly<Record<string, (json: Json) => Decoder>> = {
  ByteLevel: () => byteLevel,
  ByteFallback: () => byteFallback,
  Fuse: () => (pieces) => [pieces.join("")],
  Replace(json) {
    const pattern = patternOf(json.pattern);
    const content = String(json.content ?? "");
    return each((piece) => piece.replace(pattern, () => content));
  },
  Strip: (json) => each((piece) => strip(piece, json)),
  Metaspace(json) {
    const sign = String(json.replacement ?? "▁");
    const keeps = json.prepend_scheme === "never" || json.add_prefix_space === false;
    return each((piece, i) => piece.replaceAll(sign, i === 0 && !keeps ? "" : " "));
  },
  WordPiece(json) {
    const prefix = String(json.prefix ?? "##");
    const cleans = json.cleanup !== false;
    return each((piece, i) => {
      const text = i === 0 ? piece : piece.startsWith(prefix) ? piece.slice(prefix.length) : ` ${piece}`;
      return cleans ? tidied(text) : text;
    });
  },
  BPEDecoder(json) {
    const suffix = String(json.suffix ?? "</w>");
    return each((piece, i, count) => piece.replaceAll(suffix, i === count - 1 ? "" : " "));
  },
  CTC(json) {
    const inner = new CTCDecoder(json as unknown as ConstructorParameters<typeof CTCDecoder>[0]);
    return (pieces) => inner.decode_chain([...pieces]);
  },
  Sequence(json) {
    const steps = (json.decoders as readonly unknown[]).map(decoderOf);
    return (pieces) => steps.reduce((p, step) => step(p), pieces);
  },
};

/** Throws for a type that is not known. Without a decoder tokens are set apart by spaces. */
export function decoderOf(value: unknown): Decoder {
  if (value === null || value === undefined) return (pieces) => [pieces.join(" ")];
  const json = value as Json;
  const type = String(json.type);
  if (!Object.hasOwn(makers, type)) throw new Error(`decoder ${JSON.stringify(json.type)} is not supported`);
  return makers[type](json);
}

const byteOf = new Map(byteSymbols.map((symbol, byte) => [symbol, byte]));
const utf8 = new TextEncoder();
const lossy = new TextDecoder("utf-8", { ignoreBOM: true });
const strict = new TextDecoder("utf-8", { ignoreBOM: true, fatal: true });

/** Symbols stand for bytes; a token with a character that is no symbol, such as an added one, stands for itself. */
const byteLevel: Decoder = (pieces) => {
  const bytes: number[] = [];
  for (const piece of pieces) {
    const own: number[] = [];
    for (const symbol of piece) {
      const byte = byteOf.get(symbol);
      if (byte === undefined) break;
      own.push(byte);
    }
    const isText = own.length < [...piece].length;
    for (const byte of isText ? utf8.encode(piece) : own) bytes.push(byte);
  }
  return [lossy.decode(Uint8Array.from(bytes))];
};

/** Runs of byte tokens <0x00> … <0xFF> become the text they encode, or a U+FFFD for each byte. */
const byteFallback: Decoder = (pieces) => {
  const made: string[] = [];
  let bytes: number[] = [];
  const flush = () => {
    if (bytes.length === 0) return;
    try {
      made.push(strict.decode(Uint8Array.from(bytes)));
    } catch {
      made.push("\uFFFD".repeat(bytes.length));
    }
    bytes = [];
  };
  for (const piece of pieces) {
    const [, hex] = /^<0x([0-9A-Fa-f]{2})>$/.exec(piece) ?? [];
    if (hex !== undefined) bytes.push(parseInt(hex, 16));
    else {
      flush();
      made.push(piece);
    }
  }
  flush();
  return made;
};

/** Up to `start` and `stop` times the content off the two ends. */
function strip(piece: string, json: Json): string {
  const content = String(json.content ?? " ");
  let [begin, end] = [0, piece.length];
  for (let n = Number(json.start ?? 0); n > 0 && piece.startsWith(content, begin); n--)
    begin += content.length;
  for (let n = Number(json.stop ?? 0); n > 0 && end > begin && piece.slice(0, end).endsWith(content); n--)
    end -= content.length;
  return piece.slice(begin, end);
}

/** Spaces before signs and contractions, which WordPiece puts everywhere. */
function tidied(text: string): string {
  return text
    .replaceAll(/ ([.?!,])/g, "$1")
    .replaceAll(" ' ", "'")
    .replaceAll(/ (n't|'m|'s|'ve|'re)/g, "$1");
}
