/**
 * Trains a byte-level BPE tokenizer (Sennrich et al., arXiv:1508.07909, on bytes as in GPT-2): counts words, then merges the
 * most frequent adjacent pair again and again. Deterministic: ties go to the lexicographically smallest pair.
 * The result loads in `@huggingface/tokenizers` and in Python's transformers.
 */

import { byteSymbols } from "./encoding/pre-tokenizers.ts";

/** The pre-tokenizer of GPT-2: contractions, words with their leading space, numbers, other runs, spaces. */
const words = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

export interface BpeOptions {
  readonly vocabularySize: number;
  /** Placed before an encoded text. */
  readonly beginToken: string;
  readonly endToken: string;
  readonly specialTokens: readonly string[];
  readonly chatTemplate?: string;
}

export interface TrainedTokenizer {
  readonly tokenizerJson: Record<string, unknown>;
  readonly tokenizerConfigJson: Record<string, unknown>;
}

export function trainByteLevelBpe(texts: Iterable<string>, options: BpeOptions): TrainedTokenizer {
  const vocabulary = [...options.specialTokens, ...byteSymbols];
  const merges = learnMerges(countWords(texts), byteSymbols, options.vocabularySize - vocabulary.length);
  vocabulary.push(...merges.map(([a, b]) => a + b));
  const special = (content: string, id: number) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  });
  const beginId = options.specialTokens.indexOf(options.beginToken);
  return {
    tokenizerJson: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: options.specialTokens.map(special),
      normalizer: null,
      pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
      post_processor: {
        type: "TemplateProcessing",
        single: [
          { SpecialToken: { id: options.beginToken, type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
        ],
        pair: [
          { SpecialToken: { id: options.beginToken, type_id: 0 } },
          { Sequence: { id: "A", type_id: 0 } },
          { Sequence: { id: "B", type_id: 1 } },
        ],
        special_tokens: {
          [options.beginToken]: { id: options.beginToken, ids: [beginId], tokens: [options.beginToken] },
        },
      },
      decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
      model: {
        type: "BPE",
        dropout: null,
        unk_token: null,
        continuing_subword_prefix: null,
        end_of_word_suffix: null,
        fuse_unk: false,
        byte_fallback: false,
        ignore_merges: false,
        vocab: Object.fromEntries(vocabulary.map((token, id) => [token, id])),
        merges: merges.map(([a, b]) => `${a} ${b}`),
      },
    },
    tokenizerConfigJson: {
      tokenizer_class: "PreTrainedTokenizerFast",
      bos_token: options.beginToken,
      eos_token: options.endToken,
      pad_token: options.beginToken,
      clean_up_tokenization_spaces: false,
      added_tokens_decoder: Object.fromEntries(
        options.specialTokens.map((content, id) => [id, { ...special(content, id), id: undefined }]),
      ),
      ...(options.chatTemplate !== undefined && { chat_template: options.chatTemplate }),
    },
  };
}

interface Word {
  /** Indices into the growing list of symbols. */
  parts: number[];
  count: number;
}

function countWords(texts: Iterable<string>): Word[] {
  const counts = new Map<string, number>();
  for (const text of texts)
    for (const [word] of text.matchAll(words)) counts.set(word, (counts.get(word) ?? 0) + 1);
  const encoder = new TextEncoder();
  return [...counts].map(([word, count]) => ({ parts: [...encoder.encode(word)], count }));
}

function learnMerges(all: Word[], bytes: readonly string[], wanted: number): [string, string][] {
  const tokens = [...bytes];
  const base = 1 << 20;
  const counts = new Map<number, number>();
  const where = new Map<number, Set<Word>>();
  const note = (word: Word, sign: 1 | -1) => {
    for (let i = 0; i + 1 < word.parts.length; i++) {
      const pair = word.parts[i] * base + word.parts[i + 1];
      counts.set(pair, (counts.get(pair) ?? 0) + sign * word.count);
      if (sign > 0) {
        const set = where.get(pair) ?? new Set();
        set.add(word);
        where.set(pair, set);
      }
    }
  };
  for (const word of all) note(word, 1);
  const merges: [string, string][] = [];
  const textOf = (pair: number): [string, string] => [tokens[Math.floor(pair / base)], tokens[pair % base]];
  const before = (p: number, q: number) => {
    const [[a, b], [c, d]] = [textOf(p), textOf(q)];
    return a < c || (a === c && b < d);
  };
  while (merges.length < wanted) {
    let best = -1;
    let bestCount = 1;
    for (const [pair, count] of counts) {
      if (count > bestCount || (count === bestCount && best >= 0 && before(pair, best)))
        [best, bestCount] = [pair, count];
    }
    if (best < 0) break; // nothing occurs twice any more
    const [left, right] = [Math.floor(best / base), best % base];
    merges.push(textOf(best));
    const merged = tokens.push(tokens[left] + tokens[right]) - 1;
    for (const word of where.get(best) ?? []) {
      note(word, -1);
      const parts: number[] = [];
      for (let i = 0; i < word.parts.length; i++) {
        if (word.parts[i] === left && word.parts[i + 1] === right) {
          parts.push(merged);
          i++;
        } else parts.push(word.parts[i]);
      }
      word.parts = parts;
      note(word, 1);
    }
    counts.delete(best);
    where.delete(best);
  }
  return merges;
}
