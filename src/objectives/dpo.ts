/**
 * Direct Preference Optimization (Rafailov et al., arXiv:2305.18290, Eq. 7), with label smoothing after Mitchell's note
 * "A note on DPO with noisy preferences" (2023, Eq. 3). Raises the log-ratio of the chosen completion over that of the
 * rejected one, hardest where the implicit reward orders the pair wrongly, not at all once it is sure. Option `lossType` makes it
 * any other loss of its family, or a mixture.
 */
import { mixedPairObjective } from "./dpo-family.ts";

export const dpo = mixedPairObjective("dpo", ["sigmoid"]);
