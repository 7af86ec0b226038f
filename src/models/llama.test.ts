/** Llama against PyTorch's values: log-probabilities, last logits through decoding, greedy continuations, gradient norms. */
import { readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { generate } from "../generation/generate.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import { loadLanguageModel, newLanguageModel } from "./language-model.ts";
import { lossAndGradientNorms } from "../scoring/testing.ts";

const folder = (name: string) => new URL(`../../test/fixtures/models/${name}/`, import.meta.url).pathname;

interface Golden {
  cases: {
    name: string;
    inputIds: number[][];
    attentionMask?: number[][];
    logProbs: number[][];
    gradients?: { meanNegativeLogLikelihood: number; norms: Record<string, number> };
  }[];
  greedy: { promptIds: number[]; ids: number[] };
}
const golden = async (name: string) =>
  JSON.parse(await readFile(`${folder(name)}golden.json`, "utf8")) as Golden;

test.each(["llama", "llama3"])(
  "%s scores like PyTorch, rows of different lengths in one call",
  async (name) => {
    const model = await loadLanguageModel(folder(name), await openBackend());
    const { cases } = await golden(name);
    const rows = cases.flatMap((c) =>
      c.inputIds.map((ids, b) => ({
        ids: ids.filter((_, t) => c.attentionMask?.[b][t] !== 0),
        expected: c.logProbs[b],
      })),
    );
    expect(rows.length).toBeGreaterThan(1);
    const scores = await new TextScorer(model).score(
      rows.map(({ ids }) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] })),
    );
    rows.forEach(({ expected }, i) => {
      expect(scores[i][0]).toHaveLength(expected.length);
      expected.forEach((logp, t) => expect(Math.abs(scores[i][0][t] - logp)).toBeLessThan(1e-4));
    });
  },
);

test.each(["llama", "llama3"])("%s continues greedily like PyTorch", async (name) => {
  const model = await loadLanguageModel(folder(name), await openBackend());
  const { greedy } = await golden(name);
  const expected = greedy.ids;
  expect(expected.length).toBeGreaterThan(5);
  const [[sample]] = await generate(model, [greedy.promptIds], {
    temperature: 0,
    maxTokens: expected.length,
    ignoreEos: true,
  });
  expect(sample.ids).toEqual(expected);
});

test.each(["llama", "llama3"])("%s has PyTorch's gradients", async (name) => {
  const model = await loadLanguageModel(folder(name), await openBackend());
  const [{ inputIds, gradients: expected }] = (await golden(name)).cases;
  if (!expected) throw new Error("the fixture has no gradients");
  const { loss, norms } = await lossAndGradientNorms(model, inputIds[0]);
  expect(Math.abs(loss - expected.meanNegativeLogLikelihood)).toBeLessThan(1e-4);
  expect(Object.keys(norms).sort()).toEqual(Object.keys(expected.norms).sort());
  for (const [tensor, norm] of Object.entries(expected.norms))
    expect(Math.abs(norms[tensor] / norm - 1), tensor).toBeLessThan(1e-4);
});

/** lm-foundations worked example: every value follows from the tensor's name. */
const worked = {
  config: {
    model_type: "llama",
    vocab_size: 11,
    hidden_size: 8,
    intermediate_size: 12,
    num_hidden_layers: 2,
    num_attention_heads: 2,
    num_key_value_heads: 1,
    head_dim: 4,
    rms_norm_eps: 1e-6,
    rope_theta: 10000,
    max_position_embeddings: 64,
  },
  ids: [1, 5, 2, 7],
  sumLogp: -8.1309923,
};

test("a model made from the names of its tensors gives the worked log-probability, by scoring and by decoding", async () => {
  const model = newLanguageModel(worked.config, 1, await openBackend());
  for (const { name, shape } of model.architecture.parameters) {
    const c = [...name].reduce((n, ch) => n + ch.charCodeAt(0), 0) % 101;
    const offset = shape.length === 1 ? 1 : 0;
    model.weights.view(name).forEach((_, k, view) => (view[k] = offset + 0.2 * Math.sin(0.37 * k + c)));
  }
  const [[logps]] = await new TextScorer(model).score([
    { prompt: worked.ids.slice(0, 1), completions: [worked.ids.slice(1)] },
  ]);
  expect(logps.reduce((a, b) => a + b, 0)).toBeCloseTo(worked.sumLogp, 5);
  // The same numbers through the cache: decode, then score what came out.
  const [[sample]] = await generate(model, [worked.ids], {
    temperature: 1,
    maxTokens: 6,
    ignoreEos: true,
    seed: 3,
  });
  const [[again]] = await new TextScorer(model).score([{ prompt: worked.ids, completions: [sample.ids] }]);
  sample.logps.forEach((logp, t) => expect(logp).toBeCloseTo(again[t], 4));
});
