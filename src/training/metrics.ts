/** What is logged of a batch, under the names that dashboards know. */
import { rewardMetrics } from "../objectives/calculator.ts";
import type { BatchResult } from "./objective-programs.ts";

/** Loss, mean rewards with margin and accuracy, and mean summed log-probability by role. */
export function stepMetrics(result: BatchResult): Record<string, number> {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const logps = Object.entries(result.logps).map(([role, values]) => [`logps/${role}`, mean(values)]);
  const metrics = Object.entries(result.metrics).map(([name, values]) => [name, mean(values)]);
  return {
    loss: result.loss,
    ...rewardMetrics(result.rewards),
    ...Object.fromEntries([...logps, ...metrics]),
  };
}
