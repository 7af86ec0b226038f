/** The model of a benchmark: a Llama of any size with fresh weights, by default the 34M-parameter one of docs/performance.md. */
import type { Command } from "commander";
import type { Backend } from "../../engine/backends/backend.ts";
import { RequestError } from "../../errors.ts";
import { parameterCounts } from "../../models/declare.ts";
import { type LanguageModel, newLanguageModel } from "../../models/language-model.ts";
import { integer } from "../input.ts";

export interface ModelShape {
  readonly hidden: number;
  readonly layers: number;
  readonly heads: number;
  /** Width of the MLP. */
  readonly inner: number;
  readonly vocabulary: number;
  readonly kvHeads: number;
  /** The head is the embedding. */
  readonly tied: boolean;
}

/** What the command line says of a shape; absent sizes follow from the hidden size. */
export interface ShapeOptions {
  readonly hidden: number;
  readonly layers: number;
  readonly heads?: number;
  readonly inner?: number;
  readonly vocabulary: number;
  readonly kvHeads?: number;
  readonly tied?: boolean;
}

export function shapeArguments(command: Command): Command {
  return command
    .option("--hidden <n>", "hidden size", integer("hidden", 1), 512)
    .option("--layers <n>", "layers", integer("layers", 1), 8)
    .option("--heads <n>", "attention heads (default: one for 64 of hidden)", integer("heads", 1))
    .option("--inner <n>", "width of the MLP (default: 2.75 hidden)", integer("inner", 1))
    .option("--vocabulary <n>", "tokens of the vocabulary", integer("vocabulary", 2), 8192)
    .option("--kv-heads <n>", "heads of keys and values (default: all)", integer("kv-heads", 1))
    .option("--tied", "the head is the embedding");
}

/** Fills a shape in. Throws where heads do not divide the hidden size into even parts. */
export function shapeOf(options: ShapeOptions): ModelShape {
  const { hidden, layers, inner, vocabulary, tied = false } = options;
  const heads = options.heads ?? Math.max(1, Math.round(hidden / 64));
  const shape = {
    hidden,
    layers,
    heads,
    inner: inner ?? Math.round(2.75 * hidden),
    vocabulary,
    kvHeads: options.kvHeads ?? heads,
    tied,
  };
  if (hidden % shape.heads !== 0 || (hidden / shape.heads) % 2 !== 0) {
    throw new RequestError({
      code: "shape-invalid",
      what: `${shape.heads} heads for a hidden size of ${hidden}`,
      why: "a head must be a whole, even number of dimensions wide",
      fix: "Choose another --heads or --hidden",
    });
  }
  return shape;
}

/** config.json of such a model. */
export const configOf = (shape: ModelShape) => ({
  model_type: "llama",
  vocab_size: shape.vocabulary,
  hidden_size: shape.hidden,
  intermediate_size: shape.inner,
  num_hidden_layers: shape.layers,
  num_attention_heads: shape.heads,
  num_key_value_heads: shape.kvHeads,
  tie_word_embeddings: shape.tied,
  max_position_embeddings: 4096,
});

/** A model of the shape with fresh weights, the same ones each time. */
export const modelOf = (shape: ModelShape, backend: Backend): LanguageModel =>
  newLanguageModel(configOf(shape), 1, backend);

/** "34M" */
export const millions = (model: LanguageModel): string => `${Math.round(parameterCounts(model).all / 1e6)}M`;
