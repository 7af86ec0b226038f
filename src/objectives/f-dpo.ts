/**
 * f-DPO (Wang et al., arXiv:2309.16240): DPO whose tie to the reference is another divergence, by `fDivergenceType`. Forward KL and
 * its neighbours cover more of the reference and keep text diverse; reverse KL, the default, is DPO itself.
 */
import { mixedPairObjective } from "./dpo-family.ts";

export const fDpo = mixedPairObjective("f-dpo", []);
