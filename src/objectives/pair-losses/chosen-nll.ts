/**
 * Cross-entropy of the chosen completion, pooled over the batch's tokens: the SFT part of mixtures such as MPO
 * (Wang et al., arXiv:2411.10442). It has no score, so smoothing and divergences do not touch it.
 */
import type { PairLoss } from "./pair-loss.ts";

export const chosenNll: PairLoss = { id: "sft", difference: true, loss: ({ chosen }) => chosen.nll };
