/** Measures of samples under models. */
import { expect, test } from "vitest";
import { countingBackend } from "../engine/testing.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { sequenceKl } from "./samples.ts";

const config = {
  ...{ model_type: "llama", vocab_size: 50, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ num_key_value_heads: 1, intermediate_size: 24, max_position_embeddings: 64 },
};

test("a KL estimate leaves no programs", async () => {
  const { own, counted } = await countingBackend();
  const [policy, reference] = [7, 8].map((seed) => newLanguageModel(config, seed, own));
  const sample = { promptIds: [3, 4], ids: [5, 6, 7] };
  const samples = [sample, { ...sample, ids: [9] }] as unknown as Parameters<typeof sequenceKl>[0];
  const { kl } = await sequenceKl(samples, policy, reference);
  expect(kl).not.toBe(0);
  expect(counted.compiled).toBeGreaterThan(0);
  expect(counted.held).toBe(0);
});
