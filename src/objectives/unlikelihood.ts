/**
 * Unlikelihood, a baseline of the DPO paper (arXiv:2305.18290, section 6; after Welleck et al., arXiv:1908.04319): raises the chosen
 * completion's log-probability and lowers the rejected one's, without any bound on the second.
 */
import { mul, sub } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { nonNegative } from "./options.ts";

export const unlikelihood = objective({
  id: "unlikelihood",
  record: "pair",
  options: { alpha: nonNegative(0.5) },
  // -log π(y_w) + α log π(y_l)
  loss: ({ chosen, rejected }, { alpha }) => sub(mul(alpha, rejected.policy.logp), chosen.policy.logp),
});
