/** The normalizers of a tokenizer.json: what is done to a text before it is cut into words. */
import { PrecompiledNormalizer } from "@huggingface/tokenizers";
import { patternOf } from "./pattern.ts";
import { type Piece, edited, prepended, replaced } from "./piece.ts";
import { type Form, inForm, lowerCase } from "./unicode-forms.ts";

export type Normalizer = (piece: Piece) => Piece;
type Json = Readonly<Record<string, unknown>>;

const form = (name: Form) => (): Normalizer => (piece) => inForm(piece, name);

/** By `type`. */
const makers: Readonly<Record<string, (json: Json) => Normalizer>> = {
  NFC: form("NFC"),
  NFD: form("NFD"),
  NFKC: form("NFKC"),
  NFKD: form("NFKD"),
  Lowercase: () => lowerCase,
  Prepend: (json) => (piece) => prepended(piece, String(json.prepend)),
  Replace(json) {
    const pattern = patternOf(json.pattern);
    const content = String(json.content ?? "");
    return (piece) => replaced(piece, pattern, () => content);
  },
  Strip(json) {
    const ends = [json.strip_left ? "^\\p{White_Space}+" : "", json.strip_right ? "\\p{White_Space}+$" : ""];
    const pattern = new RegExp(ends.filter(Boolean).join("|") || "(?!)", "gu");
    return (piece) => replaced(piece, pattern, () => "");
  },
  StripAccents: () => (piece) => replaced(piece, /\p{M}+/gu, () => ""),
  BertNormalizer: bert,
  Precompiled: precompiled,
  Sequence(json) {
    const steps = (json.normalizers as readonly unknown[]).map(normalizerOf);
    return (piece) => steps.reduce((p, step) => step(p), piece);
  },
};

/** Throws for a type that is not known. */
export function normalizerOf(value: unknown): Normalizer {
  if (value === null || value === undefined) return (piece) => piece;
  const json = value as Json;
  const type = String(json.type);
  if (!Object.hasOwn(makers, type))
    throw new Error(`normalizer ${JSON.stringify(json.type)} is not supported`);
  return makers[type](json);
}

const controls = /(?![\t\n\r])[\0\ufffd\p{Cc}\p{Cf}\p{Co}]/gu;
const ideographs =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;

/** Cleaning, spaces around ideographs, accents and case, each where the configuration wants it. */
function bert(json: Json): Normalizer {
  const steps: Normalizer[] = [];
  if (json.clean_text ?? true) {
    steps.push((piece) => replaced(piece, controls, () => ""));
    steps.push((piece) => replaced(piece, /\p{White_Space}/gu, () => " "));
  }
  if (json.handle_chinese_chars ?? true)
    steps.push((piece) => replaced(piece, ideographs, (char) => ` ${char} `));
  const lowers = json.lowercase ?? true;
  if (json.strip_accents ?? lowers) {
    steps.push((piece) => inForm(piece, "NFD"));
    steps.push((piece) => replaced(piece, /\p{Mn}+/gu, () => ""));
  }
  if (lowers) steps.push(lowerCase);
  return (piece) => steps.reduce((p, step) => step(p), piece);
}

/** SentencePiece's table of replacements, as `@huggingface/tokenizers` approximates it, a character with its marks at a time. */
function precompiled(json: Json): Normalizer {
  const inner = new PrecompiledNormalizer({
    type: "Precompiled",
    precompiled_charsmap: String(json.precompiled_charsmap ?? ""),
  });
  return (piece) => {
    const whole = inner.normalize(piece.text);
    if (whole === piece.text) return piece;
    const apart = replaced(piece, /[^][\p{M}\u1160-\u11ff\uff9e-\uffdc]*/gu, (part) => inner.normalize(part));
    return apart.text === whole ? apart : edited(piece, [[0, piece.text.length, whole]]);
  };
}
