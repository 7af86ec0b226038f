/** What is logged of a batch, under the names that dashboards know. */
import { rewardMetrics } from "../objectives/calculator.ts";
import { chosenChange, displacedShare, displacement, rejectedChange } from "./doctor/displacement.ts";
import type { BatchResult } from "./objective-programs.ts";

type Logps = BatchResult["logps"];

/** Loss, mean rewards with margin and accuracy, mean summed log-probability by role, and how far it is from the reference's. */
export function stepMetrics(result: BatchResult): Record<string, number> {
  return { ...batchMetrics(result), ...displacementMetrics(result.referenceLogps, result.logps) };
}

/** Share of chosen answers that became less likely, and mean changes of log-probability, where both sides are known. */
export function displacementMetrics(before: Logps, now: Logps): Record<string, number> {
  if (!before.chosen || !now.chosen) return {};
  const { share, change } = displacement(before.chosen, now.chosen);
  return {
    [displacedShare]: share,
    [chosenChange]: change,
    ...(before.rejected &&
      now.rejected && { [rejectedChange]: displacement(before.rejected, now.rejected).change }),
  };
}

/** What a batch says of itself, without the reference. */
export function batchMetrics(result: BatchResult): Record<string, number> {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const logps = Object.entries(result.logps).map(([role, values]) => [`logps/${role}`, mean(values)]);
  const metrics = Object.entries(result.metrics).map(([name, values]) => [name, mean(values)]);
  return {
    loss: result.loss,
    ...rewardMetrics(result.rewards),
    ...Object.fromEntries([...logps, ...metrics]),
  };
}
