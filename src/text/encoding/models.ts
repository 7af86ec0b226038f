/** The models of a tokenizer.json: how a word becomes tokens. */
import { Unigram } from "@huggingface/tokenizers";
import { quoted } from "../../errors.ts";
import { Bpe, type BpeJson, type Tokens } from "./bpe.ts";
import { tokenId } from "./ids.ts";

export interface Model {
  encode(word: string): Tokens;
  /** Ids by token, without added tokens. */
  readonly vocabulary: ReadonlyMap<string, number>;
}

type Json = Readonly<Record<string, unknown>>;

/** By `type`. */
const makers: Readonly<Record<string, (json: Json) => Model>> = {
  BPE(json) {
    const vocabulary = vocabularyOf(json);
    const bpe = new Bpe(json as unknown as BpeJson, vocabulary);
    return { encode: (word) => bpe.encode(word), vocabulary };
  },
  WordPiece: wordPiece,
  Unigram: unigram,
};

/** Throws for a type that is not known. Files older than the type's name are BPE where they have merges. */
export function modelOf(value: unknown): Model {
  const json = (value ?? {}) as Json;
  const type = json.type ?? (json.merges ? "BPE" : Array.isArray(json.vocab) ? "Unigram" : undefined);
  if (typeof type !== "string" || !Object.hasOwn(makers, type))
    throw new Error(`tokenizer model ${JSON.stringify(type ?? null)} is not supported`);
  if (typeof json.vocab !== "object" || json.vocab === null) throw new Error("its model has no vocabulary");
  return makers[type](json);
}

function vocabularyOf(json: Json): ReadonlyMap<string, number> {
  const vocabulary = new Map(Object.entries(json.vocab as Record<string, number>));
  for (const [token, id] of vocabulary) tokenId(id, `token ${quoted(token)}`);
  return vocabulary;
}

/** Longest pieces from the left, all but the first behind a prefix; a word that does not come out is unknown. */
function wordPiece(json: Json): Model {
  const vocabulary = vocabularyOf(json);
  const prefix = String(json.continuing_subword_prefix ?? "##");
  const longest = Number(json.max_input_chars_per_word ?? 100);
  const unknown = vocabulary.get(String(json.unk_token));
  return {
    vocabulary,
    encode(word) {
      const whole: Tokens =
        unknown === undefined ? nothing : { ids: [unknown], starts: [0], ends: [word.length] };
      if ([...word].length > longest) return whole;
      const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []];
      for (let at = 0; at < word.length;) {
        let end = word.length;
        const name = () => (at > 0 ? prefix : "") + word.slice(at, end);
        while (end > at && !vocabulary.has(name())) end--;
        const id = vocabulary.get(name());
        if (end === at || id === undefined) return whole;
        ids.push(id);
        starts.push(at);
        ends.push(end);
        at = end;
      }
      return { ids, starts, ends };
    },
  };
}

const nothing: Tokens = { ids: [], starts: [], ends: [] };

/** The likeliest split into pieces, found by `@huggingface/tokenizers`; its pieces cover the word in order. */
function unigram(json: Json): Model {
  const pieces: readonly unknown[] = Array.isArray(json.vocab)
    ? json.vocab
    : Object.entries(json.vocab ?? {});
  const isPiece = (v: unknown) =>
    Array.isArray(v) && typeof v[0] === "string" && typeof v[1] === "number" && Number.isFinite(v[1]);
  const bad = pieces.findIndex((piece) => !isPiece(piece));
  if (bad >= 0) throw new Error(`piece ${bad} of its vocabulary is not a text with a number`);
  const unknownId = json.unk_id ?? undefined;
  if (unknownId !== undefined && tokenId(unknownId, "the unknown token") >= pieces.length)
    throw new Error("the unknown token is not in the vocabulary");
  const inner = new Unigram(json as unknown as ConstructorParameters<typeof Unigram>[0], "");
  const vocabulary = new Map(inner.tokens_to_ids);
  const unknown = inner.unk_token_id ?? 0;
  return {
    vocabulary,
    encode(word) {
      const [ids, starts, ends]: [number[], number[], number[]] = [[], [], []];
      let at = 0;
      for (const piece of inner.tokenize(word)) {
        const id = vocabulary.get(piece) ?? unknown;
        // Neighbouring unknown pieces are one.
        if (id === unknown && ids.at(-1) === unknown) ends[ends.length - 1] += piece.length;
        else {
          ids.push(id);
          starts.push(at);
          ends.push(at + piece.length);
        }
        at += piece.length;
      }
      return { ids, starts, ends };
    },
  };
}
