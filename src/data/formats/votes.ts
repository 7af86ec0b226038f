/** What several people's rankings of the same answers come to: of two answers a pair with the share of votes, of more a list with mean scores. */
import type { Row } from "../../formats/rows.ts";
import type { Content } from "./turns.ts";

/** Ranks by the names of answers, 1 the best; equal ranks are ties. */
export type Ranking = ReadonlyMap<string, number>;

/** Ranks of names that stand in order. */
export const inOrder = (names: readonly string[]): Ranking => new Map(names.map((name, i) => [name, i + 1]));

/**
 * The record of a prompt whose answers were ranked once or more. Of two, the one that more votes prefer is chosen; with several votes, or a
 * tie, `chosenProb` is its share, a tie counted as half a vote. Of more, an answer's score is how many it is ranked before, on average.
 */
export function comparisonOf(
  prompt: Content,
  answers: ReadonlyMap<string, Content>,
  rankings: readonly Ranking[],
): Row {
  const names = [...answers.keys()];
  const rank = (ranking: Ranking, name: string) => ranking.get(name) ?? Infinity;
  if (names.length !== 2) {
    const beaten = (ranking: Ranking, name: string) =>
      names.filter((other) => rank(ranking, other) > rank(ranking, name)).length;
    const scores = names.map((name) => mean(rankings.map((ranking) => beaten(ranking, name))));
    return { prompt, completions: [...answers.values()], scores };
  }
  const [a, b] = names;
  const votes = rankings.map((r) => (rank(r, a) < rank(r, b) ? 1 : rank(r, a) > rank(r, b) ? 0 : 0.5));
  const share = mean(votes);
  const [chosen, rejected] = share >= 0.5 ? [a, b] : [b, a];
  const probability = mean(chosen === a ? votes : votes.map((vote) => 1 - vote));
  return {
    prompt,
    chosen: answers.get(chosen),
    rejected: answers.get(rejected),
    ...((rankings.length > 1 || probability === 0.5) && { chosenProb: probability }),
  };
}

/** The names in the order of their scores, best first; whether the scores say more than that order. */
export function orderOf(
  names: readonly string[],
  scores: readonly number[],
): { names: string[]; exact: boolean } {
  const ordered = names.map((name, i) => ({ name, score: scores[i] })).sort((x, y) => y.score - x.score);
  const exact = ordered.every(({ score }, i) => score === names.length - 1 - i);
  return { names: ordered.map(({ name }) => name), exact };
}

const mean = (xs: readonly number[]) => xs.reduce((a, b) => a + b, 0) / xs.length;
