/** Direct Preference Optimization (arXiv:2305.18290): one offline pass over recorded pairs with the `dpo` objective. */
import { dpo as objective } from "../objectives/dpo.ts";
import type { Method } from "./method.ts";

export const dpo: Method = {
  id: "dpo",
  needs: "pairs (prompt, chosen, rejected) and a model that has seen such text, which is also the reference",
  claim:
    "In controlled sentiment generation DPO reaches more reward at every KL than the baselines (Figure 2, left)",
  replication:
    "small scale: `npm start` trains the embedded model for sentiment and reports reward and KL; the frontier against baselines is not replicated yet",
  defaults: { ...objective.with().options, labelSmoothing: 0 },
  terms: (options) => [{ objective: objective.with(options, "options of method dpo"), weight: 1 }],
};
