/** The parts of a tokenizer, one by one: worked cases, and a naive way of merging by the side. */
import { describe, expect, test } from "vitest";
import { random } from "../../engine/random.ts";
import { randomText } from "../testing.ts";
import { makeTokenizer } from "../tokenizer.ts";
import { addedTokensOf, finder } from "./added-tokens.ts";
import { Bpe } from "./bpe.ts";
import { decoderOf } from "./decoder.ts";
import { encoderOf } from "./encoder.ts";
import { normalizerOf } from "./normalizers.ts";
import { original, rangeOf } from "./piece.ts";
import { preTokenizerOf } from "./pre-tokenizers.ts";
import { surroundingsOf } from "./surroundings.ts";

describe("normalizers remember where characters came from", () => {
  /** The normalized text, and the original range of each of its characters. */
  const normalized = (json: object, text: string) => {
    const piece = normalizerOf(json)(original(text, true));
    expect(normalizerOf(json)(original(text, false)).text).toBe(piece.text);
    const ranges: [number, number][] = [];
    for (let at = 0; at < piece.text.length;) {
      const end = at + ((piece.text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1);
      ranges.push(rangeOf(piece, at, end));
      at = end;
    }
    return [piece.text, ranges];
  };
  const nfc = { type: "NFC" };
  test.each([
    [
      "nothing to do",
      nfc,
      "é😀",
      "é😀",
      [
        [0, 1],
        [1, 3],
      ],
    ],
    [
      "an accent joins its letter, which it counts as",
      nfc,
      "ae\u0301b",
      "aéb",
      [
        [0, 1],
        [1, 2],
        [3, 4],
      ],
    ],
    [
      "what does not combine stays",
      nfc,
      "x\u0301e\u0301",
      "x\u0301é",
      [
        [0, 1],
        [1, 2],
        [2, 3],
      ],
    ],
    [
      "letters of a syllable",
      nfc,
      "\u1112\u1161\u11ab!",
      "한!",
      [
        [0, 1],
        [3, 4],
      ],
    ],
    ["a syllable takes a final", nfc, "하\u11ab", "한", [[0, 1]]],
    [
      "a character that is always taken apart",
      nfc,
      "\u0958x",
      "\u0915\u093cx",
      [
        [0, 1],
        [0, 1],
        [1, 2],
      ],
    ],
    [
      "marks change places",
      nfc,
      "e\u0301\u0323",
      "\u1eb9\u0301",
      [
        [0, 1],
        [2, 3],
      ],
    ],
    [
      "taken apart",
      { type: "NFD" },
      "é!",
      "e\u0301!",
      [
        [0, 1],
        [0, 1],
        [1, 2],
      ],
    ],
    [
      "a ligature",
      { type: "NFKC" },
      "ﬁx",
      "fix",
      [
        [0, 1],
        [0, 1],
        [1, 2],
      ],
    ],
    ["half-width kana and their marks", { type: "NFKC" }, "ｶﾞ", "ガ", [[0, 1]]],
    [
      "lower case that is longer",
      { type: "Lowercase" },
      "İΣ",
      "i\u0307σ",
      [
        [0, 1],
        [0, 1],
        [1, 2],
      ],
    ],
    [
      "a prefix belongs to the first character",
      { type: "Prepend", prepend: "▁" },
      "😀",
      "▁😀",
      [
        [0, 2],
        [0, 2],
      ],
    ],
    ["no prefix for nothing", { type: "Prepend", prepend: "▁" }, "", "", []],
    [
      "a replacement stands for all it replaces",
      { type: "Replace", pattern: { Regex: "a+" }, content: "xy" },
      "baac",
      "bxyc",
      [
        [0, 1],
        [1, 3],
        [1, 3],
        [3, 4],
      ],
    ],
    ["stripped", { type: "Strip", strip_left: true, strip_right: true }, "  a ", "a", [[2, 3]]],
    ["all stripped", { type: "Strip", strip_left: true, strip_right: true }, "  ", "", []],
    [
      "accents removed",
      { type: "Sequence", normalizers: [{ type: "NFD" }, { type: "StripAccents" }] },
      "éa",
      "ea",
      [
        [0, 1],
        [1, 2],
      ],
    ],
    [
      "as for BERT",
      { type: "BertNormalizer", clean_text: true, handle_chinese_chars: true, lowercase: true },
      "É\u0000字",
      "e 字 ",
      [
        [0, 1],
        [2, 3],
        [2, 3],
        [2, 3],
      ],
    ],
    [
      "SentencePiece's table",
      { type: "Precompiled", precompiled_charsmap: "" },
      "ａﬁ",
      "afi",
      [
        [0, 1],
        [1, 2],
        [1, 2],
      ],
    ],
  ])("%s", (_, json, text, expected, ranges) => {
    expect(normalized(json, text)).toEqual([expected, ranges]);
  });
  test("random texts come to the same as the platform's forms, every character from somewhere", () => {
    const rng = random(1, "forms");
    for (let i = 0; i < 1000; i++) {
      const text = randomText(rng);
      for (const form of ["NFC", "NFD", "NFKC", "NFKD"]) {
        const piece = normalizerOf({ type: form })(original(text, true));
        expect(piece.text).toBe(text.normalize(form));
        piece.from?.starts.forEach((start, k) => {
          const end = piece.from?.ends[k] ?? 0;
          if (!(start < end && end <= text.length)) throw new Error(`${form} ${JSON.stringify(text)} ${k}`);
        });
      }
    }
  });
  test("an unknown one is an error", () => {
    expect(() => normalizerOf({ type: "Nmt2" })).toThrow('normalizer "Nmt2" is not supported');
  });
});

describe("pre-tokenizers cut", () => {
  const cut = (json: object, text: string) => preTokenizerOf(json)(original(text, false)).map((p) => p.text);
  const split = (behavior: string, invert = false) => ({
    type: "Split",
    pattern: { String: "-" },
    behavior,
    invert,
  });
  test.each([
    [split("Isolated"), "a--b-", ["a", "-", "-", "b", "-"]],
    [split("Removed"), "a--b-", ["a", "b"]],
    [split("Contiguous"), "a--b-", ["a", "--", "b", "-"]],
    [split("MergedWithPrevious"), "a--b-", ["a-", "-", "b-"]],
    [split("MergedWithNext"), "a--b-", ["a", "-", "-b", "-"]],
    [split("Removed", true), "a--b-", ["-", "-", "-"]],
    [{ type: "Digits", individual_digits: true }, "a12½", ["a", "1", "2", "½"]],
    [{ type: "Digits" }, "a12½b", ["a", "12½", "b"]],
    [{ type: "Punctuation" }, "a,b", ["a", ",", "b"]],
    [{ type: "Whitespace" }, "naïve, so\u00a0na", ["naïve", ",", "so", "na"]],
    [{ type: "WhitespaceSplit" }, " a, b ", ["a,", "b"]],
    [{ type: "BertPreTokenizer" }, "a, b", ["a", ",", "b"]],
    [{ type: "CharDelimiterSplit", delimiter: "." }, "a.b", ["a", "b"]],
    [{ type: "FixedLength", length: 2 }, "a😀bc", ["a😀", "bc"]],
    [{ type: "ByteLevel", use_regex: true }, "it's é", ["it", "'s", "ĠÃ©"]],
    [{ type: "ByteLevel", add_prefix_space: true }, "a", ["Ġa"]],
    [{ type: "Metaspace" }, "a  b", ["▁a", "▁", "▁b"]],
    [{ type: "Metaspace", prepend_scheme: "never", split: false }, "a b", ["a▁b"]],
    [{ type: "Sequence", pretokenizers: [split("Removed"), { type: "ByteLevel" }] }, "é-b", ["Ã©", "b"]],
  ])("%j", (json, text, expected) => {
    expect(cut(json, text)).toEqual(expected);
  });
  test("a sign before the first word only, where nothing before it was taken away", () => {
    const { encode } = encoderOf({
      normalizer: { type: "Strip", strip_left: true },
      pre_tokenizer: { type: "Metaspace", prepend_scheme: "first", split: false },
      model: { type: "BPE", vocab: { a: 0, "▁": 1 }, merges: [] },
    });
    expect([encode("a"), encode(" a")]).toEqual([[1, 0], [0]]);
  });
  test("an unknown one, and an unknown behaviour, are errors", () => {
    expect(() => preTokenizerOf({ type: "UnicodeScripts" })).toThrow("is not supported");
    expect(() => preTokenizerOf(split("Sideways"))).toThrow('split behavior "Sideways"');
    expect(() => preTokenizerOf({ type: "Split", pattern: {}, behavior: "Isolated" })).toThrow(
      "is not a pattern",
    );
  });
});

describe("added tokens", () => {
  const find = (tokens: object[], text: string) =>
    finder(addedTokensOf(tokens.map((t, id) => ({ id, special: true, ...t }))))(text).map(
      ([begin, end, token]) => (token ? [begin, end, token.content] : [begin, end]),
    );
  test("the longest counts, the leftmost first", () => {
    expect(find([{ content: "<a>" }, { content: "<a><b>" }, { content: "b>" }], "x<a><b><a>")).toEqual([
      [0, 1],
      [1, 7, "<a><b>"],
      [7, 10, "<a>"],
    ]);
  });
  test("they take whitespace along where they say so", () => {
    expect(find([{ content: "<m>", lstrip: true, rstrip: true }], "a  <m> \n<m>b")).toEqual([
      [0, 1],
      [1, 8, "<m>"],
      [8, 11, "<m>"],
      [11, 12],
    ]);
  });
  test("a single word is found only by itself", () => {
    const tokens = [{ content: "cat", single_word: true }];
    expect(find(tokens, "cat cats é.cat")).toEqual([
      [0, 3, "cat"],
      [3, 11],
      [11, 14, "cat"],
    ]);
    expect(find(tokens, "écat")).toEqual([[0, 4]]);
  });
  test("broken ones are errors", () => {
    expect(() => addedTokensOf([{ id: 1 }])).toThrow("has no id or content");
    expect(() => addedTokensOf({})).toThrow("is not a list");
  });
  test("what is found in the normalized text reads back normalized", () => {
    const token = { id: 2, content: "END", special: true, normalized: true };
    const tokenizer = makeTokenizer({
      normalizer: { type: "Lowercase" },
      added_tokens: [token],
      decoder: { type: "Fuse" },
      model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
    });
    expect([tokenizer.decode([2, 0]), tokenizer.tokenOf(2), tokenizer.idOf("END")]).toEqual([
      "enda",
      "END",
      2,
    ]);
  });
  test("normalized ones are found in the normalized text, with the offsets of the original", () => {
    const encoder = encoderOf({
      normalizer: { type: "Lowercase" },
      added_tokens: [{ id: 9, content: "END", special: false, normalized: true }],
      model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
    });
    expect(encoder.encodeWithOffsets("aEnDB")).toEqual({
      ids: [0, 9, 1],
      offsets: [
        [0, 1],
        [1, 4],
        [4, 5],
      ],
    });
  });
});

describe("byte-pair encoding", () => {
  const vocabulary = (tokens: string[]) => new Map(tokens.map((token, id) => [token, id]));
  /** Merges the first pair of the list, leftmost, again and again. */
  const naive = (word: string, merges: [string, string][]) => {
    const parts = [...word];
    for (;;) {
      let best = Infinity;
      let at = -1;
      for (let i = 0; i + 1 < parts.length; i++) {
        const rank = merges.findIndex(([a, b]) => a === parts[i] && b === parts[i + 1]);
        if (rank >= 0 && rank < best) [best, at] = [rank, i];
      }
      if (at < 0) return parts;
      parts.splice(at, 2, parts[at] + parts[at + 1]);
    }
  };
  test("merges as a search for the best pair does, random merges and words", () => {
    const rng = random(1, "bpe");
    for (let round = 0; round < 200; round++) {
      const tokens = ["a", "b", "c", "😀"];
      const merges: [string, string][] = [];
      for (let k = 0; k < 12; k++) {
        const [l, r] = [tokens[rng.integer(tokens.length)], tokens[rng.integer(tokens.length)]];
        if (tokens.includes(l + r)) continue;
        merges.push([l, r]);
        tokens.push(l + r);
      }
      const bpe = new Bpe({ merges }, vocabulary(tokens));
      for (let k = 0; k < 10; k++) {
        const word = Array.from({ length: 1 + rng.integer(40) }, () => tokens[rng.integer(4)]).join("");
        const { ids, starts, ends } = bpe.encode(word);
        expect(ids.map((id) => tokens[id])).toEqual(naive(word, merges));
        expect(ids.map((_, i) => word.slice(starts[i], ends[i]))).toEqual(naive(word, merges));
      }
    }
  });
  test("a text of 200,000 characters takes no longer than a moment", () => {
    const merges: [string, string][] = [
      ["a", "a"],
      ["aa", "aa"],
      ["aaaa", "b"],
    ];
    const bpe = new Bpe({ merges }, vocabulary(["a", "b", "aa", "aaaa", "aaaab"]));
    const started = performance.now();
    expect(bpe.encode("aaaab".repeat(40_000)).ids).toHaveLength(40_000);
    expect(performance.now() - started).toBeLessThan(3000);
  });
  test("characters without a token: bytes, or the unknown token, or nothing", () => {
    const ids = vocabulary(["<unk>", "a", "<0xC3>", "<0xA9>"]);
    const encode = (json: object) => new Bpe({ merges: [], ...json }, ids).encode("aéa漢字a");
    expect(encode({ byte_fallback: true, unk_token: "<unk>", fuse_unk: true })).toEqual({
      ids: [1, 2, 3, 1, 0, 1],
      starts: [0, 1, 1, 2, 3, 5],
      ends: [1, 2, 2, 3, 5, 6],
    });
    expect(encode({ unk_token: "<unk>" }).ids).toEqual([1, 0, 1, 0, 0, 1]);
    expect(encode({}).ids).toEqual([1, 1, 1]);
  });
  test("whole words first where merges are to be ignored; prefixes and suffixes of words", () => {
    const ids = vocabulary(["a", "b", "ab", "##b", "b</w>"]);
    expect(new Bpe({ merges: [], ignore_merges: true }, ids).encode("ab").ids).toEqual([2]);
    expect(new Bpe({ merges: ["a ##b"], continuing_subword_prefix: "##" }, ids).encode("ab").ids).toEqual([
      2,
    ]);
    expect(new Bpe({ merges: [], end_of_word_suffix: "</w>" }, ids).encode("ab").ids).toEqual([0, 4]);
  });
  test("a merge of what is no token is an error", () => {
    expect(() => new Bpe({ merges: ["a z"] }, vocabulary(["a"]))).toThrow('merge 0, "a z"');
  });
});

describe("other models", () => {
  test("WordPiece: the longest piece from the left, a word that does not come out is unknown", () => {
    const { encodeWithOffsets } = encoderOf({
      pre_tokenizer: { type: "BertPreTokenizer" },
      model: { type: "WordPiece", vocab: { "[UNK]": 0, un: 1, "##aff": 2, "##able": 3 }, unk_token: "[UNK]" },
    });
    expect(encodeWithOffsets("unaffable xyz un")).toEqual({
      ids: [1, 2, 3, 0, 1],
      offsets: [
        [0, 2],
        [2, 5],
        [5, 9],
        [10, 13],
        [14, 16],
      ],
    });
  });
  test("Unigram: the likeliest split, unknown neighbours are one", () => {
    const vocab = [
      ["<unk>", 0],
      ["▁", -3],
      ["a", -2],
      ["b", -2],
      ["ab", -1.5],
      ["▁ab", -1],
    ];
    const { encodeWithOffsets } = encoderOf({
      pre_tokenizer: { type: "Metaspace" },
      model: { type: "Unigram", vocab, unk_id: 0 },
    });
    expect(encodeWithOffsets("abb ZZa")).toEqual({
      ids: [5, 3, 1, 0, 2],
      offsets: [
        [0, 2],
        [2, 3],
        [3, 4],
        [4, 6],
        [6, 7],
      ],
    });
  });
  test("an unknown one is an error", () => {
    expect(() => encoderOf({ model: { type: "WordLevel", vocab: {} } })).toThrow(
      'model "WordLevel" is not supported',
    );
    expect(() => encoderOf({})).toThrow("model null is not supported");
  });
});

describe("decoders", () => {
  const decode = (json: object, ...pieces: string[]) => decoderOf(json)(pieces).join("");
  const pieces = {
    type: "Sequence",
    decoders: [
      { type: "Replace", pattern: { String: "▁" }, content: " " },
      { type: "ByteFallback" },
      { type: "Fuse" },
      { type: "Strip", content: " ", start: 1, stop: 0 },
    ],
  };
  test.each([
    ["bytes of a character", pieces, ["▁a", "<0xE2>", "<0x82>", "<0xAC>"], "a€"],
    ["bytes that are no text: one sign each", pieces, ["<0xE2>", "<0x82>", "a"], "\uFFFD\uFFFDa"],
    ["a byte-order mark stays", pieces, ["<0xEF>", "<0xBB>", "<0xBF>", "a"], "\uFEFFa"],
    ["one leading space goes", pieces, ["▁▁", "a"], " a"],
    ["byte symbols", { type: "ByteLevel" }, ["Ã", "©", "Ġa"], "é a"],
    ["a token that is not of byte symbols", { type: "ByteLevel" }, ["a", "<漢 x>", "Ġb"], "a<漢 x> b"],
    [
      "WordPiece",
      { type: "WordPiece", prefix: "##", cleanup: true },
      ["un", "##able", ",", "no"],
      "unable, no",
    ],
    ["Metaspace", { type: "Metaspace" }, ["▁a", "▁b"], "a b"],
    ["word ends", { type: "BPEDecoder", suffix: "</w>" }, ["a", "b</w>", "c</w>"], "ab c"],
  ])("%s", (_, json, given, expected) => {
    expect(decode(json, ...given)).toBe(expected);
  });
  test("without one, tokens are set apart", () => expect(decoderOf(null)(["a", "b"])).toEqual(["a b"]));
  test("an unknown one is an error", () => expect(() => decoderOf({ type: "X" })).toThrow('decoder "X"'));
});

describe("special tokens around a text", () => {
  const around = {
    type: "TemplateProcessing",
    single: [{ SpecialToken: { id: "<s>" } }, { Sequence: { id: "A" } }, { SpecialToken: { id: "</s>" } }],
    special_tokens: { "<s>": { ids: [5] }, "</s>": { ids: [6, 7] } },
  };
  test.each([
    [null, [], []],
    [around, [5], [6, 7]],
    [{ type: "BertProcessing", cls: ["[CLS]", 1], sep: ["[SEP]", 2] }, [1], [2]],
    [{ type: "Sequence", processors: [{ type: "ByteLevel" }, around] }, [5], [6, 7]],
  ])("%j", (json, before, after) => {
    expect(surroundingsOf(json)).toEqual({ before, after });
  });
  test("are added when asked for, and are nowhere in the text", () => {
    const tokenizer = makeTokenizer({
      model: { type: "BPE", vocab: { a: 0, b: 1 }, merges: [] },
      post_processor: around,
    });
    expect(tokenizer.encodeWithOffsets("ab", { addSpecialTokens: true })).toEqual({
      ids: [5, 0, 1, 6, 7],
      offsets: [
        [0, 0],
        [0, 1],
        [1, 2],
        [0, 0],
        [0, 0],
      ],
    });
    expect([tokenizer.prefixIds, tokenizer.suffixIds]).toEqual([[5], [6, 7]]);
  });
  test("one that is named and not defined is an error", () => {
    expect(() => surroundingsOf({ ...around, special_tokens: {} })).toThrow('names "<s>"');
  });
});
