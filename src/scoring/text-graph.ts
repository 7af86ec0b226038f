/**
 * The graph that scores packed rows with a language model: inputs of a packed batch, and the log-probability of every
 * scored token, role by role.
 */
import type { Graph } from "../engine/graph.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { slice } from "../engine/ops/shape.ts";
import { tokenLogProbs } from "../engine/ops/token-log-probs.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import type { CausalLm } from "../models/causal-lm.ts";
import { fullAttention } from "../nn/attention.ts";
import { layerMasks } from "../nn/masks.ts";
import type { Weights } from "../nn/parameters.ts";
import type { PackShape, PackedBatch } from "./packing.ts";

/** What one role's scores are made of. */
export interface RoleTensors {
  /** Log-probability of each scored token, [scored]; padding holds some number that segments send to the drain. */
  readonly logps: Tensor;
  /** The record of each scored token, [scored] int64; `records` for padding. */
  readonly segments: Tensor;
  /** Place of each scored token in its completion, [scored]. */
  readonly positions: () => Tensor;
  /** Completion tokens of each record, [records]. */
  readonly lengths: Tensor;
}

export interface TextScores {
  readonly records: Dim;
  readonly roles: readonly RoleTensors[];
}

/** Declares the inputs of a packed batch of the given shape and scores it. `roles` names the completions, in order. */
export function scoreText(
  graph: Graph,
  model: CausalLm,
  weights: Weights,
  shape: PackShape,
  roles: readonly string[],
): TextScores {
  const [rows, time] = [dim("rows", shape.rows), dim("time", shape.time)];
  const tokens = dim("tokens", shape.rows * shape.time);
  const half = dim("half", model.rope.width / 2);
  const scored = dim(
    "scored",
    shape.scored.reduce((a, b) => a + b, 0),
  );
  const records = dim("records", shape.records);

  const mask = graph.input("mask", "float", [rows, dim("one", 1), time, dim("keys", shape.time)]);
  const inputs = {
    ids: graph.input("ids", "int64", [tokens]),
    positions: graph.input("token/positions", "int64", [tokens]),
    cos: graph.input("cos", "float", [tokens, half]),
    sin: graph.input("sin", "float", [tokens, half]),
    order: graph.input("order", "int64", [dim("one", 1), tokens]),
  };
  const masks = layerMasks(mask, inputs.positions, model.attention.layers);
  const hidden = model.hidden(weights, inputs, fullAttention(model.attention, rows, time, masks));
  const states = gatherRows(hidden, graph.input("index", "int64", [scored]));
  const targets = graph.input("targets", "int64", [scored]);
  const all = tokenLogProbs(states, model.head(weights), targets, undefined, model.finalSoftcap);

  let start = 0;
  return {
    records,
    roles: roles.map((role, k) => {
      const count = shape.scored[k];
      const logps = slice(all, "scored", start, start + count, `${role} tokens`);
      start += count;
      return {
        logps,
        segments: graph.input(`${role}/segments`, "int64", [dim(`${role} tokens`, count)]),
        positions: once(() => graph.input(`${role}/positions`, "float", [dim(`${role} tokens`, count)])),
        lengths: graph.input(`${role}/lengths`, "float", [records]),
      };
    }),
  };
}

function once<T>(make: () => T): () => T {
  let made: { value: T } | undefined;
  return () => (made ??= { value: make() }).value;
}

/** The arrays of a packed batch under the names of the inputs declared by `scoreText`. */
export function batchArrays(batch: PackedBatch, roles: readonly string[]): Record<string, TensorArray> {
  const arrays: Record<string, TensorArray> = {
    ids: batch.ids,
    "token/positions": batch.tokenPositions,
    cos: batch.cos,
    sin: batch.sin,
    order: BigInt64Array.from({ length: batch.ids.length }, (_, i) => BigInt(i)),
    mask: batch.mask,
    index: batch.index,
    targets: batch.targets,
  };
  roles.forEach((role, k) => {
    arrays[`${role}/segments`] = batch.segments[k];
    arrays[`${role}/positions`] = batch.positions[k];
    arrays[`${role}/lengths`] = batch.lengths[k];
  });
  return arrays;
}
