/**
 * A language model as the one graph that runtimes for ONNX models generate with: ids, a mask and a cache in, logits and the longer
 * cache out, with batch and lengths free. Names are those of transformers.js (and Optimum); operators are standard ones.
 */
import { Graph } from "../../engine/graph.ts";
import { reshape } from "../../engine/ops/shape.ts";
import { type Shape, type Tensor, dim } from "../../engine/tensor.ts";
import type { CausalLm } from "../../models/causal-lm.ts";
import type { LayerCache } from "../../nn/attention.ts";
import { declareWeights } from "../../nn/parameters.ts";
import { positionsOf } from "../positions.ts";
import { cacheName, cacheShape, growingAttention } from "./attention.ts";
import { reshapeFrom } from "./nodes.ts";
import { batch, placesOf, time, tokens, total } from "./places.ts";
import { type RotationTable, declareRotation, rotationTable, tableNames } from "./rotation.ts";

export interface DecoderGraph {
  readonly graph: Graph;
  readonly outputs: Readonly<Record<string, Tensor>>;
  /** Numbers that the model needs besides its weights. */
  readonly tables: readonly { readonly name: string; readonly shape: Shape; readonly data: Float32Array }[];
  /** What the graph does less than the model. */
  readonly warnings: readonly string[];
}

export function decoderGraph(architecture: CausalLm): DecoderGraph {
  const graph = new Graph("float32", true);
  return graph.untaped(() => {
    const { attention, rope } = architecture;
    const { weights } = declareWeights(graph, architecture.parameters);
    const ids = graph.input("input_ids", "int64", [batch, time]);
    const mask = graph.input("attention_mask", "int64", [batch, total]);
    const layers = attention.layers.map((_, i): LayerCache => ({
      keys: graph.input(cacheName("past_key_values", i, "key"), "float", cacheShape(attention)),
      values: graph.input(cacheName("past_key_values", i, "value"), "float", cacheShape(attention)),
    }));
    const places = placesOf(ids, mask, attention.layers);
    const positions = positionsOf(architecture);
    const table = rope.width === 0 ? undefined : rotationTable(rope, positions);
    const turns = table && declareRotation(graph, table, places);
    const rotation = turns && {
      fresh: turns(places.fresh),
      all: table.switchAt === undefined ? undefined : turns(places.all),
    };
    const grown: LayerCache[] = [];
    const attend = growingAttention(attention, places, rotation, layers, grown);
    const flat = { ids: reshape(ids, [tokens]), positions: reshape(places.fresh, [tokens]) };
    const states = architecture.hidden(weights, flat, attend);
    const logits = architecture.logits(weights, states);
    const vocabulary = dim("vocabulary", architecture.vocabularySize);
    return {
      graph,
      outputs: {
        logits: reshapeFrom(logits, places.rows, [batch, time, vocabulary]),
        ...Object.fromEntries(
          grown.flatMap(({ keys, values }, i) => [
            [cacheName("present", i, "key"), keys],
            [cacheName("present", i, "value"), values],
          ]),
        ),
      },
      tables: table ? tablesOf(graph, table) : [],
      warnings: warningsOf(architecture, positions, table),
    };
  });
}

function tablesOf(graph: Graph, table: RotationTable): DecoderGraph["tables"] {
  return (["cos", "sin"] as const).map((key) => {
    const name = tableNames[key];
    const shape = graph.inputs.find((t) => t.id === name)?.shape ?? [];
    return { name, shape, data: table[key] };
  });
}

/** What the graph does less than the model. */
function warningsOf(
  { context, rope }: CausalLm,
  positions: number,
  table: RotationTable | undefined,
): string[] {
  const warnings: string[] = [];
  if (!Number.isFinite(context))
    warnings.push(`rows end at ${positions} tokens, though the model's rotary scaling would stretch beyond`);
  if (rope.dependsOnLength && table?.switchAt !== undefined)
    warnings.push(
      `a row that grows beyond ${table.switchAt} tokens while it is generated goes on from what was read with the frequencies of short rows; prefopt reads it anew`,
    );
  return warnings;
}
