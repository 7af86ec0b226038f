/** Every configuration of Llama scores like PyTorch: biases, head shapes, half-precision files, each rotary scaling. */
import { copyFile, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { generate } from "../generation/generate.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { type LanguageModel, loadLanguageModel, saveLanguageModel } from "./language-model.ts";
import { lossAndGradientNorms } from "../scoring/testing.ts";

interface Variant {
  name: string;
  weights: string;
  config: Record<string, unknown>;
  rows: { ids: number[]; logProbs: number[] }[];
  greedy?: { promptIds: number[]; ids: number[]; logProbs: number[] };
  gradients?: { ids: number[]; meanNegativeLogLikelihood: number; norms: Record<string, number> };
}
const fixtures = new URL("../../test/fixtures/models/llama_variants/", import.meta.url).pathname;
const { variants } = JSON.parse(await readFile(join(fixtures, "variants.json"), "utf8")) as {
  variants: Variant[];
};

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

async function load({ config, weights }: Variant): Promise<LanguageModel> {
  const place = await mkdtemp(join(folder, "model-"));
  await writeFile(join(place, "config.json"), JSON.stringify(config));
  await copyFile(join(fixtures, weights), join(place, "model.safetensors"));
  return loadLanguageModel(place, await openBackend());
}
const trees = (rows: Variant["rows"]) =>
  rows.map(({ ids }) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] }));

describe.each(variants)("$name", (variant) => {
  test("scores rows of different lengths in one call", async () => {
    const scores = await new TextScorer(await load(variant)).score(trees(variant.rows));
    variant.rows.forEach(({ logProbs }, i) =>
      logProbs.forEach((logp, t) =>
        expect(Math.abs(scores[i][0][t] - logp), `row ${i}, token ${t}`).toBeLessThan(1e-4),
      ),
    );
  });
  const { greedy, gradients } = variant;
  if (greedy)
    test("continues greedily like PyTorch", async () => {
      const options = { temperature: 0, maxTokens: greedy.ids.length, ignoreEos: true };
      const [[sample]] = await generate(await load(variant), [greedy.promptIds], options);
      expect(sample.ids).toEqual(greedy.ids);
      sample.logps.forEach((logp, t) => expect(Math.abs(logp - greedy.logProbs[t])).toBeLessThan(1e-4));
    });
  if (gradients)
    test("has PyTorch's gradients", async () => {
      const { loss, norms } = await lossAndGradientNorms(await load(variant), gradients.ids);
      expect(Math.abs(loss - gradients.meanNegativeLogLikelihood)).toBeLessThan(1e-4);
      for (const [tensor, norm] of Object.entries(gradients.norms)) {
        // A key bias moves no softmax by itself: its gradient is almost nothing.
        expect(Math.abs(norms[tensor] - norm), tensor).toBeLessThan(1e-4 * norm + 1e-7);
      }
    });
  test("is saved and loaded to the same scores", async () => {
    const model = await load(variant);
    const place = await mkdtemp(join(folder, "saved-"));
    await saveLanguageModel(model, place);
    const again = await new TextScorer(await loadLanguageModel(place, model.backend)).score(
      trees(variant.rows),
    );
    expect(again).toEqual(await new TextScorer(model).score(trees(variant.rows)));
  });
  test("decodes to what it scores", async () => {
    const model = await load(variant);
    // Where frequencies follow the length, cached keys keep those they were made with: compare within one length's range.
    const [{ ids }] = variant.rows;
    const [[sample]] = await generate(model, [ids], { maxTokens: 8, ignoreEos: true, seed: 5 });
    const [[again]] = await new TextScorer(model).score([{ prompt: ids, completions: [sample.ids] }]);
    sample.logps.forEach((logp, t) => expect(Math.abs(logp - again[t])).toBeLessThan(1e-4));
  });
});

test("rotary positions on a part of the head are refused with the key's name", async () => {
  const partial = { ...variants[0], config: { ...variants[0].config, partial_rotary_factor: 0.5 } };
  await expect(load(partial)).rejects.toThrow("partial_rotary_factor");
});

test("a row that outgrows its short frequencies while it is decoded is read anew", async () => {
  const model = await load(variants.find((v) => v.name === "longrope") ?? variants[0]);
  const prompt = variants[0].rows[1].ids; // 12 tokens; the change is after 16
  const [[sample]] = await generate(model, [prompt], { temperature: 0, maxTokens: 10, ignoreEos: true });
  // Step by step without a cache: each token scored by a fresh reading of everything before it.
  for (const [t, id] of sample.ids.entries()) {
    const [[logps]] = await new TextScorer(model).score([
      { prompt: [...prompt, ...sample.ids.slice(0, t)], completions: [[id]] },
    ]);
    const [[again]] = await generate(model, [[...prompt, ...sample.ids.slice(0, t)]], {
      temperature: 0,
      maxTokens: 1,
    });
    expect(again.ids).toEqual([id]);
    expect(Math.abs(again.logps[0] - sample.logps[t])).toBeLessThan(1e-4);
    expect(logps).toHaveLength(1);
  }
});

test("there is a variant for every rotary scaling", () => {
  const kinds = variants.map((v) => ((v.config.rope_scaling ?? {}) as { rope_type?: string }).rope_type);
  expect(kinds).toEqual(expect.arrayContaining(["linear", "dynamic", "llama3", "yarn", "longrope"]));
});
