/**
 * The pre-tokenizers of a tokenizer.json: they cut a text into words, within which tokens are found. The rules are those of
 * the original library (huggingface/tokenizers), whose behaviours of cutting are the table below.
 */
import { patternOf, punctuation, wordCharacter } from "./pattern.ts";
import { type Edit, type Piece, edited, prepended, replaced, slice, unitsAt } from "./piece.ts";

export type PreTokenizer = (piece: Piece) => Piece[];
type Json = Readonly<Record<string, unknown>>;
/** A stretch of text, and whether it is a match of the pattern. */
type Stretch = readonly [begin: number, end: number, isMatch: boolean];

/** What becomes of matches: stretches of the text in order, some of them joined or left out. */
const behaviors: Readonly<Record<string, (all: readonly Stretch[]) => readonly Stretch[]>> = {
  Isolated: (all) => all,
  Removed: (all) => all.filter(([, , isMatch]) => !isMatch),
  Contiguous: (all) => joined(all, (left, right) => left[2] === right[2]),
  MergedWithPrevious: (all) => joined(all, (left, right) => right[2] && !left[2]),
  MergedWithNext: (all) => joined(all, (left, right) => left[2] && !right[2]),
};

/** Neighbours that belong together become one; of more than two, a third joins only by its own right neighbour's rule. */
function joined(
  all: readonly Stretch[],
  together: (left: Stretch, right: Stretch) => boolean,
): readonly Stretch[] {
  const result: Stretch[] = [];
  all.forEach((stretch, i) => {
    const last = result.at(-1);
    if (last && together(all[i - 1], stretch)) result[result.length - 1] = [last[0], stretch[1], stretch[2]];
    else result.push(stretch);
  });
  return result;
}

/** A pre-tokenizer that cuts at the matches of a pattern; inverted, at what lies between them. */
function cutting(pattern: RegExp, behavior: string, invert = false): PreTokenizer {
  if (!Object.hasOwn(behaviors, behavior)) throw new Error(`split behavior "${behavior}" is not supported`);
  return (piece) => {
    const all: Stretch[] = [];
    let at = 0;
    for (const match of piece.text.matchAll(pattern)) {
      const end = match.index + match[0].length;
      if (match.index > at) all.push([at, match.index, invert]);
      if (end > match.index) all.push([match.index, end, !invert]);
      at = end;
    }
    if (at < piece.text.length) all.push([at, piece.text.length, invert]);
    return behaviors[behavior](all).map(([begin, end]) => slice(piece, begin, end));
  };
}

const gpt2Words = patternOf({
  Regex: "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
});
const whitespace = /\p{White_Space}/gu;

/** By `type`. */
const makers: Readonly<Record<string, (json: Json) => PreTokenizer>> = {
  ByteLevel(json) {
    const words = cutting(gpt2Words, "Isolated");
    return (given) => {
      const spaced = json.add_prefix_space === true && !given.text.startsWith(" ");
      const piece = spaced ? prepended(given, " ") : given;
      return (json.use_regex === false ? [piece] : words(piece)).map(asBytes);
    };
  },
  Split: (json) =>
    cutting(patternOf(json.pattern), String(json.behavior ?? "Isolated"), json.invert === true),
  Digits: (json) => cutting(/\p{N}/gu, json.individual_digits === true ? "Isolated" : "Contiguous"),
  Punctuation: (json) => cutting(new RegExp(punctuation, "gu"), String(json.behavior ?? "Isolated")),
  Whitespace: () =>
    cutting(
      new RegExp(`${wordCharacter}+|[^\\p{White_Space}${wordCharacter.slice(1)}+`, "gu"),
      "Removed",
      true,
    ),
  WhitespaceSplit: () => cutting(whitespace, "Removed"),
  CharDelimiterSplit: (json) => cutting(patternOf({ String: String(json.delimiter) }), "Removed"),
  BertPreTokenizer() {
    const [words, signs] = [
      cutting(whitespace, "Removed"),
      cutting(new RegExp(punctuation, "gu"), "Isolated"),
    ];
    return (piece) => words(piece).flatMap(signs);
  },
  FixedLength: (json) => cutting(new RegExp(`[^]{1,${Number(json.length ?? 5)}}`, "gu"), "Isolated"),
  Metaspace: metaspace,
  Sequence(json) {
    const steps = (json.pretokenizers as readonly unknown[]).map(preTokenizerOf);
    return (piece) => steps.reduce<Piece[]>((pieces, step) => pieces.flatMap(step), [piece]);
  },
};

/** Throws for a type that is not known. */
export function preTokenizerOf(value: unknown): PreTokenizer {
  if (value === null || value === undefined) return (piece) => [piece];
  const json = value as Json;
  const type = String(json.type);
  if (!Object.hasOwn(makers, type))
    throw new Error(`pre-tokenizer ${JSON.stringify(json.type)} is not supported`);
  return makers[type](json);
}

/** Spaces become a visible sign, one is put before the text where the scheme says so, and each begins a word. */
function metaspace(json: Json): PreTokenizer {
  const sign = String(json.replacement ?? "▁");
  // Older files say add_prefix_space.
  const scheme = String(json.prepend_scheme ?? (json.add_prefix_space === false ? "never" : "always"));
  const words = json.split === false ? undefined : cutting(patternOf({ String: sign }), "MergedWithNext");
  return (given) => {
    const signed = replaced(given, / /gu, () => sign);
    const wanted = scheme === "always" || (scheme === "first" && given.first);
    const piece = wanted && !signed.text.startsWith(sign) ? prepended(signed, sign) : signed;
    return words ? words(piece) : [piece];
  };
}

/** A visible character for every byte: printable Latin-1 stands for itself, the rest are moved to 256 and up. */
export const byteSymbols: readonly string[] = (() => {
  const printable = (b: number) => (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
  let moved = 256;
  return Array.from({ length: 256 }, (_, b) => String.fromCharCode(printable(b) ? b : moved++));
})();

const utf8 = new TextEncoder();

/** The UTF-8 bytes of a piece, as symbols; all bytes of a character come from the whole of it. */
function asBytes(piece: Piece): Piece {
  const { text } = piece;
  if (!piece.from) {
    let symbols = "";
    for (const byte of utf8.encode(text)) symbols += byteSymbols[byte];
    return { ...piece, text: symbols };
  }
  const edits: Edit[] = [];
  for (let at = 0; at < text.length;) {
    const end = at + unitsAt(text, at);
    const bytes = [...utf8.encode(text.slice(at, end))];
    edits.push([at, end, bytes.map((byte) => byteSymbols[byte]).join("")]);
    at = end;
  }
  return edited(piece, edits);
}
