/** Tokenizers of GGUF files: a real one, real ones written and read back, and files that leave things out. */
import { beforeAll, describe, expect, test } from "vitest";
import { sharedFile, smolLm2 } from "../../../test/shared.ts";
import { random } from "../../engine/random.ts";
import { RequestError } from "../../errors.ts";
import {
  type GgufMetadata,
  type GgufValue,
  bool,
  metadataReader,
  string,
  strings,
  u32,
} from "../../formats/gguf-metadata.ts";
import { renderChat } from "../chat.ts";
import { byteSymbols } from "../encoding/pre-tokenizers.ts";
import { type Installed, expectedOf, families, installed, randomText } from "../testing.ts";
import { type Tokenizer, loadTokenizer, makeTokenizer } from "../tokenizer.ts";
import { mergesByScore, mergesOfGemma } from "./merges.ts";
import { wordRules } from "./pre-tokenizers.ts";
import { hasGgufTokenizer, tokenizerFromGguf } from "./read.ts";
import { type WrittenFor, tokenizerToGguf } from "./write.ts";

const smol = sharedFile(smolLm2);

describe.skipIf(!smol)("SmolLM2's file", () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await loadTokenizer(smol ?? "");
  });
  test("gives the expected ids and decodes them", async () => {
    const { tokenization } = await expectedOf("smollm2");
    expect(tokenization).toHaveLength(40);
    for (const { text, ids, decoded } of tokenization) {
      expect(tokenizer.encode(text), text).toEqual(ids);
      expect(tokenizer.decode(ids)).toBe(decoded);
    }
  });
  test("renders the expected conversations", async () => {
    for (const { messages, addGenerationPrompt, text, ids } of (await expectedOf("smollm2")).chat ?? []) {
      const rendered = renderChat(tokenizer, messages, { addGenerationPrompt });
      expect(rendered).toBe(text);
      expect(tokenizer.encode(rendered)).toEqual(ids);
    }
  });
  test("names its special tokens", () => {
    expect([tokenizer.beginId, tokenizer.endId, tokenizer.prefixIds]).toEqual([1, 2, []]);
    expect([tokenizer.isSpecial(2), tokenizer.isSpecial(504)]).toEqual([true, false]);
  });
});

const architectures: Record<string, string> = { gemma2: "gemma2", qwen3: "qwen3" };
const targetOf = ({ tokenizer }: Installed, name: string, more: Partial<WrittenFor> = {}): WrittenFor => ({
  architecture: architectures[name] ?? "llama",
  vocabularySize: 300_000,
  addsBegin: tokenizer.prefixIds.length > 0,
  addsEnd: false,
  where: "model.gguf",
  ...more,
});
const readBack = (metadata: GgufMetadata, architecture: string) => {
  const all = new Map([["general.architecture", string(architecture)], ...metadata]);
  return tokenizerFromGguf(metadataReader(all, "model.gguf"));
};

const rng = random(3, "texts");
const texts = Array.from({ length: 300 }, () => randomText(rng));

describe.each(families)("%s", (name) => {
  let real: Installed | undefined;
  let again: Tokenizer;
  let metadata: GgufMetadata;
  beforeAll(async () => {
    real = await installed(name);
    if (!real) return;
    const written = tokenizerToGguf(real.files, targetOf(real, name));
    expect(written.warnings).toEqual([]);
    expect(written.metadata.has("tokenizer.huggingface.json")).toBe(false);
    metadata = written.metadata;
    const read = readBack(metadata, targetOf(real, name).architecture);
    expect(read.warnings).toEqual([]);
    again = makeTokenizer(read.tokenizerJson, read.tokenizerConfigJson);
  });
  test("written as GGUF metadata and read back gives the expected ids", ({ skip }) => {
    if (!real) return skip();
    for (const { text, ids, idsWithSpecialTokens, decoded } of real.expected.tokenization) {
      expect(again.encode(text), text).toEqual(ids);
      expect(again.decode(ids)).toBe(decoded);
      if (idsWithSpecialTokens) expect([...again.prefixIds, ...ids]).toEqual(idsWithSpecialTokens);
    }
  });
  test("and the same ids for random texts", ({ skip }) => {
    if (!real) return skip();
    for (const text of texts)
      expect(again.encode(text), JSON.stringify(text)).toEqual(real.tokenizer.encode(text));
  });
  test("and the same special tokens, conversations and word rules", ({ skip }) => {
    if (!real) return skip();
    const { tokenizer, expected } = real;
    for (const key of ["beginId", "endId", "beginToken", "endToken", "prefixIds"] as const)
      expect(again[key]).toEqual(tokenizer[key]);
    for (const { messages, tools, addGenerationPrompt, text } of expected.chat ?? [])
      expect(renderChat(again, messages, { addGenerationPrompt, ...(tools && { tools }) })).toBe(text);
    const names = {
      llama3: "llama-bpe",
      qwen3: "qwen2",
      mistral_nemo: "tekken",
      gemma2: "default",
      llama2: "default",
    };
    expect(metadata.get("tokenizer.ggml.pre")?.value).toBe(names[name]);
  });
});

/** A byte-level tokenizer of 256 bytes and a few merges. */
function small(extra: Record<string, GgufValue> = {}): GgufMetadata {
  const tokens = [...byteSymbols, "ab", "12", "<|end|>", "<tool>"];
  return new Map<string, GgufValue>([
    ["tokenizer.ggml.model", string("gpt2")],
    ["tokenizer.ggml.tokens", strings(tokens)],
    [
      "tokenizer.ggml.token_type",
      { type: "array", of: "i32", value: Int32Array.from([...tokens.slice(2).map(() => 1), 3, 4]) },
    ],
    ["tokenizer.ggml.merges", strings(["a b", "1 2"])],
    ["tokenizer.ggml.eos_token_id", u32(258)],
    ...Object.entries(extra),
  ]);
}
const open = (metadata: GgufMetadata, architecture = "llama") => {
  const read = readBack(metadata, architecture);
  return { tokenizer: makeTokenizer(read.tokenizerJson, read.tokenizerConfigJson), warnings: read.warnings };
};

describe("files of a few tokens", () => {
  test.each(Object.keys(wordRules))('pre-tokenizer "%s" is known', (name) => {
    const { tokenizer, warnings } = open(small({ "tokenizer.ggml.pre": string(name) }));
    expect(warnings).toEqual([]);
    expect(tokenizer.decode(tokenizer.encode("ab 12 ½ x<|end|>"))).toBe("ab 12 ½ x<|end|>");
    // Where every numeric character stands alone, "12" is never merged.
    const alone = !["gpt-2", "olmo", "mpt", "phi-2", "llama-bpe", "llama3", "llama-v3"].includes(name);
    expect(tokenizer.encode("12")).toHaveLength(alone ? 2 : 1);
  });
  test("an unknown pre-tokenizer, or none, is warned of and read as GPT-2's", () => {
    expect(open(small()).warnings).toEqual([expect.stringContaining("has no name")]);
    const { tokenizer, warnings } = open(small({ "tokenizer.ggml.pre": string("newest") }));
    expect(warnings).toEqual([expect.stringContaining('"newest" is not known')]);
    expect(tokenizer.encode("ab12")).toEqual([256, 257]);
  });
  test("control tokens are special, user-defined ones are found and are not", () => {
    const { tokenizer } = open(small({ "tokenizer.ggml.pre": string("gpt-2") }));
    expect(tokenizer.encode("<tool>ab<|end|>")).toEqual([259, 256, 258]);
    expect([258, 259].map((id) => tokenizer.isSpecial(id))).toEqual([true, false]);
    expect(tokenizer.decode([259, 258], { skipSpecialTokens: true })).toBe("<tool>");
  });
  test("begin and end tokens are added where the file says so", () => {
    const extra = {
      "tokenizer.ggml.pre": string("gpt-2"),
      "tokenizer.ggml.bos_token_id": u32(258),
      "tokenizer.ggml.add_bos_token": bool(true),
    };
    expect(open(small(extra)).tokenizer.prefixIds).toEqual([258]);
  });
  test("several chat templates: named ones beside the default", () => {
    const { tokenizerConfigJson } = readBack(
      small({
        "tokenizer.chat_template": string("main"),
        "tokenizer.chat_templates": strings(["tool_use"]),
        "tokenizer.chat_template.tool_use": string("tools"),
      }),
      "llama",
    );
    expect(tokenizerConfigJson.chat_template).toEqual([
      { name: "default", template: "main" },
      { name: "tool_use", template: "tools" },
    ]);
  });
  test("a whole tokenizer.json in the file is preferred", () => {
    const { tokenizerJson } = readBack(small({ "tokenizer.ggml.pre": string("qwen2") }), "llama");
    const metadata = new Map<string, GgufValue>([
      ["tokenizer.huggingface.json", string(JSON.stringify(tokenizerJson))],
      ["tokenizer.ggml.eos_token_id", u32(258)],
    ]);
    const { tokenizer } = open(metadata);
    expect([tokenizer.encode("ab"), tokenizer.endToken]).toEqual([[256], "<|end|>"]);
  });
  test("a tokenizer that GGUF's terms do not say goes along whole, with a warning", () => {
    const { tokenizerJson, tokenizerConfigJson } = readBack(
      small({ "tokenizer.ggml.pre": string("gpt-2") }),
      "llama",
    );
    const odd = { ...tokenizerJson, normalizer: { type: "Lowercase" } };
    const target = {
      architecture: "llama",
      vocabularySize: 264,
      addsBegin: false,
      addsEnd: false,
      where: "model.gguf",
    };
    const { metadata, warnings } = tokenizerToGguf({ tokenizerJson: odd, tokenizerConfigJson }, target);
    expect(warnings).toEqual([expect.stringContaining("normalizer")]);
    expect(open(metadata).tokenizer.encode("AB")).toEqual([256]);
    expect(() =>
      tokenizerToGguf({ tokenizerJson: odd, tokenizerConfigJson }, { ...target, vocabularySize: 200 }),
    ).toThrow("the tokenizer has 260 tokens and the model 200");
    expect(() =>
      tokenizerToGguf({ tokenizerJson: { model: { type: "Unigram" } }, tokenizerConfigJson }, target),
    ).toThrow("only BPE is written");
  });
  test.each([
    ["an unknown kind", { "tokenizer.ggml.model": string("t5") }, 'kind "t5" are not supported'],
    ["no tokens", { "tokenizer.ggml.tokens": u32(1) }, "not a list of strings"],
    ["broken merges", { "tokenizer.ggml.merges": strings(["ab"]) }, "is not two parts"],
    [
      "types for other tokens",
      { "tokenizer.ggml.token_type": { type: "array", of: "i32", value: Int32Array.of(1) } as GgufValue },
      "1 types for 260 tokens",
    ],
    ["no scores", { "tokenizer.ggml.model": string("llama") }, "0 scores for 260 tokens"],
  ])("%s: an error that names the key", (_, extra, reason) => {
    const read = () => open(small(extra as Record<string, GgufValue>));
    expect(read).toThrow(RequestError);
    expect(read).toThrow(reason);
    expect(read).toThrow("model.gguf");
  });
  test("a file without a tokenizer says so", () => {
    const has = (entries: [string, GgufValue][]) =>
      hasGgufTokenizer(metadataReader(new Map(entries), "x.gguf"));
    expect(has([["tokenizer.ggml.model", string("none")]])).toBe(false);
    expect(has([])).toBe(false);
    expect(has([["tokenizer.ggml.model", string("gpt2")]])).toBe(true);
  });
});

describe("merges out of scores", () => {
  test("better pieces first, of each the longer left part first", () => {
    const pieces = ["<unk>", "a", "b", "ab", "ba", "aba", "😀", "😀a"];
    const scores = [0, -9, -9, -1, -2, -1.5, -9, -3];
    expect(mergesByScore(pieces, scores, (id) => id > 0)).toEqual([
      ["a", "b"],
      ["ab", "a"],
      ["a", "ba"],
      ["b", "a"],
      ["😀", "a"],
    ]);
  });
  test("Gemma: runs first, then by id", () => {
    const pieces = ["▁", "a", "▁a", "▁▁", "▁▁▁"];
    expect(mergesOfGemma(pieces, () => true)).toEqual([
      ["▁▁", "▁"],
      ["▁", "▁▁"],
      ["▁", "▁"],
      ["▁", "a"],
    ]);
  });
});
