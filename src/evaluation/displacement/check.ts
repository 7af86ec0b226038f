/**
 * The check of a data set for pairs so alike that training on them lowers both answers (Razin et al., arXiv:2410.08847): scores under the
 * model that will be trained, their distribution, and the pairs that score highest. Which pairs to keep follows from the same scores.
 */
import { type Check, type CheckResult, type CheckSource, example } from "../../data/checks/check.ts";
import type { Source } from "../../data/load-records.ts";
import { type TokenRow, branchLength, completionsOf } from "../../data/token-row.ts";
import { formats } from "../../data/record-formats.ts";
import { buildRows } from "../../data/rows.ts";
import { RequestError } from "../../errors.ts";
import type { LanguageModel } from "../../models/language-model.ts";
import { scorePairs } from "./score-pairs.ts";
import { ascending, distributionOf, filterByChes, rankCorrelation } from "./selection.ts";
import { type Similarities, type SimilarityMeasure, similarityMeasures } from "./similarity.ts";

export interface ScoredPair {
  readonly source: Source;
  readonly scores: Similarities;
}

export interface DisplacementOptions {
  /** By which the pairs are ranked; `chesExact` is computed only where it is this one. Default: `lnChes`, as the paper filters. */
  readonly measure?: SimilarityMeasure;
  /** Is given all scores, in the order of the data. */
  readonly onScores?: (pairs: readonly ScoredPair[]) => void;
}

export const defaultMeasure: SimilarityMeasure = "lnChes";

/** Pairs that the report shows. */
const mostShown = 10;

/** Measures that say by their sign whether the gradient by the output head lowers log π(y_w); CHES takes every coefficient for 1. */
const signed: readonly SimilarityMeasure[] = ["ches", "chesExact"];

/** The check, with a model. */
export function displacementCheck(model: LanguageModel, options: DisplacementOptions = {}): Check {
  const { measure = defaultMeasure, onScores } = options;
  const measures = similarityMeasures.filter((m) => m !== "chesExact" || m === measure);
  return {
    id: "displacement",
    title: "Likelihood displacement (CHES)",
    says: "how alike the model finds the two answers of each pair: the more alike, the more training lowers the chosen answer with the rejected one; higher scores are more alike",
    async run(source): Promise<CheckResult> {
      const { rows, records, leftOut } = await pairRows(source);
      const numbers: Record<string, number> = { "pairs scored": rows.length };
      for (const [why, count] of leftOut) numbers[`not scored: ${why}`] = count;
      if (rows.length === 0)
        return {
          findings: [],
          numbers,
          leftOut: "there is no pair with a chosen and a rejected answer in tokens",
        };
      const scores = await scorePairs(model, rows, {
        measures,
        onProgress: (done) => {
          source.signal?.throwIfAborted();
          source.tell(`scoring with the model: ${done} of ${rows.length} pairs`);
        },
      });
      onScores?.(rows.map((row, i) => ({ source: row.source, scores: scores[i] })));
      const of = (name: SimilarityMeasure) => scores.map((s) => s[name] ?? NaN);
      for (const name of measures) Object.assign(numbers, described(name, of(name)));
      const ranked = of(measure);
      const lead = rows.map((row) => lengthOf(row, "rejected") - lengthOf(row, "chosen"));
      const byLength = rankCorrelation(ranked, lead);
      if (Number.isFinite(byLength))
        numbers[`rank correlation of ${measure} with how much longer the rejected answer is`] = byLength;
      const top = ascending(ranked).reverse().slice(0, mostShown);
      return {
        numbers,
        findings: [
          {
            severity: "note",
            title: `of ${rows.length} pairs these are most alike by ${measure}`,
            count: top.length,
            of: rows.length,
            why: "training lowers the probability of both answers where the model finds them alike, and it can go to answers of the opposite meaning",
            remedy:
              "Look at them; keep the lowest part with --keep 0.05 --out FILE (the paper keeps 5 % by lnChes), or add an SFT term (rpoAlpha)",
            examples: top.map((i) =>
              example(rows[i].source, `${measure} ${shown(ranked[i])}: ${textOf(source, records[i])}`),
            ),
          },
          ...(Math.abs(byLength) > 0.5 && measure !== "lnChes"
            ? [
                {
                  severity: "note" as const,
                  title: `${measure} ranks these pairs mostly by length (rank correlation ${byLength.toFixed(2)})`,
                  count: rows.length,
                  of: rows.length,
                  why: "sums over long answers are large, so keeping the lowest part would choose by length",
                  remedy: "Filter by lnChes",
                  examples: [],
                },
              ]
            : []),
        ],
      };
    },
  };
}

export interface KeptPairs {
  /** Places of rows to keep. */
  readonly keep: readonly Source[];
  /** Rows that were scored: several pairs of one row are kept or left out together, by the highest of them. */
  readonly scored: number;
}

/** The rows to keep: the `fraction` lowest, rounded down, at least one. Throws a RequestError where the fraction is not in (0, 1]. */
export function keptPairs(
  pairs: readonly ScoredPair[],
  measure: SimilarityMeasure,
  fraction: number,
): KeptPairs {
  const rows = new Map<string, { source: Source; score: number }>();
  for (const { source, scores } of pairs) {
    const key = JSON.stringify([source.file, source.line]);
    const score = Math.max(scores[measure] ?? NaN, rows.get(key)?.score ?? -Infinity);
    rows.set(key, { source, score });
  }
  const all = [...rows.values()];
  const kept = filterByChes(
    all.map((row) => row.score),
    fraction,
  );
  return { keep: kept.map((i) => all[i].source), scored: all.length };
}

/** The rows of pairs as a run would have them, which record each is of, and why others have none. */
async function pairRows(source: CheckSource) {
  const { records, refused, builder } = source;
  const rows: TokenRow[] = [];
  const own: number[] = [];
  const leftOut = new Map<string, number>();
  const leave = (why: string, count = 1) => leftOut.set(why, (leftOut.get(why) ?? 0) + count);
  if (refused.length > 0) leave("the record cannot be used", refused.length);
  const made = await source.rows();
  for (const [i, whole] of made.entries()) {
    const { record, source: place } = records[i];
    const fits = whole?.every((row) => longest(row) <= builder.limits.maxLength) ?? true;
    const limited = fits ? whole : attempt(() => buildRows(record, place, builder, kindOf(whole)));
    if (limited === undefined) {
      leave(fits ? "it cannot become tokens" : `it has more than ${builder.limits.maxLength} tokens`);
      continue;
    }
    const pairs = limited.filter(isPair);
    if (pairs.length === 0) leave(`${formats[record.format].kind} records are no pairs`);
    for (const row of pairs) {
      rows.push(row);
      own.push(i);
    }
  }
  return { rows, records: own, leftOut };
}

const kindOf = (rows: readonly TokenRow[] | undefined) => rows?.[0]?.kind;

function attempt<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof RequestError) return undefined;
    throw error;
  }
}

const isPair = (row: TokenRow) =>
  ["chosen", "rejected"].every((role) => {
    const found = completionsOf(row, role);
    return found.length === 1 && found[0].length > 0;
  });

const lengthOf = (row: TokenRow, role: string) => completionsOf(row, role)[0]?.length ?? 0;
const longest = ({ trees }: TokenRow) =>
  Math.max(
    ...trees.map(({ prompt, branches }) => prompt.length + Math.max(0, ...branches.map(branchLength))),
  );

function described(name: SimilarityMeasure, scores: readonly number[]): Record<string, number> {
  const { mean, min, q25, median, q75, max } = distributionOf(scores);
  return {
    [`${name} mean`]: mean,
    [`${name} min`]: min,
    [`${name} 25 %`]: q25,
    [`${name} median`]: median,
    [`${name} 75 %`]: q75,
    [`${name} max`]: max,
    ...(signed.includes(name) && { [`${name} above 0`]: scores.filter((s) => s > 0).length }),
  };
}

const shown = (score: number) => score.toPrecision(4);

/** What is compared in a record, for the report. */
function textOf({ records }: CheckSource, index: number): string {
  const { prompt, pair } = records[index];
  return pair ? `${prompt} ✓ ${pair.chosen} ✗ ${pair.rejected}` : prompt;
}
