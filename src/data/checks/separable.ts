/** Comparisons that can be told apart without reading: a classifier of words and lengths gets nearly all of them right. */
import { type Check, type CheckResult, example, firstExamples, share } from "./check.ts";
import { leastComparisons } from "./probe.ts";
import { interval } from "./statistics.ts";

const [suspicious, trivial] = [0.85, 0.95];

export const separable: Check = {
  id: "separable",
  title: "Trivially separable",
  says: "how many comparisons logistic regression on words and lengths gets right, cross-validated by prompt in five parts",
  async run({ records, probe }): Promise<CheckResult> {
    const result = await probe();
    if (!result)
      return { findings: [], numbers: {}, leftOut: `there are fewer than ${leastComparisons} comparisons` };
    const { indices, probabilities, forWords, againstWords } = result;
    const of = indices.length;
    const right = probabilities.filter((p) => p > 0.5).length;
    const { low, high } = interval(right, of);
    const numbers = {
      comparisons: of,
      "probe accuracy": right / of,
      "probe accuracy, low": low,
      "probe accuracy, high": high,
    };
    if (low < suspicious) return { findings: [], numbers };
    const surest = indices
      .map((index, i) => ({ record: records[index], p: probabilities[i] }))
      .sort((a, b) => b.p - a.p);
    return {
      numbers,
      findings: [
        {
          severity: low > trivial ? "error" : "warning",
          title: `words and lengths alone tell ${share(right, of, "comparisons")} apart`,
          count: right,
          of,
          why: `a model can win by such signs and learn nothing else. For an answer: ${forWords.join(", ")}. Against: ${againstWords.join(", ")}`,
          remedy:
            "Look at what the two sides differ in (a phrase, a format, a model's habit) and make pairs that do not",
          examples: firstExamples(surest, ({ record, p }) =>
            example(
              record.source,
              `${p.toFixed(3)}: ${record.pair?.chosen ?? ""} | ${record.pair?.rejected ?? ""}`,
            ),
          ),
        },
      ],
    };
  },
};
