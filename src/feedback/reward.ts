/** Reward functions by name: who prefers, when a rule does. Each scores prompt and completion together. */
import { RequestError, nearest } from "../errors.ts";

export interface RewardFunction {
  readonly id: string;
  /** Smallest and largest value. */
  readonly range: readonly [number, number];
  readonly describe: string;
  score(prompt: string, completion: string): number | Promise<number>;
}

const rewards: Readonly<Record<string, () => Promise<RewardFunction>>> = {
  sentiment: async () => (await import("./sentiment.ts")).sentiment,
  length: async () => (await import("./length.ts")).length,
};

/** The reward function of that name. Throws for a name that is not in the table. */
export function rewardNamed(id: string): Promise<RewardFunction> {
  if (Object.hasOwn(rewards, id)) return rewards[id]();
  const known = Object.keys(rewards);
  const guess = nearest(id, known);
  throw new RequestError({
    code: "unknown-reward",
    what: `there is no reward "${id}"`,
    fix: guess ? `Did you mean ${guess}?` : `Known: ${known.join(", ")}`,
  });
}
