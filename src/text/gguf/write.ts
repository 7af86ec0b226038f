/**
 * The tokenizer of a Hugging Face folder as metadata of a GGUF file. What is written is read back and compared; where the
 * file's own terms do not say all of the tokenizer, its whole tokenizer.json goes along under the key that is meant for it.
 */
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
import { patternsOf, wordRules } from "./pre-tokenizers.ts";
import { type Json, tokenTypes, tokenizerFromGguf } from "./read.ts";

export interface TokenizerParts {
  readonly tokenizerJson: Readonly<Json>;
  readonly tokenizerConfigJson: Readonly<Json>;
  /** chat_template.jinja; default: the template of tokenizer_config.json. */
  readonly chatTemplate?: string;
}

export interface WrittenFor {
  /** `general.architecture` of the file. */
  readonly architecture: string;
  /** Rows of the embedding; tokens are added up to it. */
  readonly vocabularySize: number;
  /** Ids that end a completion, the tokenizer's own end token among them. */
  readonly endIds?: readonly number[];
  /** Ids that the tokenizer puts before and after a text. */
  readonly addsBegin: boolean;
  readonly addsEnd: boolean;
  readonly where: string;
}

interface AddedToken {
  readonly id: number;
  readonly content: string;
  readonly special?: boolean;
}

interface BpeModel {
  readonly type?: string;
  readonly vocab: Readonly<Record<string, number>>;
  readonly merges: readonly (string | readonly [string, string])[];
  readonly byte_fallback?: boolean;
  readonly unk_token?: string | null;
  readonly ignore_merges?: boolean;
}

export interface WrittenTokenizer {
  readonly metadata: GgufMetadata;
  readonly warnings: readonly string[];
}

/** Throws a RequestError for tokenizers that are not BPE, and for more tokens than the embedding has rows. */
export function tokenizerToGguf(parts: TokenizerParts, target: WrittenFor): WrittenTokenizer {
  const model = parts.tokenizerJson.model as BpeModel;
  if (model.type !== "BPE") {
    throw new RequestError({
      code: "gguf-cannot-say",
      what: "the tokenizer cannot be written as GGUF",
      where: target.where,
      why: `it is of kind ${model.type ?? "unknown"}, and only BPE is written`,
      fix: "Save the model as a Hugging Face folder",
    });
  }
  const added = (parts.tokenizerJson.added_tokens ?? []) as readonly AddedToken[];
  const vocabulary = vocabularyOf(model, added, target);
  const isPieces = model.byte_fallback === true;
  const metadata = new Map<string, GgufValue>();
  const set = (key: string, value: GgufValue) => metadata.set(`tokenizer.ggml.${key}`, value);
  const merges = model.merges.map((m) => (typeof m === "string" ? m : m.join(" ")));
  set("model", string(isPieces ? "llama" : "gpt2"));
  const name = isPieces ? "default" : preTokenizerName(parts.tokenizerJson, model);
  set("pre", string(name ?? "default"));
  set("tokens", strings(writtenTokens(vocabulary, target)));
  set("token_type", { type: "array", of: "i32", value: Int32Array.from(vocabulary.types) });
  if (isPieces) {
    set("scores", { type: "array", of: "f32", value: scoresOf(model, vocabulary) });
    set("add_space_prefix", bool(JSON.stringify(parts.tokenizerJson.normalizer).includes('"Prepend"')));
  } else set("merges", strings(merges));
  for (const [key, id] of specialIds(parts.tokenizerConfigJson, vocabulary, target)) set(key, u32(id));
  set("add_bos_token", bool(target.addsBegin));
  set("add_eos_token", bool(target.addsEnd));
  for (const [key, text] of templates(parts)) metadata.set(key, text);
  const warnings = completed(metadata, parts, target);
  return { metadata, warnings };
}

interface Vocabulary {
  readonly tokens: readonly string[];
  readonly types: readonly number[];
  readonly ids: ReadonlyMap<string, number>;
}

function vocabularyOf(model: BpeModel, added: readonly AddedToken[], target: WrittenFor): Vocabulary {
  const tokens: (string | undefined)[] = [];
  const types: number[] = [];
  for (const [token, id] of Object.entries(model.vocab)) {
    tokens[id] = token;
    types[id] = model.byte_fallback && /^<0x[0-9A-F]{2}>$/.test(token) ? tokenTypes.byte : tokenTypes.normal;
  }
  for (const { id, content, special = false } of added) {
    tokens[id] = content;
    const isUnknown = model.byte_fallback && content === model.unk_token;
    types[id] = isUnknown ? tokenTypes.unknown : special ? tokenTypes.control : tokenTypes.userDefined;
  }
  const { vocabularySize, where } = target;
  if (tokens.length > vocabularySize) {
    throw new RequestError({
      code: "tokenizer-too-large",
      what: `the tokenizer has ${tokens.length} tokens and the model ${vocabularySize}`,
      where,
      fix: "Use the model's own tokenizer",
    });
  }
  // Rows without a token get a name that no text is cut into.
  const all = Array.from({ length: vocabularySize }, (_, id) => tokens[id] ?? `[PAD${id}]`);
  return {
    tokens: all,
    types: all.map((_, id) => (tokens[id] === undefined ? tokenTypes.unused : types[id])),
    ids: new Map(all.map((token, id) => [token, id])),
  };
}

/** Gemma's files write the runs of ▁ that its users defined as real spaces. */
function writtenTokens({ tokens, types }: Vocabulary, { architecture }: WrittenFor): readonly string[] {
  if (!architecture.startsWith("gemma")) return tokens;
  return tokens.map((token, id) =>
    types[id] === tokenTypes.userDefined && /^▁+$/.test(token) ? " ".repeat(token.length) : token,
  );
}

/**
 * Scores by which merging goes as the merge list says: the earlier a piece is first made, the better. Pieces that merging
 * does not make follow by id; bytes and control tokens have 0.
 */
function scoresOf(model: BpeModel, { tokens, types, ids }: Vocabulary): Float32Array {
  const scores = new Float32Array(tokens.length);
  const ranked = new Set<number>();
  for (const merge of model.merges) {
    const made = typeof merge === "string" ? merge.replace(" ", "") : merge[0] + merge[1];
    const id = ids.get(made);
    if (id === undefined || ranked.has(id)) continue;
    scores[id] = -ranked.size;
    ranked.add(id);
  }
  let next = ranked.size;
  types.forEach((type, id) => {
    if (type === tokenTypes.normal && !ranked.has(id)) scores[id] = -next++;
  });
  return scores;
}

/** llama.cpp's name for how words are cut; undefined where it has none. */
function preTokenizerName(
  { normalizer, pre_tokenizer: pre }: Readonly<Json>,
  model: BpeModel,
): string | undefined {
  const patterns = patternsOf(pre);
  const form = (normalizer as { type?: string } | null | undefined)?.type;
  return Object.entries(wordRules).find(
    ([, rules]) =>
      rules.patterns.join("\n") === patterns?.join("\n") &&
      rules.normalizer === form &&
      (rules.ignoreMerges ?? false) === (model.ignore_merges ?? false),
  )?.[0];
}

function specialIds(
  config: Readonly<Json>,
  { ids }: Vocabulary,
  { endIds = [] }: WrittenFor,
): [string, number][] {
  const found = (["bos", "eos", "unk", "pad"] as const).flatMap((key): [string, number][] => {
    const id = ids.get(tokenText(config[`${key}_token`]));
    const names = { bos: "bos", eos: "eos", unk: "unknown", pad: "padding" };
    return id === undefined ? [] : [[`${names[key]}_token_id`, id]];
  });
  const eos = found.find(([key]) => key === "eos_token_id")?.[1] ?? endIds[0];
  const others = endIds.filter((id) => id !== eos);
  return [
    ...found.filter(([key]) => key !== "eos_token_id"),
    ...(eos === undefined ? [] : ([["eos_token_id", eos]] satisfies [string, number][])),
    ...["eot", "eom"].flatMap((key, i): [string, number][] =>
      others[i] === undefined ? [] : [[`${key}_token_id`, others[i]]],
    ),
  ];
}

/** A special token is a string or an object with `content`. */
function tokenText(value: unknown): string {
  if (typeof value === "string") return value;
  const { content } = (value ?? {}) as { content?: unknown };
  return typeof content === "string" ? content : "";
}

function templates({ tokenizerConfigJson, chatTemplate }: TokenizerParts): [string, GgufValue][] {
  const given = chatTemplate ?? tokenizerConfigJson.chat_template;
  if (typeof given === "string") return [["tokenizer.chat_template", string(given)]];
  if (!Array.isArray(given)) return [];
  const named = given as readonly { name: string; template: string }[];
  const others = named.filter(({ name }) => name !== "default");
  return [
    ...named
      .filter(({ name }) => name === "default")
      .map(({ template }): [string, GgufValue] => ["tokenizer.chat_template", string(template)]),
    ["tokenizer.chat_templates", strings(others.map(({ name }) => name))],
    ...others.map(({ name, template }): [string, GgufValue] => [
      `tokenizer.chat_template.${name}`,
      string(template),
    ]),
  ];
}

/** Adds the whole tokenizer.json where what was written does not say the same, and returns what to warn of. */
function completed(metadata: Map<string, GgufValue>, parts: TokenizerParts, target: WrittenFor): string[] {
  const all = new Map([["general.architecture", string(target.architecture)], ...metadata]);
  const read = tokenizerFromGguf(metadataReader(all, target.where));
  const differing = differences(parts.tokenizerJson, read.tokenizerJson);
  if (differing.length === 0) return [];
  metadata.set("tokenizer.huggingface.json", string(JSON.stringify(parts.tokenizerJson)));
  return [
    `GGUF's own terms do not say all of the tokenizer (${differing.join(", ")}): ` +
      "the whole tokenizer.json is in the file, and readers that do not use it may cut text differently",
  ];
}

/** Parts of two tokenizer.json that cut text differently. Merges need not be in the same order to merge alike. */
function differences(a: Readonly<Json>, b: Readonly<Json>): string[] {
  const compared: Readonly<Record<string, (j: Readonly<Json>) => unknown>> = {
    normalizer: (j) => steps(j.normalizer, "normalizers"),
    "pre-tokenizer": (j) => patternsOf(j.pre_tokenizer) ?? withoutEffect(j),
    ignore_merges: (j) => (j.model as BpeModel).ignore_merges ?? false,
    "added tokens": (j) => ((j.added_tokens ?? []) as readonly Json[]).map((t) => flagsOf(t, a.normalizer)),
  };
  return Object.entries(compared)
    .filter(([, of]) => JSON.stringify(of(a)) !== JSON.stringify(of(b)))
    .map(([name]) => name);
}

function steps(node: unknown, key: string): unknown[] {
  if (typeof node !== "object" || node === null) return [];
  const { [key]: inner } = node as Json;
  return Array.isArray(inner) ? inner.flatMap((n) => steps(n, key)) : [node];
}

/** A pre-tokenizer that cuts at real spaces does nothing where the normalizer has replaced them all. */
function withoutEffect({ pre_tokenizer: pre, normalizer }: Readonly<Json>): unknown {
  const { type, pattern } = (pre ?? {}) as { type?: string; pattern?: { String?: string } };
  const replaced = steps(normalizer, "normalizers").some((n) => {
    const { type: kind, pattern: p } = n as { type?: string; pattern?: { String?: string } };
    return kind === "Replace" && p?.String === " ";
  });
  return type === "Split" && pattern?.String === " " && replaced ? null : (pre ?? null);
}

function flagsOf(token: Json, normalizer: unknown): unknown[] {
  const { id, content, special = false, lstrip = false, rstrip = false, single_word: word = false } = token;
  const normalized = (token.normalized ?? !special) === true && (normalizer ?? null) !== null;
  return [id, content, special, lstrip, rstrip, word, normalized];
}
