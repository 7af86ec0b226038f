/**
 * Tokenizers of Hugging Face folders and GGUF files. Special tokens are added only when asked for, and decoding never cleans
 * up: what was encoded comes back byte for byte.
 */
import { RequestError } from "../errors.ts";
import { isGgufPath } from "../formats/gguf.ts";
import { locateModel } from "../formats/locations.ts";
import { decoderOf } from "./encoding/decoder.ts";
import { type Encoding, encoderOf } from "./encoding/encoder.ts";
import { surroundingsOf } from "./encoding/surroundings.ts";
import { type Json, hasTokenizerFiles, readTokenizerFiles } from "./tokenizer-files.ts";

export interface Tokenizer {
  /** Ids of a text. Special tokens written in the text are recognised; none is added. */
  encode(text: string): number[];
  /** Ids of a text, and where in it each is: [start, end) of the whole text that the token touches; [0, 0] for added ones. */
  encodeWithOffsets(text: string, options?: { addSpecialTokens?: boolean }): Encoding;
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
  /** Templates for special purposes, such as "tool_use". */
  readonly namedTemplates: Readonly<Record<string, string>>;
  /** Special tokens by their keys in tokenizer_config.json: "bos_token", "unk_token". */
  readonly specialTokens: Readonly<Record<string, string>>;
  readonly beginToken: string;
  readonly endToken: string;
  /** What of its files could not be read exactly. */
  readonly warnings: readonly string[];
}

/** Reads the tokenizer of a Hugging Face folder or a GGUF file, here or on the hub. */
export async function loadTokenizer(name: string): Promise<Tokenizer> {
  const { path } = await locateModel(name, { part: "tokenizer" });
  const files = await readTokenizerFiles(path);
  if (!files) {
    throw new RequestError({
      code: "no-tokenizer",
      what: isGgufPath(path) ? "the file has no tokenizer" : "there is no tokenizer.json",
      where: path,
      why: "text can only be read and written with the model's tokenizer",
      fix: isGgufPath(path)
        ? "Give token ids instead of text, or use a file with a tokenizer"
        : "Copy tokenizer.json and tokenizer_config.json into the folder, or give token ids instead of text",
    });
  }
  const { where, tokenizerJson, tokenizerConfigJson, chatTemplate, warnings } = files;
  try {
    return { ...makeTokenizer(tokenizerJson, tokenizerConfigJson, chatTemplate), warnings };
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

/** Whether a folder or GGUF file, here or on the hub, has a tokenizer. */
export const hasTokenizer = async (name: string): Promise<boolean> =>
  hasTokenizerFiles((await locateModel(name, { part: "tokenizer" })).path);

/** A tokenizer from the parsed files. Throws for parts of them that are not supported. */
export function makeTokenizer(tokenizerJson: Json, config: Json = {}, template?: string): Tokenizer {
  const { encode, encodeWithOffsets, model, addedTokens, spelling } = encoderOf(tokenizerJson);
  const decoder = decoderOf(tokenizerJson.decoder);
  const { before, after } = surroundingsOf(tokenizerJson.post_processor);
  const tokens = new Map([...model.vocabulary].map(([token, id]) => [id, token]));
  for (const { id, content } of addedTokens) tokens.set(id, content);
  const spelled = new Map(addedTokens.map((t) => [t.id, spelling(t)]));
  const added = new Map(addedTokens.map((t) => [t.content, t.id]));
  const special = new Set(addedTokens.filter((t) => t.special).map((t) => t.id));
  const idOf = (token: string) => added.get(token) ?? model.vocabulary.get(token);
  const beginToken = tokenText(config.bos_token);
  const endToken = tokenText(config.eos_token);
  const { main, named: namedTemplates } = templatesOf(config.chat_template);
  return {
    encode,
    encodeWithOffsets(text, { addSpecialTokens = false } = {}) {
      const { ids, offsets } = encodeWithOffsets(text);
      if (!addSpecialTokens) return { ids, offsets };
      const nowhere = (list: readonly number[]) => list.map((): [number, number] => [0, 0]);
      return {
        ids: [...before, ...ids, ...after],
        offsets: [...nowhere(before), ...offsets, ...nowhere(after)],
      };
    },
    decode(ids, { skipSpecialTokens = false } = {}) {
      const shown = skipSpecialTokens ? ids.filter((id) => !special.has(id)) : ids;
      return decoder(shown.flatMap((id) => spelled.get(id) ?? tokens.get(id) ?? [])).join("");
    },
    prefixIds: before,
    suffixIds: after,
    beginId: beginToken ? idOf(beginToken) : undefined,
    endId: endToken ? idOf(endToken) : undefined,
    isSpecial: (id) => special.has(id),
    idOf,
    tokenOf: (id) => tokens.get(id),
    chatTemplate: template ?? main,
    namedTemplates,
    specialTokens: specialTokensOf(config),
    beginToken,
    endToken,
    warnings: [],
  };
}

/** A special token is a string or an object with `content`. */
function tokenText(value: unknown): string {
  if (typeof value === "string") return value;
  const content = (value as { content?: unknown } | null | undefined)?.content;
  return typeof content === "string" ? content : "";
}

function specialTokensOf(config: Json): Record<string, string> {
  const keys = ["bos", "eos", "unk", "sep", "pad", "cls", "mask"].map((name) => `${name}_token`);
  return Object.fromEntries(
    keys.map((key) => [key, tokenText(config[key])]).filter(([, token]) => token !== ""),
  ) as Record<string, string>;
}

/** One template, or a list of named ones, of which "default" (or the only one) is the main one. */
function templatesOf(value: unknown): { main?: string; named: Record<string, string> } {
  if (typeof value === "string") return { main: value, named: {} };
  const list = Array.isArray(value) ? (value as { name?: unknown; template?: unknown }[]) : [];
  const named = Object.fromEntries(
    list.flatMap(({ name, template }) =>
      typeof name === "string" && typeof template === "string" ? [[name, template]] : [],
    ),
  ) as Record<string, string>;
  const only = Object.keys(named).length === 1 ? Object.values(named)[0] : undefined;
  return { main: named.default ?? only, named };
}
