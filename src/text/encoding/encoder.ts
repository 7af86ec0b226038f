/**
 * A tokenizer.json as a function from text to token ids and to the stretch of text that each token touches: added tokens are
 * found, what lies between them is normalized and cut into words, and the model makes tokens of each word.
 */
import { type AddedToken, addedTokensOf, finder } from "./added-tokens.ts";
import { type Model, modelOf } from "./models.ts";
import { type Normalizer, normalizerOf } from "./normalizers.ts";
import { type Piece, original, rangeOf, slice } from "./piece.ts";
import { type PreTokenizer, preTokenizerOf } from "./pre-tokenizers.ts";

export interface Encoding {
  readonly ids: number[];
  /** JavaScript string indices [start, end) of the whole text that each token touches. */
  readonly offsets: [start: number, end: number][];
}

export interface Encoder {
  readonly model: Model;
  readonly addedTokens: readonly AddedToken[];
  /** What an added token reads back as: where it is found in the normalized text, its normalized form. */
  spelling(token: AddedToken): string;
  /** Ids of a text, no special tokens added. */
  encode(text: string): number[];
  encodeWithOffsets(text: string): Encoding;
}

/** Throws for parts that are not supported or broken. */
export function encoderOf(tokenizerJson: Readonly<Record<string, unknown>>): Encoder {
  const model = modelOf(tokenizerJson.model);
  const normalizer: Normalizer = normalizerOf(tokenizerJson.normalizer);
  const preTokenizer: PreTokenizer = preTokenizerOf(tokenizerJson.pre_tokenizer);
  const addedTokens = addedTokensOf(tokenizerJson.added_tokens);
  const inText = finder(addedTokens.filter((t) => !t.normalized));
  const normalizedText = (content: string) => normalizer(original(content, false)).text;
  const inNormalized = finder(
    addedTokens.filter((t) => t.normalized),
    normalizedText,
  );

  const recent = new Recent();
  const run = (text: string, remember: boolean): Encoding => {
    const result: Encoding = { ids: [], offsets: [] };
    const add = (id: number, piece: Piece, begin: number, end: number) => {
      result.ids.push(id);
      if (remember) result.offsets.push(rangeOf(piece, begin, end));
    };
    const words = (piece: Piece) => {
      for (const word of preTokenizer(piece)) {
        if (word.text === "") continue;
        const { ids, starts, ends } = model.encode(word.text);
        for (let i = 0; i < ids.length; i++) add(ids[i], word, starts[i], ends[i]);
      }
    };
    const all = original(text, remember);
    for (const [begin, end, token] of inText(text)) {
      const part = slice(all, begin, end);
      if (token) {
        add(token.id, part, 0, end - begin);
        continue;
      }
      const known = remember ? undefined : recent.get(part);
      if (known) {
        for (const id of known) result.ids.push(id);
        continue;
      }
      const before = result.ids.length;
      const piece = normalizer(part);
      for (const [from, to, found] of inNormalized(piece.text)) {
        const inner = slice(piece, from, to);
        if (found) add(found.id, inner, 0, to - from);
        else words(inner);
      }
      if (!remember) recent.set(part, result.ids.slice(before));
    }
    return result;
  };
  return {
    model,
    addedTokens,
    spelling: ({ content, normalized }) => (normalized ? normalizedText(content) : content),
    encode: (text) => run(text, false).ids,
    encodeWithOffsets: (text) => run(text, true),
  };
}

/** Stretches between added tokens that are remembered: a prompt is encoded alone and with each of its answers. */
const recentStretches = 16;

/** The ids of the latest stretches. Whether one begins its text matters to some pre-tokenizers. */
class Recent {
  readonly #ids = new Map<string, readonly number[]>();

  get(piece: Piece): readonly number[] | undefined {
    return this.#ids.get(keyOf(piece));
  }

  set(piece: Piece, ids: readonly number[]): void {
    if (this.#ids.size >= recentStretches) this.#ids.clear();
    this.#ids.set(keyOf(piece), ids);
  }
}

const keyOf = ({ text, first }: Piece) => (first ? `^${text}` : `.${text}`);
