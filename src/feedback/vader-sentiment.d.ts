declare module "vader-sentiment" {
  export interface Polarity {
    neg: number;
    neu: number;
    pos: number;
    /** Normalised sum of all ratings, -1 to 1. */
    compound: number;
  }
  export const SentimentIntensityAnalyzer: { polarity_scores(text: string): Polarity };
}
