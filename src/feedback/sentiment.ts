/**
 * Sentiment of a text by VADER (Hutto and Gilbert, ICWSM 2014): a lexicon rated by people, with rules for negation and
 * emphasis. The npm package `vader-sentiment` 1.1.3 is an older state of it than Python's 3.3.2 and disagrees with that one on
 * about one movie sentence in twelve; it is a reward of its own, not a stand-in for the other.
 */
import { SentimentIntensityAnalyzer } from "vader-sentiment";
import type { RewardFunction } from "./reward.ts";

export const sentiment: RewardFunction = {
  id: "sentiment",
  range: [-1, 1],
  describe: "compound sentiment of prefix and completion together (vader-sentiment 1.1.3)",
  score: (prompt, completion) => SentimentIntensityAnalyzer.polarity_scores(prompt + completion).compound,
};
