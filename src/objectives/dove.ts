/**
 * Joint preference optimization (DOVE; Bansal et al., arXiv:2404.00530): DPO on the joint log-probability of instruction and answer, so
 * that answers to two different instructions can be compared. With equal instructions it is DPO; with different ones it also makes the
 * chosen instruction likelier, which `instrMargin` shows.
 */
import { add, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Tensor } from "../engine/tensor.ts";
import { logRatio } from "./log-ratio.ts";
import type { RecordView } from "./definition.ts";
import { objective } from "./objective.ts";
import { flag, nonNegative, positive } from "./options.ts";

type Joint = RecordView<"joint">;

/** ρ(R_w | I_w) - ρ(R_l | I_l) and ρ(I_w) - ρ(I_l): [records] */
const conditional = (r: Joint) => sub(logRatio(r["chosen.response"]), logRatio(r["rejected.response"]));
const instruction = (r: Joint) => sub(logRatio(r["chosen.instruction"]), logRatio(r["rejected.instruction"]));

/** Weight of the instruction's part: 0 where instructions are masked. */
const weightOf = (o: { jointDistribution: boolean; instructionWeight: number }) =>
  o.jointDistribution ? o.instructionWeight : 0;

export const dove = objective({
  id: "dove",
  record: "joint",
  options: { beta: positive(0.1), jointDistribution: flag(true), instructionWeight: nonNegative(1) },
  loss(record, o) {
    const weight = weightOf(o);
    const margin: Tensor =
      weight === 0 ? conditional(record) : add(conditional(record), mul(weight, instruction(record)));
    return softplus(neg(mul(o.beta, margin)));
  },
  metrics: (record, o) => ({
    condMargin: conditional(record),
    ...(weightOf(o) > 0 && { instrMargin: instruction(record) }),
  }),
});
