/**
 * Tokenizers of Hugging Face folders, over `@huggingface/tokenizers`. Special tokens are added only when asked for, and
 * decoding never cleans up: what was encoded comes back byte for byte.
 */
import { Tokenizer as HfTokenizer } from "@huggingface/tokenizers";
import { RequestError } from "../errors.ts";
import { isGgufPath } from "../formats/gguf.ts";
import { type Json, readTokenizerFiles } from "./tokenizer-files.ts";

export { hasTokenizer } from "./tokenizer-files.ts";

export interface Tokenizer {
  /** Ids of a text. Special tokens written in the text are recognised; none is added. */
  encode(text: string): number[];
  /** The text of ids; special tokens stay unless `skipSpecialTokens`. */
  decode(ids: readonly number[], options?: { skipSpecialTokens?: boolean }): string;
  /** Ids that the tokenizer puts before a text (a begin token, for most models that have one). */
  readonly prefixIds: readonly number[];
  /** Ids that the tokenizer puts after a text: none for most. */
  readonly suffixIds: readonly number[];
  readonly beginId?: number;
  readonly endId?: number;
  /** Whether an id is a special token, such as a turn marker. */
  isSpecial(id: number): boolean;
  idOf(token: string): number | undefined;
  tokenOf(id: number): string | undefined;
  /** The chat template's source, where the model has one. */
  readonly chatTemplate?: string;
  readonly beginToken: string;
  readonly endToken: string;
}

/** Reads the tokenizer of a Hugging Face folder or a GGUF file. */
export async function loadTokenizer(path: string): Promise<Tokenizer> {
  const files = await readTokenizerFiles(path);
  if (!files) {
    throw new RequestError({
      code: "no-tokenizer",
      what: isGgufPath(path) ? "the file has no tokenizer" : "there is no tokenizer.json",
      where: path,
      why: "text can only be read and written with the model's tokenizer",
      fix: "Copy tokenizer.json and tokenizer_config.json into the folder, or give token ids instead of text",
    });
  }
  const { where, tokenizerJson, tokenizerConfigJson, chatTemplate } = files;
  try {
    return makeTokenizer(tokenizerJson, tokenizerConfigJson, chatTemplate);
  } catch (cause) {
    if (cause instanceof RequestError) throw cause;
    throw new RequestError(
      {
        code: "tokenizer-invalid",
        what: "the tokenizer cannot be used",
        where,
        why: (cause as Error).message,
        fix: "Copy or download the file again",
      },
      { cause },
    );
  }
}

/** A tokenizer from the parsed files. */
export function makeTokenizer(tokenizerJson: Json, config: Json = {}, template?: string): Tokenizer {
  const parts = {
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: null,
    ...tokenizerJson,
  };
  const inner = new HfTokenizer({ ...parts, pre_tokenizer: withUnicodeDigits(parts.pre_tokenizer) }, config);
  const beginToken = tokenText(config.bos_token);
  const endToken = tokenText(config.eos_token);
  const added = inner.get_added_tokens_decoder();
  const encode = (text: string) => (text === "" ? [] : inner.encode(text, { add_special_tokens: false }).ids);
  // What stands before and after a text when special tokens are added.
  const probe = inner.encode("a", { add_special_tokens: true }).ids;
  const bare = encode("a");
  const at = Math.max(0, probe.indexOf(bare[0]));
  const [prefixIds, suffixIds] = [probe.slice(0, at), probe.slice(at + bare.length)];
  return {
    encode,
    decode: (ids, { skipSpecialTokens = false } = {}) =>
      ids.length === 0
        ? ""
        : inner.decode([...ids], {
            skip_special_tokens: skipSpecialTokens,
            clean_up_tokenization_spaces: false,
          }),
    prefixIds,
    suffixIds,
    beginId: beginToken ? inner.token_to_id(beginToken) : undefined,
    endId: endToken ? inner.token_to_id(endToken) : undefined,
    isSpecial: (id) => added.get(id)?.special ?? false,
    idOf: (token) => inner.token_to_id(token),
    tokenOf: (id) => inner.id_to_token(id),
    chatTemplate: template ?? templateOf(config.chat_template),
    beginToken,
    endToken,
  };
}

/** The library's `Digits` knows ASCII digits only; the original isolates every numeric character. */
function withUnicodeDigits(value: unknown): unknown {
  if (typeof value !== "object" || value === null) return value;
  const node = value as Json;
  if (node.type === "Digits" && node.individual_digits === true) {
    return { type: "Split", pattern: { Regex: "\\p{N}" }, behavior: "Isolated", invert: false };
  }
  if (Array.isArray(node.pretokenizers))
    return { ...node, pretokenizers: node.pretokenizers.map(withUnicodeDigits) };
  return node;
}

/** A special token is a string or an object with `content`. */
function tokenText(value: unknown): string {
  if (typeof value === "string") return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : "";
}

/** A template is a string, or a list of named ones of which "default" counts. */
function templateOf(value: unknown): string | undefined {
  if (typeof value === "string") return value;
  if (!Array.isArray(value)) return undefined;
  const named = value as { name?: string; template?: string }[];
  return (named.find((t) => t.name === "default") ?? named[0])?.template;
}
