/**
 * The tokenizer of a GGUF file as the files of a Hugging Face folder: tokenizer.json and tokenizer_config.json. Files hold
 * the vocabulary and a name for the rest ("gpt2": byte-level BPE; "llama": SentencePiece-style BPE); the rest is put together
 * here as in the tokenizer.json of the models that the names come from.
 */
import { RequestError } from "../../errors.ts";
import type { MetadataReader } from "../../formats/gguf-metadata.ts";
import { mergesByScore, mergesOfGemma } from "./merges.ts";
import { preTokenizerOf, wordRules } from "./pre-tokenizers.ts";

export type Json = Record<string, unknown>;

export interface TokenizerFiles {
  readonly tokenizerJson: Json;
  readonly tokenizerConfigJson: Json;
  /** What could not be read exactly. */
  readonly warnings: readonly string[];
}

/** `tokenizer.ggml.token_type` */
export const tokenTypes = { normal: 1, unknown: 2, control: 3, userDefined: 4, unused: 5, byte: 6 } as const;

interface Vocabulary {
  readonly read: MetadataReader;
  readonly tokens: readonly string[];
  /** Of each token. */
  readonly types: ArrayLike<number>;
  readonly warnings: string[];
}

/** Parts of a tokenizer.json that differ between kinds. */
interface Kind {
  readonly model: Json;
  readonly normalizer: Json | null;
  readonly preTokenizer: Json | null;
  readonly decoder: Json;
  /** Whether a begin token is added where the file does not say. */
  readonly addsBegin: boolean;
  /** Ids of begin, end and unknown token where the file does not say. */
  readonly usualIds: Readonly<Record<string, number>>;
}

const kinds: Readonly<Record<string, (vocabulary: Vocabulary) => Kind>> = { gpt2: byteLevel, llama: pieces };

/** Whether a file has a tokenizer. */
export const hasGgufTokenizer = (read: MetadataReader): boolean =>
  read.optionalText("tokenizer.huggingface.json") !== undefined ||
  !["none", "no_vocab"].includes(read.text("tokenizer.ggml.model", "none"));

/** Throws a RequestError for a kind of tokenizer that is not known, and for lists that do not fit together. */
export function tokenizerFromGguf(read: MetadataReader): TokenizerFiles {
  const warnings: string[] = [];
  const full = read.optionalText("tokenizer.huggingface.json");
  if (full !== undefined) {
    const tokenizerJson = parse(full, read);
    const tokenOf = tokensOf(tokenizerJson);
    return { tokenizerJson, tokenizerConfigJson: configJson(read, tokenOf, {}), warnings };
  }
  const model = read.text("tokenizer.ggml.model");
  if (!Object.hasOwn(kinds, model)) {
    throw new RequestError({
      code: "tokenizer-unsupported",
      what: `tokenizers of kind "${model}" are not supported`,
      where: read.path,
      why: `of GGUF files prefopt knows: ${Object.keys(kinds).join(", ")}`,
      fix: "Give token ids instead of text",
    });
  }
  const tokens = read.texts("tokenizer.ggml.tokens");
  if (!tokens) throw read.invalid("tokenizer.ggml.tokens", "it is missing");
  const types =
    read.numbers("tokenizer.ggml.token_type") ?? new Uint8Array(tokens.length).fill(tokenTypes.normal);
  if (types.length !== tokens.length)
    throw read.invalid("tokenizer.ggml.token_type", `${types.length} types for ${tokens.length} tokens`);
  const kind = kinds[model]({ read, tokens, types, warnings });
  const ids = (key: string) => read.optionalNumber(`tokenizer.ggml.${key}_token_id`) ?? kind.usualIds[key];
  const named = (id: number | undefined) => (id === undefined ? undefined : tokens[id]);
  const begin = read.flag("tokenizer.ggml.add_bos_token", kind.addsBegin) ? named(ids("bos")) : undefined;
  const end = read.flag("tokenizer.ggml.add_eos_token", false) ? named(ids("eos")) : undefined;
  return {
    tokenizerJson: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: addedTokens(read, tokens, types),
      normalizer: kind.normalizer,
      pre_tokenizer: kind.preTokenizer,
      post_processor: surrounding(begin, end, (token) => tokens.indexOf(token)),
      decoder: kind.decoder,
      model: kind.model,
    },
    tokenizerConfigJson: configJson(read, (id) => tokens[id], kind.usualIds),
    warnings,
  };
}

/** Byte-level BPE, as in GPT-2: words are cut by patterns, then their bytes are merged. */
function byteLevel({ read, tokens, warnings }: Vocabulary): Kind {
  const name = read.text("tokenizer.ggml.pre", "");
  if (!Object.hasOwn(wordRules, name)) {
    warnings.push(
      `its pre-tokenizer ${name === "" ? "has no name" : `"${name}" is not known`}: words are cut as in GPT-2`,
    );
  }
  const rules = Object.hasOwn(wordRules, name) ? wordRules[name] : wordRules["gpt-2"];
  const merges = read.texts("tokenizer.ggml.merges");
  if (!merges) throw read.invalid("tokenizer.ggml.merges", "it is missing");
  const broken = merges.find((merge) => !/^[^ ]+ [^ ]+$/.test(merge));
  if (broken !== undefined)
    throw read.invalid(
      "tokenizer.ggml.merges",
      `${JSON.stringify(broken)} is not two parts with a space between`,
    );
  return {
    model: bpe(tokens, merges, { ignore_merges: rules.ignoreMerges ?? false }),
    normalizer: rules.normalizer ? { type: rules.normalizer } : null,
    preTokenizer: preTokenizerOf(rules),
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    addsBegin: rules.addsBegin ?? false,
    usualIds: {},
  };
}

/** SentencePiece-style BPE, as in Llama 2: spaces are ▁, characters without a piece become bytes. */
function pieces({ read, tokens, types }: Vocabulary): Kind {
  const isGemma = read.text("general.architecture", "").startsWith("gemma");
  // Gemma's files write the runs of ▁ that its users defined as real spaces.
  const vocabulary = isGemma
    ? tokens.map((t, i) => (isRunOfSpaces(t, types[i]) ? "▁".repeat(t.length) : t))
    : tokens;
  const scores = read.numbers("tokenizer.ggml.scores");
  if (!scores || scores.length !== tokens.length)
    throw read.invalid("tokenizer.ggml.scores", `${scores?.length ?? 0} scores for ${tokens.length} tokens`);
  const isNormal = (id: number) => types[id] === tokenTypes.normal;
  const merges = isGemma
    ? mergesOfGemma(vocabulary, (id) => isNormal(id) || types[id] === tokenTypes.userDefined)
    : mergesByScore(vocabulary, scores, isNormal);
  const prefix = read.flag("tokenizer.ggml.add_space_prefix", !isGemma);
  const unknown = read.number("tokenizer.ggml.unknown_token_id", 0);
  const spaces = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const restore = { type: "Replace", pattern: { String: "▁" }, content: " " };
  const strip = { type: "Strip", content: " ", start: 1, stop: 0 };
  return {
    model: bpe(vocabulary, merges, {
      unk_token: tokens[unknown] ?? null,
      fuse_unk: true,
      byte_fallback: true,
    }),
    normalizer: prefix
      ? { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, spaces] }
      : spaces,
    preTokenizer: null,
    decoder: {
      type: "Sequence",
      decoders: [restore, { type: "ByteFallback" }, { type: "Fuse" }, ...(prefix ? [strip] : [])],
    },
    addsBegin: true,
    usualIds: { bos: 1, eos: 2, unknown: 0 },
  };
}

const isRunOfSpaces = (token: string, type: number) => type === tokenTypes.userDefined && /^ +$/.test(token);

function bpe(tokens: readonly string[], merges: readonly unknown[], more: Json): Json {
  return {
    type: "BPE",
    dropout: null,
    unk_token: null,
    continuing_subword_prefix: null,
    end_of_word_suffix: null,
    fuse_unk: false,
    byte_fallback: false,
    ignore_merges: false,
    ...more,
    // Of two equal tokens the first counts.
    vocab: Object.fromEntries(tokens.map((token, id): [string, number] => [token, id]).reverse()),
    merges,
  };
}

/** Tokens that are found in a text before anything else is done with it. */
function addedTokens(read: MetadataReader, tokens: readonly string[], types: ArrayLike<number>): Json[] {
  const isPhi3 = read.text("general.architecture", "") === "phi3";
  const isGemma = read.text("general.architecture", "").startsWith("gemma");
  const added: Json[] = [];
  tokens.forEach((token, id) => {
    const special = types[id] === tokenTypes.control || types[id] === tokenTypes.unknown;
    if (!special && types[id] !== tokenTypes.userDefined) return;
    added.push({
      id,
      content: isGemma && isRunOfSpaces(token, types[id]) ? "▁".repeat(token.length) : token,
      single_word: false,
      lstrip: false,
      // The turn markers of Phi-3 take the space after them; its files cannot say so.
      rstrip: isPhi3 && !["<unk>", "<s>", "<|endoftext|>"].includes(token),
      normalized: false,
      special,
    });
  });
  return added;
}

/** The post-processor that puts a begin and an end token around a text; null where there is none. */
export function surrounding(
  begin: string | undefined,
  end: string | undefined,
  idOf: (token: string) => number,
): Json | null {
  const special = (token: string | undefined, type: number) =>
    token === undefined ? [] : [{ SpecialToken: { id: token, type_id: type } }];
  const around = (name: string, type: number) => [
    ...special(begin, type),
    { Sequence: { id: name, type_id: type } },
    ...special(end, type),
  ];
  const used = [...new Set([begin, end])].filter((t) => t !== undefined);
  if (used.length === 0) return null;
  return {
    type: "TemplateProcessing",
    single: around("A", 0),
    pair: [...around("A", 0), ...around("B", 1)],
    special_tokens: Object.fromEntries(used.map((t) => [t, { id: t, ids: [idOf(t)], tokens: [t] }])),
  };
}

/** tokenizer_config.json: the names of special tokens, and the chat templates. */
function configJson(
  read: MetadataReader,
  tokenOf: (id: number) => string | undefined,
  usualIds: Readonly<Record<string, number>>,
): Json {
  const token = (key: string) => {
    const id = read.optionalNumber(`tokenizer.ggml.${key}_token_id`) ?? usualIds[key];
    return (id === undefined ? undefined : tokenOf(id)) ?? null;
  };
  const context = read.optionalNumber(`${read.text("general.architecture", "")}.context_length`);
  const template = chatTemplate(read);
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: token("bos"),
    eos_token: token("eos"),
    unk_token: token("unknown"),
    pad_token: token("padding"),
    clean_up_tokenization_spaces: false,
    ...(context !== undefined && { model_max_length: context }),
    ...(template !== undefined && { chat_template: template }),
  };
}

/** One template, or a list of named ones: "default" and those that `tokenizer.chat_templates` names. */
function chatTemplate(read: MetadataReader): string | Json[] | undefined {
  const main = read.optionalText("tokenizer.chat_template");
  const names = read.texts("tokenizer.chat_templates") ?? [];
  const named = names.flatMap((name) => {
    const template = read.optionalText(`tokenizer.chat_template.${name}`);
    return template === undefined ? [] : [{ name, template }];
  });
  if (named.length === 0) return main;
  return main === undefined ? named : [{ name: "default", template: main }, ...named];
}

function parse(text: string, read: MetadataReader): Json {
  try {
    return JSON.parse(text) as Json;
  } catch (cause) {
    throw read.invalid("tokenizer.huggingface.json", (cause as Error).message);
  }
}

function tokensOf({ model, added_tokens: added }: Json): (id: number) => string | undefined {
  const { vocab = {} } = (model ?? {}) as { vocab?: Record<string, number> };
  const byId = new Map(Object.entries(vocab).map(([token, id]) => [id, token]));
  for (const { id, content } of (added ?? []) as { id: number; content: string }[]) byId.set(id, content);
  return (id) => byId.get(id);
}
