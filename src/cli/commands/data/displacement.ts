/** `prefopt data check --ches`: scores pairs with a model, and writes those that are not too alike (docs/methods/ches.md). */
import type { DataReport } from "../../../data/checks/run-checks.ts";
import { openBackend } from "../../../engine/backends/open.ts";
import { RequestError, nearest } from "../../../errors.ts";
import {
  type ScoredPair,
  defaultMeasure,
  displacementCheck,
  keptPairs,
} from "../../../evaluation/displacement/check.ts";
import { type SimilarityMeasure, similarityMeasures } from "../../../evaluation/displacement/similarity.ts";
import { checkCopy, copyRows } from "../../../formats/copy-rows.ts";
import { locateData } from "../../../formats/locations.ts";
import { loadLanguageModel } from "../../../models/language-model.ts";
import type { DataSource } from "../../data-source.ts";
import { number } from "../../input.ts";
import { modelPath } from "../../model.ts";
import type { Followed, ModelCheck } from "./model-check.ts";

export interface DisplacementCommandOptions {
  ches?: boolean;
  measure?: SimilarityMeasure;
  keep?: number;
  out?: string;
  force?: boolean;
}

export const displacement: ModelCheck<DisplacementCommandOptions> = {
  options: [
    { flag: "--ches", says: "score how alike the model finds the answers of each pair" },
    {
      flag: "--measure <measure>",
      says: `by which pairs are ranked: ${similarityMeasures.join(", ")}; default: ${defaultMeasure}`,
      parse: measure,
    },
    {
      flag: "--keep <fraction>",
      says: "keep this share of the rows, those whose answers are least alike",
      parse: keepShare,
    },
    { flag: "--out <file>", says: "file for the rows that are kept, as they are" },
    { flag: "--force", says: "overwrite the file that --out names" },
  ],
  async prepare(source, options) {
    const { ches, keep, out, force, measure: ranked = defaultMeasure } = options;
    if (!ches && keep === undefined && out === undefined && options.measure === undefined) return undefined;
    const target = targetOf(options);
    if (source.model === undefined) {
      throw new RequestError({
        code: "model-missing",
        what: "pairs are scored with a model",
        where: source.data,
        fix: "Name the model that will be trained with --model",
      });
    }
    if (target) {
      const { files } = await locateData(source.data);
      const paths = files.map(({ path }) => path);
      await checkCopy(paths, target.out, { force });
    }
    const model = await loadLanguageModel(await modelPath(source.model), await openBackend());
    let found: readonly ScoredPair[] = [];
    return {
      check: displacementCheck(model, { measure: ranked, onScores: (pairs) => (found = pairs) }),
      finish: async (report, signal) =>
        target && written(source, found, report, { ...target, measure: ranked, force, signal }),
    };
  },
};

interface Target {
  readonly keep: number;
  readonly out: string;
}

function targetOf({ keep, out }: DisplacementCommandOptions): Target | undefined {
  if (keep === undefined && out === undefined) return undefined;
  if (keep !== undefined && out !== undefined) return { keep, out };
  throw new RequestError({
    code: "option-missing",
    what: keep === undefined ? "--out needs --keep" : "--keep needs --out",
    why: "a share of the rows is written into a file",
    fix: "Write for example --keep 0.05 --out kept.jsonl",
  });
}

interface Writing extends Target {
  readonly measure: SimilarityMeasure;
  readonly force?: boolean;
  readonly signal: AbortSignal;
}

/** Writes the rows that are kept, and says what was left out. */
async function written(
  source: DataSource,
  pairs: readonly ScoredPair[],
  report: DataReport,
  { keep: fraction, out, measure: ranked, force, signal }: Writing,
): Promise<Followed> {
  if (pairs.length === 0) {
    throw new RequestError({
      code: "no-pairs",
      what: "there is nothing to keep: no pair could be scored",
      where: source.data,
      fix: "Give pairs of a chosen and a rejected answer",
    });
  }
  const { keep, scored } = keptPairs(pairs, ranked, fraction);
  const { files } = await locateData(source.data);
  const places = files.map(({ path, name }) => ({
    path,
    lines: new Set(keep.filter(({ file }) => file === name).map(({ line }) => line)),
  }));
  const kept = await copyRows(places, out, { force, signal });
  const numbers = report.checks.find(({ id }) => id === "displacement")?.numbers ?? {};
  const unscored = Object.entries(numbers).filter(([name]) => name.startsWith("not scored: "));
  const leftOut: Readonly<Record<string, number>> = {
    [`more alike by ${ranked}`]: scored - kept,
    ...Object.fromEntries(unscored),
  };
  return {
    lines: [
      `kept ${kept} of ${scored} rows with the lowest ${ranked} in ${out}`,
      ...Object.entries(leftOut).map(([why, count]) => `left out, ${why}: ${count}`),
    ],
    json: { kept: { out, measure: ranked, rows: kept, of: scored, leftOut } },
  };
}

/** A measure by its name; `ln-ches` is lnChes too. */
function measure(given: string): SimilarityMeasure {
  const name = given.replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
  const found = similarityMeasures.find((m) => m === name);
  if (found) return found;
  const guess = nearest(name, similarityMeasures);
  throw new RequestError({
    code: "option-invalid",
    what: `--measure ${given}`,
    why: `known are ${similarityMeasures.join(", ")}`,
    fix: guess ? `Did you mean ${guess}?` : "Choose one of them",
  });
}

function keepShare(given: string): number {
  const share = number("keep")(given);
  if (share > 0 && share <= 1) return share;
  throw new RequestError({
    code: "option-invalid",
    what: `--keep ${given}`,
    why: "it is the share of the rows that is kept",
    fix: "Give a number above 0 and at most 1",
  });
}
