/**
 * Exported folders in `@huggingface/transformers`, the library that browsers and Node run such models with: its greedy ids are those of
 * `prefopt generate`, for prompts alone and in a batch padded on the left. The package is large, so CI installs it beside the
 * others (`.ci/run`); without it these tests say so and skip.
 */
import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../src/engine/backends/open.ts";
import { packagePath } from "../src/formats/files.ts";
import { newLanguageModel, saveLanguageModel } from "../src/models/language-model.ts";
import { loadTokenizer } from "../src/text/tokenizer.ts";
import { jsonLines, prefopt, root } from "./command.ts";
import { sharedFile, smolLm2 } from "./shared.ts";

/** What is used of the package. */
interface Transformers {
  readonly env: { allowRemoteModels: boolean };
  pipeline(task: string, folder: string, options: object): Promise<Generator>;
}
interface Generator {
  (prompts: string | object[] | string[], options: object): Promise<unknown>;
  readonly tokenizer: {
    (texts: string[], options: object): { input_ids: { dims: number[] } };
    padding_side: "left" | "right";
  };
  readonly model: { generate(options: object): Promise<{ tolist(): bigint[][] }> };
  dispose(): Promise<void>;
}

const name = "@huggingface/transformers";
const isInstalled = existsSync(join(root, "node_modules", name));
if (!isInstalled)
  console.log(`skipped: ${name} is not installed (npm install --no-save --ignore-scripts ${name}@4.3.1)`);
const transformers = isInstalled ? ((await import(name)) as Transformers) : undefined;
if (transformers) transformers.env.allowRemoteModels = false;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-js-"));
});
afterAll(() => rm(folder, { recursive: true }));

const reviews = packagePath("assets/reviews");
const chatTemplate =
  "{% for m in messages %}{{ m.role }}: {{ m.content }}\n{% endfor %}{% if add_generation_prompt %}assistant:{% endif %}";

/** A small model of random weights with the tokenizer of the embedded one. */
async function made(config: Record<string, unknown>): Promise<string> {
  const { vocab_size, bos_token_id, eos_token_id } = JSON.parse(
    await readFile(join(reviews, "config.json"), "utf8"),
  ) as Record<string, unknown>;
  const ids = { vocab_size, bos_token_id, eos_token_id };
  const model = newLanguageModel({ ...config, ...ids, initializer_range: 0.3 }, 5, await openBackend());
  const place = join(folder, String(config.model_type));
  await mkdir(place);
  await saveLanguageModel(model, place, { tokenizerFrom: reviews });
  await writeFile(join(place, "chat_template.jinja"), chatTemplate);
  return place;
}

const models: Readonly<Record<string, () => Promise<string>>> = {
  "the embedded llama": () => Promise.resolve(reviews),
  gpt2: () => made({ model_type: "gpt2", n_embd: 32, n_layer: 2, n_head: 4, n_positions: 64 }),
  "gemma2 with windows and caps": () =>
    made({
      model_type: "gemma2",
      hidden_size: 32,
      intermediate_size: 64,
      num_hidden_layers: 3,
      num_attention_heads: 4,
      num_key_value_heads: 2,
      head_dim: 8,
      sliding_window: 5,
      attn_logit_softcapping: 5,
      final_logit_softcapping: 8,
      query_pre_attn_scalar: 20,
      max_position_embeddings: 128,
    }),
};
const prompts = [
  "The film is",
  "A sensitive, cultivated treatment of",
  "It",
  "One suspects that the director",
];
const count = 16;

/** Greedy continuations of `prefopt generate`, one a line of input. */
async function greedy(model: string, lines: readonly object[]) {
  const args = ["--temperature", "0", "--maxTokens", String(count)];
  const input = lines.map((line) => JSON.stringify(line)).join("\n");
  const { status, stdout, stderr } = await prefopt(["generate", model, ...args], { input });
  expect(stderr).toBe("");
  expect(status).toBe(0);
  return jsonLines(stdout) as { ids: number[]; text: string }[];
}

async function exported(model: string): Promise<Generator> {
  const out = join(await mkdtemp(join(folder, "out-")), "model");
  const { status, stdout, stderr } = await prefopt(["export", model, "--to", "onnx", "--out", out, "--json"]);
  expect(status, stderr).toBe(0);
  expect(jsonLines(stdout)[0]).toMatchObject({ path: out, format: "onnx", dtype: "F32" });
  if (!transformers) throw new Error("not installed");
  return transformers.pipeline("text-generation", out, { local_files_only: true });
}

/** The new ids of a batch, without what stands behind an end token. */
async function generated({ tokenizer, model }: Generator, texts: string[], endId: number | undefined) {
  tokenizer.padding_side = "left"; // as the pipeline sets it
  const inputs = tokenizer(texts, { padding: true });
  const rows = (await model.generate({ ...inputs, max_new_tokens: count, do_sample: false })).tolist();
  return rows.map((row) => {
    const ids = row.slice(inputs.input_ids.dims[1]).map(Number);
    const end = ids.findIndex((id) => id === endId);
    return end < 0 ? ids : ids.slice(0, end + 1);
  });
}

describe.skipIf(!transformers).each(Object.entries(models))("%s", (_, make) => {
  test("generates the same ids, alone and in a batch padded on the left", { timeout: 60_000 }, async () => {
    const source = await make();
    const { endId } = await loadTokenizer(source);
    const generator = await exported(source);
    const expected = await greedy(
      source,
      prompts.map((prompt) => ({ prompt })),
    );
    expect(new Set(expected.map(({ ids }) => ids.join())).size).toBeGreaterThan(2);
    const batch = await generated(generator, prompts, endId);
    expect(batch).toEqual(expected.map(({ ids }) => ids));
    for (const [i, prompt] of prompts.entries())
      expect(await generated(generator, [prompt], endId)).toEqual([expected[i].ids]);
    const texts = (await generator(prompts, {
      max_new_tokens: count,
      do_sample: false,
      return_full_text: false,
      add_special_tokens: true, // the begin token, which the pipeline leaves out by itself
    })) as { generated_text: string }[][];
    // A row of a batch that has ended goes on there, as long as another one has not.
    for (const [i, [{ generated_text: text }]] of texts.entries())
      expect(text.slice(0, expected[i].text.length)).toBe(expected[i].text);
    if (source === reviews) return;
    const messages = [{ role: "user", content: "Is the film good?" }];
    const [{ generated_text: chat }] = (await generator(messages, {
      max_new_tokens: count,
      do_sample: false,
    })) as {
      generated_text: { content: string }[];
    }[];
    expect(chat.at(-1)?.content).toBe((await greedy(source, [{ messages }]))[0].text);
    await generator.dispose();
  });
});

const smol = sharedFile(smolLm2);
test.skipIf(!transformers || !smol)("SmolLM2 talks the same", { timeout: 180_000 }, async () => {
  if (!smol) return;
  const generator = await exported(smol);
  const messages = [{ role: "user", content: "Name three rivers of Europe." }];
  const [{ generated_text: chat }] = (await generator(messages, {
    max_new_tokens: count,
    do_sample: false,
  })) as {
    generated_text: { content: string }[];
  }[];
  const [{ text }] = await greedy(smol, [{ messages }]);
  expect(chat.at(-1)?.content).toBe(text);
  await generator.dispose();
});
