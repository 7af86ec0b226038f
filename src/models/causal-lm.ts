/**
 * What a decoder-only language model is to the rest of prefopt: parameters with their checkpoint names, a forward pass
 * that leaves attention to its caller, and an output head. One file an architecture describes it; `assemble` makes it of that.
 */
import type { Tensor } from "../engine/tensor.ts";
import type { Attend, HeadShape } from "../nn/attention.ts";
import type { ParameterSpec, Weights } from "../nn/parameters.ts";
import type { Rope } from "../nn/rotary.ts";

/** Tokens and their places. With these alone nothing is rotated: `attend` is given queries and keys as they were made. */
export interface PlacedTokens {
  /** [tokens] int64 */
  readonly ids: Tensor;
  /** [tokens] int64, each token's place in its own sequence, from 0 */
  readonly positions: Tensor;
}

export interface TokenInputs extends PlacedTokens {
  /** [tokens, rope.width/2], the rotation of each token */
  readonly cos: Tensor;
  readonly sin: Tensor;
  /** [1, tokens] int64, 0 … tokens-1 */
  readonly order: Tensor;
}

export interface HiddenOptions {
  /** Is shown the embedding's output and every layer's, in order; of the last layer what the final norm makes of it. */
  readonly observe?: (states: Tensor) => void;
  /** Keep only what goes into each layer, and compute the layer a second time for its gradient: less memory, more time. */
  readonly recompute?: boolean;
  /**
   * The tokens whose states are wanted, [n] int64, which may repeat; default: all. Of the last layer everything behind its attention is
   * then computed for these alone.
   */
  readonly at?: Tensor;
}

export interface CausalLm {
  readonly modelType: string;
  readonly vocabularySize: number;
  readonly hiddenSize: number;
  readonly layers: number;
  /** Longest row the model was made for; Infinity where the rotary scaling sets no limit. */
  readonly context: number;
  readonly attention: HeadShape;
  readonly rope: Rope;
  readonly parameters: readonly ParameterSpec[];
  /** c where a logit z becomes c tanh(z/c). */
  readonly finalSoftcap?: number;
  /** Tensors that a checkpoint may hold beside the parameters: tied copies, old buffers. */
  ignores(name: string): boolean;
  /** The name that some files have for a parameter instead. */
  otherName(name: string): string | undefined;
  /** Hidden states after the final norm, [tokens, hidden], or [n, hidden] of the tokens asked for. */
  hidden(
    weights: Weights,
    inputs: TokenInputs | PlacedTokens,
    attend: Attend,
    options?: HiddenOptions,
  ): Tensor;
  /** The output head, [vocabulary, hidden]; the embedding where the two are tied. */
  head(weights: Weights): Tensor;
  /** Logits of hidden states: [n, hidden] → [n, vocabulary], capped where the model caps them. */
  logits(weights: Weights, states: Tensor): Tensor;
  /** config.json as `transformers` reads it. */
  toConfig(): Record<string, unknown>;
}

/** Reads a parsed config.json; `where` names the file in errors. */
export type Architecture = (config: Readonly<Record<string, unknown>>, where: string) => CausalLm;
