/**
 * DPO on whole rankings (Rafailov et al., arXiv:2305.18290, App. A.3, Eq. 20): the Plackett-Luce likelihood of a list in the order of
 * its scores, best first. Each place is a softmax over what is left; a list of two is DPO.
 */
import { mul } from "../engine/ops/elementwise.ts";
import { logRatio } from "./log-ratio.ts";
import { listMle } from "./list-losses/list-mle.ts";
import { objective } from "./objective.ts";
import { positive } from "./options.ts";
import { rankedBy } from "./list-losses/list.ts";
import { listMetrics } from "./list-losses/metrics.ts";

export const plackettLuce = objective({
  id: "plackett-luce",
  record: "list",
  options: { beta: positive(0.1) },
  checkList(scores) {
    if (scores.length < 2) return `it has ${scores.length} completion, and one alone is no ranking`;
    if (scores.some(Number.isNaN)) return "its completions have no scores";
    if (new Set(scores).size < scores.length) return "equal scores have no order";
    return undefined;
  },
  loss: ({ completions }, { beta }) =>
    listMle(mul(beta, logRatio(completions)), rankedBy(completions, "order")),
  metrics: ({ completions }, { beta }) => listMetrics(completions, mul(beta, logRatio(completions))),
});
