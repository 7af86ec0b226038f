/** Scores of packed pairs under a model against the same numbers taken one answer at a time. */
import { expect, test } from "vitest";
import { openBackend } from "../../engine/backends/open.ts";
import { gradients } from "../../engine/gradient.ts";
import { Graph } from "../../engine/graph.ts";
import { mul } from "../../engine/ops/elementwise.ts";
import { sum } from "../../engine/ops/reduce.ts";
import { evaluate } from "../../engine/program.ts";
import { random } from "../../engine/random.ts";
import type { TokenRow } from "../../data/token-row.ts";
import { newLanguageModel } from "../../models/language-model.ts";
import { declareWeights } from "../../nn/parameters.ts";
import { pack } from "../../scoring/packing.ts";
import { batchArrays, scoreText } from "../../scoring/text-graph.ts";
import { readStates } from "../../scoring/testing.ts";
import { scorePairs } from "./score-pairs.ts";
import { predictingStates, similarities } from "./similarity.ts";

const config = {
  model_type: "llama",
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  tie_word_embeddings: false,
  eos_token_id: 0,
};
const model = newLanguageModel(config, 5, await openBackend());
const rng = random(7, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => 1 + rng.integer(39));
const rows = Array.from({ length: 9 }, (_, i): TokenRow => {
  const branch = (role: string) => [{ role, ids: [...ids(1 + rng.integer(7)), 0] }];
  return {
    kind: "pair",
    trees: [{ prompt: ids(1 + rng.integer(5)), branches: [branch("chosen"), branch("rejected")] }],
    fields: {},
    values: {},
    tokenRewards: {},
    truncated: 0,
    source: { file: "records", line: i + 1 },
  };
});

const parts = ({ trees: [{ prompt, branches }] }: TokenRow) => ({
  prompt,
  answers: branches.map(([{ ids: answer }]) => answer),
});

test("packed rows give the scores of each answer on its own", async () => {
  const found = await scorePairs(model, rows);
  for (const [i, row] of rows.entries()) {
    const { prompt, answers } = parts(row);
    const [chosen, rejected] = await Promise.all(
      answers.map(async (answer) => ({
        states: predictingStates(await readStates(model, [...prompt, ...answer]), prompt.length),
        tokens: answer.slice(0, -1),
      })),
    );
    const wanted = similarities(chosen, rejected);
    for (const [name, value] of Object.entries(wanted))
      expect(Math.abs(Number(found[i][name as keyof typeof wanted]) - value), name).toBeLessThan(
        1e-4 * (1 + Math.abs(value)),
      );
  }
});

/** ∇ log π(answer | prompt) by the output head, flat. */
async function headGradient(prompt: readonly number[], answer: readonly number[]): Promise<Float32Array> {
  const roles = [{ name: "completion", many: false }];
  const trees = [{ prompt, branches: [[{ role: "completion", ids: answer }]] }];
  const batch = pack([{ trees }], roles, model.architecture.rope);
  const graph = new Graph();
  const declared = declareWeights(graph, model.architecture.parameters);
  const [{ logps }] = scoreText(graph, model.architecture, declared.weights, batch.shape, roles).roles;
  const real = graph.input("real", "float", logps.shape);
  const head = declared.tensors.filter((t) => t.id === "lm_head.weight");
  const [gradient] = gradients(sum(mul(logps, real)), head);
  if (!gradient) throw new TypeError("the head has a gradient");
  const mask = Float32Array.from({ length: batch.targets.length }, (_, i) => Number(i < answer.length));
  const given = { ...model.weights.named(), ...batchArrays(batch, roles), real: mask };
  return (await evaluate(model.backend, graph, { gradient }, given)).gradient as Float32Array;
}

test("chesExact is made of gradients by the output head", async () => {
  const found = await scorePairs(model, rows.slice(0, 4), { measures: ["chesExact"] });
  for (const [i, row] of rows.slice(0, 4).entries()) {
    const { prompt, answers } = parts(row);
    const [w, l] = [await headGradient(prompt, answers[0]), await headGradient(prompt, answers[1])];
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((t, x, k) => t + x * b[k], 0);
    const wanted = dot(w, l) - dot(w, w);
    expect(Object.keys(found[i])).toEqual(["chesExact"]);
    expect(Math.abs(Number(found[i].chesExact) - wanted)).toBeLessThan(2e-4 * (1 + Math.abs(wanted)));
  }
});
