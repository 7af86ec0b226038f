/**
 * Damaged tokenizer files, 500 of each kind of tokenizer, and 500 tokenizer_config.json: a tokenizer whose ids are ids, or one clear
 * error when it is loaded or used; nothing hangs.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import { damagedText } from "../formats/testing.ts";
import { renderChat } from "./chat.ts";
import { byteSymbols } from "./encoding/pre-tokenizers.ts";
import { loadTokenizer } from "./tokenizer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-fuzz-"));
});
afterAll(() => rm(folder, { recursive: true }));

const numbered = (tokens: readonly string[]) => Object.fromEntries(tokens.map((token, id) => [token, id]));
const added = (id: number, content: string) => ({
  id,
  content,
  special: true,
  single_word: false,
  lstrip: false,
  rstrip: false,
  normalized: false,
});
const letters = [..."abcdefghijklmnopqrstuvwxyz"];

const tokenizers: Readonly<Record<string, object>> = {
  "bytes, like GPT-2 and Llama 3": {
    version: "1.0",
    added_tokens: [added(258, "<|end|>"), added(259, "<|begin|>")],
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFC" }, { type: "Replace", pattern: { String: "q" }, content: "k" }],
    },
    pre_tokenizer: {
      type: "Sequence",
      pretokenizers: [
        {
          type: "Split",
          pattern: { Regex: "\\p{N}{1,3}| ?\\p{L}+|\\s+" },
          behavior: "Isolated",
          invert: false,
        },
        { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
      ],
    },
    post_processor: {
      type: "TemplateProcessing",
      single: [{ SpecialToken: { id: "<|begin|>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
      pair: [],
      special_tokens: { "<|begin|>": { id: "<|begin|>", ids: [259], tokens: ["<|begin|>"] } },
    },
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: true,
      vocab: numbered([...byteSymbols, "he", "Ġthe"]),
      merges: ["h e", ["Ġt", "he"]].slice(0, 1),
    },
  },
  "byte fallback, like Llama 2 and Gemma": {
    added_tokens: [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
    normalizer: {
      type: "Sequence",
      normalizers: [
        { type: "Prepend", prepend: "▁" },
        { type: "Replace", pattern: { String: " " }, content: "▁" },
      ],
    },
    pre_tokenizer: null,
    post_processor: null,
    decoder: {
      type: "Sequence",
      decoders: [
        { type: "Replace", pattern: { String: "▁" }, content: " " },
        { type: "ByteFallback" },
        { type: "Fuse" },
        { type: "Strip", content: " ", start: 1, stop: 0 },
      ],
    },
    model: {
      type: "BPE",
      unk_token: "<unk>",
      fuse_unk: true,
      byte_fallback: true,
      vocab: numbered([
        "<unk>",
        "<s>",
        "</s>",
        ...Array.from({ length: 256 }, (_, b) => `<0x${b.toString(16).toUpperCase().padStart(2, "0")}>`),
        "▁",
        ...letters,
        "th",
        "the",
      ]),
      merges: ["t h", "th e"],
    },
  },
  "word pieces": {
    added_tokens: [added(0, "[UNK]"), added(1, "[CLS]"), added(2, "[SEP]")],
    normalizer: {
      type: "BertNormalizer",
      clean_text: true,
      handle_chinese_chars: true,
      strip_accents: null,
      lowercase: true,
    },
    pre_tokenizer: { type: "BertPreTokenizer" },
    post_processor: { type: "BertProcessing", sep: ["[SEP]", 2], cls: ["[CLS]", 1] },
    decoder: { type: "WordPiece", prefix: "##", cleanup: true },
    model: {
      type: "WordPiece",
      unk_token: "[UNK]",
      continuing_subword_prefix: "##",
      max_input_chars_per_word: 100,
      vocab: numbered(["[UNK]", "[CLS]", "[SEP]", ...letters, ...letters.map((c) => `##${c}`), "the"]),
    },
  },
  "likeliest pieces": {
    added_tokens: [added(0, "<unk>")],
    normalizer: {
      type: "Sequence",
      normalizers: [{ type: "NFKC" }, { type: "Lowercase" }, { type: "StripAccents" }],
    },
    pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    post_processor: null,
    decoder: { type: "Metaspace", replacement: "▁", prepend_scheme: "always", split: true },
    model: {
      type: "Unigram",
      unk_id: 0,
      byte_fallback: false,
      vocab: [["<unk>", 0], ["▁", -2], ...letters.map((c, i) => [c, -3 - i / 10]), ["▁the", -1.5]],
    },
  },
};
const config = {
  bos_token: "<s>",
  eos_token: {
    content: "</s>",
    lstrip: false,
    normalized: false,
    rstrip: false,
    single_word: false,
    special: true,
  },
  unk_token: null,
  add_bos_token: true,
  chat_template:
    "{% for m in messages %}{{ '<s>' + m['role'] + '\n' + m['content'] | trim + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ bos_token }}{% endif %}",
  model_max_length: 1e30,
  tokenizer_class: "PreTrainedTokenizerFast",
};
const texts = ["The quick fox, 1234 times.", " the\n\nend ", "naïve 漢字 😀\ud800", "<|begin|></s>", ""];

/** Loads and uses a tokenizer; returns whether it was refused. */
async function refused(place: string, about: string): Promise<boolean> {
  const began = performance.now();
  const error: unknown = await use(place).catch((e: unknown) => e);
  expect((performance.now() - began) / 1000, about).toBeLessThan(2);
  if (error === undefined) return false;
  if (!(error instanceof RequestError)) throw new Error(about, { cause: error });
  expect(error.message.split("\n"), about).toHaveLength(1);
  expect(error.message.length, about).toBeLessThan(2000);
  return true;
}

async function use(place: string): Promise<undefined> {
  const tokenizer = await loadTokenizer(place);
  for (const text of texts) {
    const { ids, offsets } = tokenizer.encodeWithOffsets(text, { addSpecialTokens: true });
    expect(offsets).toHaveLength(ids.length);
    for (const id of ids) if (!Number.isSafeInteger(id) || id < 0) throw new Error(`id ${String(id)}`);
    for (const skipSpecialTokens of [true, false]) tokenizer.decode(ids, { skipSpecialTokens });
    tokenizer.encode(text);
  }
  renderChat(tokenizer, [{ role: "user", content: "the" }], { addGenerationPrompt: true });
  return undefined;
}

test.each(Object.entries(tokenizers))(
  "%s: 500 damaged tokenizer.json",
  { timeout: 120_000 },
  async (_, json) => {
    const place = await mkdtemp(join(folder, "tokenizer-"));
    await writeFile(join(place, "tokenizer_config.json"), JSON.stringify(config));
    await writeFile(join(place, "tokenizer.json"), JSON.stringify(json));
    expect(await refused(place, "as it is")).toBe(false);
    let count = 0;
    for (let seed = 0; seed < 500; seed++) {
      await writeFile(join(place, "tokenizer.json"), damagedText(json, random(seed, "tokenizer.json")));
      if (await refused(place, `seed ${seed}`)) count++;
    }
    expect(count).toBeGreaterThan(100);
    expect(count).toBeLessThan(500);
  },
);

test("500 damaged tokenizer_config.json", { timeout: 60_000 }, async () => {
  const place = await mkdtemp(join(folder, "config-"));
  const [json] = Object.values(tokenizers);
  await writeFile(join(place, "tokenizer.json"), JSON.stringify(json));
  for (let seed = 0; seed < 500; seed++) {
    await writeFile(
      join(place, "tokenizer_config.json"),
      damagedText(config, random(seed, "tokenizer_config")),
    );
    await refused(place, `seed ${seed}`);
  }
});
