/** How many positions an exported graph has room for, and rows that models are compared on may have. */
import type { CausalLm } from "../models/causal-lm.ts";

/** The model's context, or what it was trained for where its rotary scaling sets no end. */
export function positionsOf({ context, toConfig }: CausalLm): number {
  return Number.isFinite(context) ? context : Number(toConfig().max_position_embeddings);
}
