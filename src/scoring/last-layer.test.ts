/** The last layer computes only the tokens that predict a scored one: with the same scores and gradients as all of them. */
import { expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { peakBytes } from "../engine/memory.ts";
import { add, mul } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import { evaluate } from "../engine/program.ts";
import { random } from "../engine/random.ts";
import type { Tensor } from "../engine/tensor.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { pack } from "./packing.ts";
import { batchArrays, declareBatch, hiddenStates, scoreBatch } from "./text-graph.ts";

const backend = await openBackend();
const sizes = { vocab_size: 50, hidden_size: 16, num_hidden_layers: 2, num_attention_heads: 2 };
const wide = { ...sizes, intermediate_size: 24, max_position_embeddings: 64 };
const gpt2 = { model_type: "gpt2", vocab_size: 50, n_embd: 16, n_layer: 2, n_head: 2, n_positions: 64 };
const gemma = { ...wide, model_type: "gemma2", head_dim: 8, num_key_value_heads: 1 };
const roles = ["chosen", "rejected"].map((name) => ({ name, many: false }));
const rng = random(5, "last layer");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(50));
/** Prompts that two completions share; half of the tokens predict none. */
const records = [
  [36, 20, 12],
  [24, 4, 28],
  [48, 8, 8],
].map(([prompt, chosen, rejected]) => ({
  trees: [
    {
      prompt: ids(prompt),
      branches: [[{ role: "chosen", ids: ids(chosen) }], [{ role: "rejected", ids: ids(rejected) }]],
    },
  ],
}));

const cases: [string, Record<string, unknown>][] = [
  ["llama", { ...wide, model_type: "llama", num_key_value_heads: 1 }],
  ["gemma2", { ...gemma, query_pre_attn_scalar: 8, sliding_window: 4 }],
  ["gpt2", gpt2],
  ["gpt_neox", { ...wide, model_type: "gpt_neox" }],
  ["gpt_neox, one after the other", { ...wide, model_type: "gpt_neox", use_parallel_residual: false }],
];

test.each(
  cases.flatMap(([name, config]) =>
    (["split", "joined"] as const).flatMap((way) =>
      [false, true].map((again) => ({ name, config, way, again })),
    ),
  ),
)("$name, $way, recomputed: $again", async ({ config, way, again }) => {
  const model = newLanguageModel(config, 7, backend);
  const { architecture } = model;
  const batch = pack(records, roles, architecture.rope, { placements: [way] });
  /** Scores of all tokens and gradients of a sum of them with various weights, and the memory of it. */
  const found = async (all: boolean) => {
    const graph = new Graph();
    const declared = declareModel(graph, model);
    const inputs = declareBatch(graph, architecture, batch.shape, roles);
    const states = all ? hiddenStates(architecture, declared.weights, inputs) : undefined;
    const scores = scoreBatch(graph, architecture, declared.weights, inputs, { states, recompute: again });
    const outputs: Record<string, Tensor> = {};
    const factors: Record<string, Float32Array> = {};
    const losses = scores.roles.map(({ logps }, k) => {
      outputs[`logps/${k}`] = logps;
      const name = `factor/${k}`;
      // Padding has whatever log-probability; it counts for nothing.
      factors[name] = Float32Array.from({ length: logps.elements }, (_, i) =>
        Number(batch.segments[k][i]) < records.length ? Math.cos(i + 1) : 0,
      );
      return sum(mul(logps, graph.input(name, "float", logps.shape)));
    });
    const total = losses.reduce((a, b) => add(a, b));
    gradients(total, declared.trained).forEach((g, i) => {
      if (g) outputs[`gradient/${declared.trained[i].id}`] = g;
    });
    const given = { ...modelArrays(model), ...batchArrays(batch, roles), ...factors };
    return { bytes: peakBytes(graph, outputs), results: await evaluate(backend, graph, outputs, given) };
  };
  const [some, all] = [await found(false), await found(true)];
  expect(some.bytes).toBeLessThan(all.bytes);
  expect(Object.keys(some.results).sort()).toEqual(Object.keys(all.results).sort());
  for (const [name, values] of Object.entries(all.results)) {
    const largest = Math.max(...Array.from(values as Float32Array, Math.abs));
    (some.results[name] as Float32Array).forEach((v, i) =>
      expect(Math.abs(v - Number(values[i])), `${name}[${i}]`).toBeLessThanOrEqual(1e-5 * largest + 1e-7),
    );
  }
});
