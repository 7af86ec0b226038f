/** The files that make a tokenizer, of a Hugging Face folder or out of a GGUF file. */
import { RequestError } from "../errors.ts";
import { exists, joinPath, readJson, readText } from "../formats/files.ts";
import { metadataReader } from "../formats/gguf-metadata.ts";
import { isGgufPath, openGguf } from "../formats/gguf.ts";
import { baseOfAdapter, isAdapterFolder, locateModel } from "../formats/locations.ts";
import { sha256 } from "../formats/sha256.ts";
import { hasGgufTokenizer, tokenizerFromGguf } from "./gguf/read.ts";

export type Json = Record<string, unknown>;

export interface TokenizerFiles {
  /** What errors name: the path of tokenizer.json, or of the GGUF file. */
  readonly where: string;
  readonly tokenizerJson: Json;
  readonly tokenizerConfigJson: Json;
  /** chat_template.jinja, which wins over the template of tokenizer_config.json. */
  readonly chatTemplate?: string;
  /** What could not be read exactly. */
  readonly warnings: readonly string[];
}

/** The files of a folder or a `.gguf` file; undefined where there is no tokenizer. */
export async function readTokenizerFiles(path: string): Promise<TokenizerFiles | undefined> {
  if (isGgufPath(path)) {
    const read = metadataReader((await openGguf(path)).metadata, path);
    return hasGgufTokenizer(read) ? { where: path, ...tokenizerFromGguf(read) } : undefined;
  }
  const where = joinPath(path, "tokenizer.json");
  if (!(await exists(where)))
    return (await isAdapterFolder(path)) ? readTokenizerFiles(await beneath(path)) : undefined;
  const [config, template] = ["tokenizer_config.json", "chat_template.jinja"].map((n) => joinPath(path, n));
  return {
    where,
    tokenizerJson: asObject(await readJson(where), where),
    tokenizerConfigJson: (await exists(config)) ? asObject(await readJson(config), config) : {},
    chatTemplate: (await exists(template)) ? await readText(template) : undefined,
    warnings: [],
  };
}

/** Whether a folder or GGUF file has a tokenizer. */
export async function hasTokenizerFiles(path: string): Promise<boolean> {
  if (!isGgufPath(path)) {
    if (await exists(joinPath(path, "tokenizer.json"))) return true;
    return (await isAdapterFolder(path)) && hasTokenizerFiles(await beneath(path));
  }
  return hasGgufTokenizer(metadataReader((await openGguf(path)).metadata, path));
}

/** A name for all that a tokenizer and its templates depend on: their files, and the date where a template asks for it. */
export async function tokenizerFingerprint(path: string): Promise<string> {
  const files = await readTokenizerFiles(path);
  const { tokenizerJson, tokenizerConfigJson, chatTemplate } = files ?? {};
  const text = JSON.stringify([tokenizerJson, tokenizerConfigJson, chatTemplate]);
  return sha256(text.includes("strftime_now") ? text + new Date().toDateString() : text);
}

/** Where the model is that an adapter belongs beside: an adapter that comes without a tokenizer has that one's. */
const beneath = async (adapter: string): Promise<string> =>
  (await locateModel(await baseOfAdapter(adapter), { part: "tokenizer" })).path;

function asObject(value: unknown, where: string): Json {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as Json;
  throw new RequestError({ code: "not-an-object", what: "is not a JSON object", where });
}
