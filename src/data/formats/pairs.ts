/** Pairs out of lists with scores, by a policy that is named. Equal scores prefer nothing. */
import { random } from "../../engine/random.ts";
import type { Row } from "../../formats/rows.ts";
import type { DataRecord } from "../record-formats.ts";

/** Indices of the better and the worse one. */
type Two = readonly [number, number];

export interface PairPolicy {
  readonly says: string;
  /** `order`: indices, best first; of equal scores the earlier one first. */
  readonly choose: (order: readonly number[], draw: () => number) => readonly Two[];
}

export const pairPolicies: Readonly<Record<string, PairPolicy>> = {
  "best-worst": {
    says: "the best against the worst",
    choose: (order) => [[order[0], order[order.length - 1]]],
  },
  "best-random": {
    says: "the best against one of the others, drawn at random",
    choose: (order, draw) => [[order[0], order[1 + Math.floor(draw() * (order.length - 1))]]],
  },
  "best-each": {
    says: "the best against each of the others",
    choose: (order) => order.slice(1).map((other) => [order[0], other]),
  },
  adjacent: {
    says: "each against the next one in the order of scores",
    choose: (order) => order.slice(1).map((next, i) => [order[i], next]),
  },
  all: {
    says: "every two",
    choose: (order) => order.flatMap((better, i) => order.slice(i + 1).map((worse): Two => [better, worse])),
  },
};

type ListRecord = Extract<DataRecord, { format: "list" | "listIds" }>;

/** The pairs of a list. `line` and `seed` decide draws. Empty where no scores differ. */
export function pairsOf(record: ListRecord, policy: PairPolicy, line: number, seed = 1): Row[] {
  const { scores = [], winRates } = record;
  const order = scores.map((_, i) => i).sort((a, b) => scores[b] - scores[a] || a - b);
  if (order.length < 2) return [];
  const rng = random(seed, "pairs", line);
  const { weight, id, tools } = record;
  const common = { weight, id, tools };
  const side = (i: number, name: "chosen" | "rejected") => ({
    ...(record.format === "list"
      ? { [name]: record.completions[i] }
      : { [`${name}Ids`]: record.completionsIds[i] }),
    [`${name}Reward`]: scores[i],
    ...(winRates && { [`${name}WinRate`]: winRates[i] }),
  });
  const prompt = record.format === "list" ? { prompt: record.prompt } : { promptIds: record.promptIds };
  return policy
    .choose(order, () => rng.uniform())
    .filter(([better, worse]) => scores[better] > scores[worse])
    .map(([better, worse]) =>
      defined({ ...prompt, ...side(better, "chosen"), ...side(worse, "rejected"), ...common }),
    );
}

const defined = (row: Row): Row =>
  Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined));
