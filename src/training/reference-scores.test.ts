/** Reference scores: kept, and nothing left of what computed them. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { TokenRow } from "../data/token-row.ts";
import { countingBackend } from "../engine/testing.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { referenceScores } from "./reference-scores.ts";

const config = {
  ...{ model_type: "llama", vocab_size: 50, hidden_size: 16, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ num_key_value_heads: 1, intermediate_size: 24, max_position_embeddings: 64 },
};

let folder: string;
const cache = process.env.PREFOPT_CACHE;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = folder;
});
afterAll(() => {
  if (cache === undefined) delete process.env.PREFOPT_CACHE;
  else process.env.PREFOPT_CACHE = cache;
  return rm(folder, { recursive: true });
});

test("scores are computed once, then taken from the cache, and their programs released", async () => {
  const { own, counted } = await countingBackend();
  const row: TokenRow = {
    ...{
      kind: "pair",
      fields: {},
      values: {},
      tokenRewards: {},
      truncated: 0,
      source: { file: "test", line: 1 },
    },
    trees: [
      {
        prompt: [3, 4, 5],
        branches: [[{ role: "chosen", ids: [6, 7] }], [{ role: "rejected", ids: [8, 9, 10] }]],
      },
    ],
  };
  const model = newLanguageModel(config, 7, own);
  const first = await referenceScores(model, [row], ["chosen", "rejected"]);
  expect(first.cached).toBe(false);
  expect(counted.compiled).toBeGreaterThan(0);
  expect(counted.held).toBe(0);
  const before = counted.compiled;
  const again = await referenceScores(model, [row], ["chosen", "rejected"]);
  expect(again).toEqual({ cached: true, scores: first.scores });
  expect(counted.compiled).toBe(before);
});
