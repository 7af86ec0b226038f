/**
 * Every switch of every architecture's configuration against PyTorch: windows and lists of layers, biases, caps, scalings, partial
 * and long rotation, residuals, activations, keys left out. `make_architecture_variants.py` made the values; weights follow
 * from the names of tensors.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generate } from "../generation/generate.ts";
import { lossAndGradientNorms } from "../scoring/testing.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { architectures } from "./architectures.ts";
import { type LanguageModel, loadLanguageModel, saveLanguageModel } from "./language-model.ts";
import { type Variant, readVariants, variantModel } from "./testing.ts";

const variants = await readVariants();

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
});
afterAll(() => rm(folder, { recursive: true }));

const trees = (rows: Variant["rows"]) =>
  rows.map(({ ids }) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] }));

describe.each(variants)("$name", (variant) => {
  test("scores rows of different lengths in one call", async () => {
    const scores = await new TextScorer(await variantModel(variant)).score(trees(variant.rows));
    variant.rows.forEach(({ logProbs }, i) =>
      logProbs.forEach((logp, t) =>
        expect(Math.abs(scores[i][0][t] - logp), `row ${i}, token ${t}`).toBeLessThan(1e-4),
      ),
    );
  });
  test("continues greedily through the cache", async () => {
    const { promptIds, ids, logProbs } = variant.greedy;
    const options = { temperature: 0, maxTokens: ids.length, ignoreEos: true };
    const [[sample]] = await generate(await variantModel(variant), [promptIds], options);
    expect(sample.ids).toEqual(ids);
    sample.logps.forEach((logp, t) => expect(Math.abs(logp - logProbs[t])).toBeLessThan(1e-4));
  });
  test("has PyTorch's gradients", async () => {
    const { meanNegativeLogLikelihood, norms: expected } = variant.gradients;
    const { loss, norms } = await lossAndGradientNorms(await variantModel(variant), variant.rows[1].ids);
    expect(Math.abs(loss - meanNegativeLogLikelihood)).toBeLessThan(1e-4);
    expect(Object.keys(norms).sort()).toEqual(Object.keys(expected).sort());
    const all = Math.hypot(...Object.values(expected));
    for (const [tensor, norm] of Object.entries(expected)) {
      // What moves no softmax by itself (a key bias without caps, positions added to every key) has almost no gradient.
      expect(Math.abs(norms[tensor] - norm), tensor).toBeLessThan(1e-4 * norm + 1e-7 * all);
    }
  });
  test("is saved and loaded to the same scores", async () => {
    const model = await variantModel(variant);
    const place = await mkdtemp(join(folder, "saved-"));
    await saveLanguageModel(model, place);
    const again = await loadLanguageModel(place, model.backend);
    expect(again.architecture.parameters).toEqual(model.architecture.parameters);
    expect(again.architecture.attention).toEqual(model.architecture.attention);
    expect(again.architecture.toConfig()).toEqual({
      ...model.architecture.toConfig(),
      torch_dtype: "float32",
    });
    const scores = (m: LanguageModel) => new TextScorer(m).score(trees(variant.rows));
    expect(await scores(again)).toEqual(await scores(model));
  });
});

test("every architecture besides Llama has variants; Llama's have a file of their own", () => {
  const covered = new Set(variants.map((v) => v.config.model_type));
  expect([...covered, "llama"].sort()).toEqual(Object.keys(architectures).sort());
});
