/**
 * Puts a language model together from its parts: embedding, layers, final norm, head. What every decoder does alike stands
 * here; what one does differently stands in its layers.
 */
import { softcap } from "../engine/ops/elementwise.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { linear } from "../engine/ops/matmul.ts";
import { rotary } from "../engine/ops/rotary.ts";
import { layerBoundary, recomputed } from "../engine/ordering.ts";
import { type Dim, type Tensor } from "../engine/tensor.ts";
import type { HeadShape } from "../nn/attention.ts";
import type { Layer } from "../nn/layers.ts";
import { type ParameterSpec, type Weights, tensorsOf } from "../nn/parameters.ts";
import type { Rope } from "../nn/rotary.ts";
import type { CausalLm, PlacedTokens } from "./causal-lm.ts";

/** What a layer is given besides its weights and its input. */
export interface LayerTools {
  /** Rotates queries or keys, [tokens, heads·headDim], to their positions. */
  turn(x: Tensor, heads: number): Tensor;
  /** Attention of this layer: queries, keys and values, rotated already → [wanted, heads·headDim]. */
  attend(q: Tensor, k: Tensor, v: Tensor): Tensor;
  /** The tokens of [tokens, …] that are wanted of this layer, [wanted, …]: what goes past its attention. All, but in the last layer. */
  wanted(x: Tensor): Tensor;
}

export interface DecoderLayer {
  readonly parameters: readonly ParameterSpec[];
  apply(w: Weights, x: Tensor, tools: LayerTools): Tensor;
}

export interface Embedding {
  readonly parameters: readonly ParameterSpec[];
  apply(w: Weights, inputs: PlacedTokens): Tensor;
}

export interface Blueprint {
  readonly modelType: string;
  readonly vocabulary: Dim;
  readonly hidden: Dim;
  readonly context: number;
  readonly attention: HeadShape;
  readonly rope: Rope;
  readonly embedding: Embedding;
  readonly layers: readonly DecoderLayer[];
  readonly norm: Layer;
  /** Names of the embedding and of the head that a file has where the two are not tied, without ".weight". */
  readonly names: { readonly embedding: string; readonly head: string };
  readonly tied: boolean;
  /** Standard deviation of a fresh head. */
  readonly std: number;
  readonly finalSoftcap?: number;
  /** Tensors of old files that are no parameters. */
  readonly buffers?: RegExp;
  readonly otherName?: (name: string) => string | undefined;
  readonly toConfig: () => Record<string, unknown>;
}

export function assemble(b: Blueprint): CausalLm {
  const headName = `${b.tied ? b.names.embedding : b.names.head}.weight`;
  const shape = [b.vocabulary, b.hidden];
  const ownHead: ParameterSpec[] = b.tied ? [] : [{ name: headName, shape, initial: { normal: b.std } }];
  const head = (w: Weights) => w(headName);
  const tiedCopies = ["lm_head.weight", `${b.names.head}.weight`];
  return {
    modelType: b.modelType,
    vocabularySize: b.vocabulary.size,
    hiddenSize: b.hidden.size,
    layers: b.layers.length,
    context: b.context,
    attention: b.attention,
    rope: b.rope,
    finalSoftcap: b.finalSoftcap,
    parameters: [
      ...b.embedding.parameters,
      ...b.layers.flatMap((l) => l.parameters),
      ...b.norm.parameters,
      ...ownHead,
    ],
    ignores: (name) => (b.tied && tiedCopies.includes(name)) || (b.buffers?.test(name) ?? false),
    otherName: (name) => b.otherName?.(name),
    head,
    logits: (w, states) => softcap(linear(states, head(w)), b.finalSoftcap),
    hidden(w, inputs, attend, { observe, recompute = false, at } = {}) {
      let x = b.embedding.apply(w, inputs);
      b.layers.forEach((layer, i) => {
        observe?.(x);
        const wanted = (y: Tensor) => (at && i === b.layers.length - 1 ? gatherRows(y, at) : y);
        const tools: LayerTools = {
          turn: (q, heads) => ("cos" in inputs ? rotary(q, inputs.cos, inputs.sin, inputs.order, heads) : q),
          attend: (q, k, v) => wanted(attend(q, k, v, i)),
          wanted,
        };
        const apply = (input: Tensor) => layer.apply(w, input, tools);
        x = layerBoundary(x, () => tensorsOf(w, layer.parameters));
        x = recompute ? recomputed(x, tensorsOf(w, layer.parameters), apply) : apply(x);
      });
      const states = b.norm.apply(w, x);
      observe?.(states);
      return states;
    },
    toConfig: b.toConfig,
  };
}

/** A configuration for saving: as it was given, without keys of the new style, under the names of this architecture. */
export function savedConfig(
  values: Readonly<Record<string, unknown>>,
  modelType: string,
  className: string,
): Record<string, unknown> {
  const replaced = ["architectures", "model_type", "rope_parameters", "dtype"];
  const kept = Object.entries(values).filter(([key]) => !replaced.includes(key));
  return { architectures: [className], model_type: modelType, ...Object.fromEntries(kept) };
}
