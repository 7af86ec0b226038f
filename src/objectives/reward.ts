/**
 * A reward model by the Bradley-Terry likelihood (arXiv:2305.18290, Eq. 2; TRL's RewardTrainer): a scalar head reads the state of a
 * completion's last token, and the chosen one must score higher, by a margin where the pair has one. Centring keeps rewards near 0.
 */
import { add, mul, neg, softplus, square, sub } from "../engine/ops/elementwise.ts";
import { objective } from "./objective.ts";
import { nonNegative } from "./options.ts";

export const reward = objective({
  id: "reward",
  record: "pair",
  options: { centerRewardsCoefficient: nonNegative(0) },
  companions: () => ({
    head: { name: "reward", width: 1, bias: false, pooling: "last", rate: 1, kept: true },
  }),
  // -log σ(r_w - r_l - m) + c (r_w + r_l)²
  loss({ chosen, rejected, field }, { centerRewardsCoefficient: c }) {
    const lead = sub(sub(chosen.reward, rejected.reward), field("margin", 0));
    const preference = softplus(neg(lead));
    return c === 0 ? preference : add(preference, mul(c, square(add(chosen.reward, rejected.reward))));
  },
  rewards: ({ chosen, rejected }) => ({ chosen: chosen.reward, rejected: rejected.reward }),
});
