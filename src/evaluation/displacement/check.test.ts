/** The check of likelihood displacement on pairs of token ids, and which rows its scores keep. */
import { expect, test } from "vitest";
import { checkData } from "../../data/checks/run-checks.ts";
import { openBackend } from "../../engine/backends/open.ts";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { newLanguageModel } from "../../models/language-model.ts";
import { type ScoredPair, displacementCheck, keptPairs } from "./check.ts";
import type { SimilarityMeasure } from "./similarity.ts";

const config = {
  model_type: "llama",
  vocab_size: 40,
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 1,
  num_attention_heads: 4,
  eos_token_id: 0,
};
const model = newLanguageModel(config, 5, await openBackend());
const pairs = [
  { promptIds: [1, 2], chosenIds: [3, 4, 5], rejectedIds: [3, 4, 6] },
  { promptIds: [1, 2], chosenIds: [7, 8, 9], rejectedIds: [20, 21] },
  { promptIds: [5], chosenIds: [9, 9], rejectedIds: [9, 9] },
  { promptIds: [1, 2], chosenIds: [3, 4, 5, 6, 7, 8, 9], rejectedIds: [3] },
  { promptIds: [1, 2], completionIds: [3, 4] },
  { promptIds: [1, 2], chosenIds: "three", rejectedIds: [3] },
];

async function checked(measure?: SimilarityMeasure) {
  const folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  try {
    const data = join(folder, "pairs.jsonl");
    await writeFile(data, pairs.map((p) => JSON.stringify(p)).join("\n"));
    let scored: readonly ScoredPair[] = [];
    const told: string[] = [];
    const report = await checkData(data, {
      builder: { vocabularySize: 40, endIds: [0], limits: { maxLength: 8, truncation: "error" } },
      checks: [displacementCheck(model, { measure, onScores: (found) => (scored = found) })],
      onProgress: (text) => told.push(text),
    });
    const result = report.checks.find(({ id }) => id === "displacement");
    if (!result) throw new TypeError("the check has run");
    return { result, scored, told };
  } finally {
    await rm(folder, { recursive: true });
  }
}

test("pairs are scored, what cannot be is counted with why, equal answers score 0 and so highest", async () => {
  const { result, scored, told } = await checked();
  expect(result.status).toBe("note");
  expect(result.numbers).toMatchObject({
    "pairs scored": 3,
    "not scored: the record cannot be used": 1,
    "not scored: it has more than 8 tokens": 1,
    "not scored: plain records are no pairs": 1,
    "minusEdit max": 0,
  });
  expect(scored.map(({ source }) => source.line)).toEqual([1, 2, 3]);
  expect(Object.keys(scored[0].scores)).toEqual(["ches", "lnChes", "minusEdit", "lastHidden"]);
  // CHES(y, y) = 0 (Definition 2)
  expect(Math.abs(scored[2].scores.ches ?? 1)).toBeLessThan(1e-4);
  expect(result.numbers["lnChes max"]).toBe(Math.max(...scored.map(({ scores }) => scores.lnChes ?? NaN)));
  expect(result.findings[0]).toMatchObject({ severity: "note", count: 3, of: 3 });
  expect(told.at(-1)).toBe("scoring with the model: 3 of 3 pairs");
});

test("chesExact is computed where pairs are ranked by it", async () => {
  const { result, scored } = await checked("chesExact");
  expect(result.numbers["chesExact max"]).toBe(
    Math.max(...scored.map(({ scores }) => scores.chesExact ?? NaN)),
  );
  expect(result.findings[0].examples[0].text).toMatch(/^chesExact /);
});

test("the lowest share of rows is kept, at least one; pairs of one row by the highest of them", () => {
  const pair = (line: number, lnChes: number) => ({
    source: { file: "a", line },
    scores: { lnChes, ches: -lnChes },
  });
  const found = [pair(1, 3), pair(2, 1), pair(2, 4), pair(3, 2)];
  const lines = (fraction: number, measure: SimilarityMeasure = "lnChes") =>
    keptPairs(found, measure, fraction).keep.map(({ line }) => line);
  expect(lines(0.1)).toEqual([3]);
  expect(lines(0.67)).toEqual([1, 3]);
  expect(lines(1)).toEqual([1, 2, 3]);
  expect(lines(0.34, "ches")).toEqual([1]);
  expect(() => lines(0)).toThrow("keepFraction");
});
