/** Gradient norms of the mean next-token loss, logits and hidden states of a row, for comparisons with PyTorch. */
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { div, mul, neg } from "../engine/ops/elementwise.ts";
import { sum } from "../engine/ops/reduce.ts";
import { evaluate } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { pack } from "./packing.ts";
import { batchArrays, declareBatch, hiddenStates, scoreText } from "./text-graph.ts";
import type { CausalLm } from "../models/causal-lm.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";

const roles = [{ name: "completion", many: false }];

/** One row, of which everything but the first token is scored. */
function packedRow(ids: readonly number[], { rope }: CausalLm) {
  const branches = [[{ role: "completion", ids: ids.slice(1) }]];
  return pack([{ trees: [{ prompt: ids.slice(0, 1), branches }] }], roles, rope);
}

/** Mean negative log-likelihood of all next tokens of one row, and the L2 norm of its gradient for each tensor. */
export async function lossAndGradientNorms(
  model: LanguageModel,
  ids: readonly number[],
): Promise<{ loss: number; norms: Record<string, number> }> {
  const { architecture, backend } = model;
  const batch = packedRow(ids, architecture);
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const [{ logps }] = scoreText(graph, architecture, declared.weights, batch.shape, roles).roles;
  // Only the first ids.length - 1 scored slots are real; the others are padding.
  const real = graph.input("real", "float", logps.shape);
  const loss = neg(div(sum(mul(logps, real)), ids.length - 1));
  const outputs: Record<string, Tensor> = { loss };
  gradients(loss, declared.trained).forEach((g, i) => {
    if (g) outputs[`gradient/${declared.trained[i].id}`] = g;
  });
  const mask = Float32Array.from({ length: batch.targets.length }, (_, i) => Number(i < ids.length - 1));
  const given = { ...modelArrays(model), ...batchArrays(batch, roles), real: mask };
  const results = await evaluate(backend, graph, outputs, given);
  const norm = (name: string) =>
    Math.sqrt((results[`gradient/${name}`] as Float32Array).reduce((a, b) => a + b * b, 0));
  return {
    loss: Number(results.loss[0]),
    norms: Object.fromEntries(declared.trained.map((t) => [t.id, norm(t.id)])),
  };
}

/** What the model makes of one row: logits after every token, and the hidden states of the last one as they pass through. */
export async function readRow(
  model: LanguageModel,
  ids: readonly number[],
): Promise<{ logits: number[][]; lastStates: number[][] }> {
  const { architecture, backend } = model;
  const batch = packedRow(ids, architecture);
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const outputs: Record<string, Tensor> = {};
  let layers = 0;
  const inputs = declareBatch(graph, architecture, batch.shape, roles);
  const states = hiddenStates(architecture, declared.weights, inputs, {
    observe: (x) => (outputs[`states/${layers++}`] = x),
  });
  outputs.logits = architecture.logits(declared.weights, states);
  const given = { ...modelArrays(model), ...batchArrays(batch, roles) };
  const results = await evaluate(backend, graph, outputs, given);
  const row = (name: string, t: number, width: number) =>
    Array.from((results[name] as Float32Array).subarray(t * width, (t + 1) * width));
  return {
    logits: ids.map((_, t) => row("logits", t, architecture.vocabularySize)),
    lastStates: Array.from({ length: layers }, (_, i) =>
      row(`states/${i}`, ids.length - 1, architecture.hiddenSize),
    ),
  };
}

/** Hidden states after the final norm of every token of one row. */
export async function readStates(model: LanguageModel, ids: readonly number[]): Promise<number[][]> {
  const { architecture, backend } = model;
  const batch = packedRow(ids, architecture);
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const inputs = declareBatch(graph, architecture, batch.shape, roles);
  const hidden = hiddenStates(architecture, declared.weights, inputs);
  const given = { ...modelArrays(model), ...batchArrays(batch, roles) };
  const flat = (await evaluate(backend, graph, { hidden }, given)).hidden as Float32Array;
  const width = architecture.hiddenSize;
  return ids.map((_, t) => Array.from(flat.subarray(t * width, (t + 1) * width)));
}
