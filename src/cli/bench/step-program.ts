/**
 * A training step to be timed: forward and all gradients of the token-mean cross-entropy over all positions of full rows, no
 * optimizer. And the matrix product that it is measured against.
 */
import type { Backend } from "../../engine/backends/backend.ts";
import { gradients } from "../../engine/gradient.ts";
import { Graph } from "../../engine/graph.ts";
import { arenaBytes, peakBytes } from "../../engine/memory.ts";
import { div, neg } from "../../engine/ops/elementwise.ts";
import { matmul } from "../../engine/ops/matmul.ts";
import { sum } from "../../engine/ops/reduce.ts";
import { type BoundProgram, compile, writtenFor } from "../../engine/program.ts";
import { random } from "../../engine/random.ts";
import { type Tensor, dim } from "../../engine/tensor.ts";
import type { LanguageModel } from "../../models/language-model.ts";
import { declareModel, modelArrays, parameterCounts, trainedWeights } from "../../models/declare.ts";
import { ParameterArray } from "../../nn/parameters.ts";
import { type PackedBatch, pack } from "../../scoring/packing.ts";
import { batchArrays, scoreText } from "../../scoring/text-graph.ts";
import type { ModelShape } from "./shape.ts";

export interface BatchShape {
  readonly rows: number;
  readonly time: number;
}

const roles = [{ name: "completion", many: false }];

/** Rows of random tokens, each position predicting another random one. */
export function stepBatch(model: LanguageModel, { rows, time }: BatchShape, seed = 1): PackedBatch {
  const { rope, vocabularySize, hiddenSize } = model.architecture;
  const rng = random(seed, "bench");
  // One more token than is scored: the first is only given.
  const records = Array.from({ length: rows }, () => {
    const ids = Array.from({ length: time }, () => rng.integer(vocabularySize));
    const branches = [[{ role: "completion", ids: ids.slice(1) }]];
    return { trees: [{ prompt: ids.slice(0, 1), branches }] };
  });
  const batch = pack(records, roles, rope, { rounding: "fine", hidden: hiddenSize });
  // All positions count: the last one of each row predicts a token too.
  batch.index.forEach((_, i) => (batch.index[i] = BigInt(i % (rows * time))));
  batch.targets.forEach((_, i) => (batch.targets[i] = BigInt(rng.integer(vocabularySize))));
  return batch;
}

export interface StepGraphOptions {
  /** Compute layers a second time for their gradients. */
  readonly recompute?: boolean;
}

/** The graph of a step and its outputs: the loss, and a gradient for each parameter. */
export function stepGraph(
  model: LanguageModel,
  batch: PackedBatch,
  { recompute }: StepGraphOptions = {},
): { graph: Graph; outputs: Record<string, Tensor> } {
  const { architecture } = model;
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const scores = scoreText(graph, architecture, declared.weights, batch.shape, roles, { recompute });
  const loss = neg(div(sum(scores.roles[0].logps), batch.index.length));
  const outputs: Record<string, Tensor> = { loss };
  gradients(loss, declared.trained).forEach((g, i) => {
    if (g) outputs[`gradient/${declared.trained[i].id}`] = g;
  });
  return { graph, outputs };
}

/** A compiled step with its gradients in a flat array. */
export async function stepProgram(
  model: LanguageModel,
  batch: PackedBatch,
  options: StepGraphOptions = {},
): Promise<BoundProgram> {
  const { backend } = model;
  const { graph, outputs } = stepGraph(model, batch, options);
  const frugal = options.recompute;
  const written = writtenFor(backend, { graph, outputs }, { frugal });
  backend.reserve?.(arenaBytes(peakBytes(written.graph, written.outputs))); // as a run does, whose memory is planned
  const program = await compile(backend, graph, outputs, { frugal });
  return program.bind(
    { ...modelArrays(model), ...batchArrays(batch, roles) },
    ParameterArray.allocate(backend, trainedWeights(model).layout).named("gradient/"),
  );
}

/**
 * Model FLOPs of a step: 6·(parameters without the embedding)·tokens + 12·layers·rows·T²·hidden; beneath an adapter 4 for 6, as
 * weights have no gradients then. What recomputation does twice counts once.
 */
export function stepFlops(model: LanguageModel, shape: ModelShape, { rows, time }: BatchShape): number {
  const embedding = shape.tied ? 0 : shape.vocabulary * shape.hidden;
  return (
    (model.adapter ? 4 : 6) * (parameterCounts(model).all - embedding) * rows * time +
    12 * shape.layers * rows * time ** 2 * shape.hidden
  );
}

/** Edge of the square matrices. */
export const productSize = 1024;
export const productFlops = 2 * productSize ** 3;

/** MatMul of 1024³ with both operands as inputs. */
export async function productProgram(backend: Backend): Promise<BoundProgram> {
  const n = productSize;
  const graph = new Graph();
  const y = matmul(
    graph.input("a", "float", [dim("n", n), dim("k", n)]),
    graph.input("b", "float", [dim("k", n), dim("m", n)]),
  );
  const rng = random(1, "product");
  const square = () => Float32Array.from({ length: n * n }, () => rng.uniform());
  const program = await compile(backend, graph, { y }, { little: true }); // the arena is for what is measured against it
  return program.bind({ a: square(), b: square() });
}
