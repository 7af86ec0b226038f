/** Length in words: the simplest thing to prefer, and a check that a run does what it is told. */
import type { RewardFunction } from "./reward.ts";

export const length: RewardFunction = {
  id: "length",
  range: [0, Infinity],
  describe: "number of whitespace-separated words of the completion",
  score: (_prompt, completion) => completion.split(/\s+/).filter(Boolean).length,
};
