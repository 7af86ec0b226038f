/** How much length decides: the lengths of the two sides, and how often choosing the longer one would be right. */
import { completionsOf } from "../token-row.ts";
import { type Check, type CheckResult, type CheckSource, example, firstExamples, share } from "./check.ts";
import { wordsOf } from "./records.ts";
import { interval, mean, quantile } from "./statistics.ts";

/** Shares from which the longer, or the shorter, one is chosen too often. */
const [tooOften, tooSeldom] = [0.6, 0.4];

export const length: Check = {
  id: "length",
  title: "Length bias",
  says: "how long the two sides are, and how often choosing the longer one would be right (95 % interval)",
  async run(source): Promise<CheckResult> {
    const { records } = source;
    const pairs = records.flatMap((record, index) =>
      record.pair ? [{ ...record.pair, record, index }] : [],
    );
    if (pairs.length === 0) return { findings: [], numbers: {}, leftOut: "there are no comparisons" };
    const lengths = await lengthsOf(source);
    const sides = pairs.map(({ chosen, rejected, record, index }) => ({
      record,
      ...lengths(index, chosen, rejected),
    }));
    const longer = sides.filter((s) => s.chosen > s.rejected);
    const shorter = sides.filter((s) => s.chosen < s.rejected);
    const of = longer.length + shorter.length;
    const { low, high } = interval(longer.length, of);
    const accuracy = of > 0 ? longer.length / of : 0.5;
    const unit = source.tokenizer ? "tokens" : "words";
    const numbers = {
      pairs: pairs.length,
      [`chosen mean ${unit}`]: mean(sides.map((s) => s.chosen)),
      [`rejected mean ${unit}`]: mean(sides.map((s) => s.rejected)),
      [`chosen median ${unit}`]: quantile(
        sides.map((s) => s.chosen),
        0.5,
      ),
      [`rejected median ${unit}`]: quantile(
        sides.map((s) => s.rejected),
        0.5,
      ),
      "choose the longer, accuracy": accuracy,
      "choose the longer, low": low,
      "choose the longer, high": high,
      "same length": pairs.length - of,
    };
    const long = low > tooOften;
    if (!long && high >= tooSeldom) return { findings: [], numbers };
    const extreme = long ? accuracy > 0.75 : accuracy < 0.25;
    const most = [...(long ? longer : shorter)].sort(
      (a, b) => Math.abs(b.chosen - b.rejected) - Math.abs(a.chosen - a.rejected),
    );
    return {
      numbers,
      findings: [
        {
          severity: extreme ? "warning" : "note",
          title: `choosing the ${long ? "longer" : "shorter"} answer is right in ${share(long ? longer.length : shorter.length, of, "pairs")}, 95 %: ${percent(long ? low : 1 - high)} to ${percent(long ? high : 1 - low)}`,
          count: long ? longer.length : shorter.length,
          of,
          why: `a model learns to answer at ${long ? "greater length" : "less length"} before it learns what is better`,
          remedy:
            "Balance the lengths, or use an objective that counts per token (simpo, sigmoid-norm), and watch the length of samples",
          examples: firstExamples(most, (s) =>
            example(
              s.record.source,
              `chosen ${s.chosen} ${unit}, rejected ${s.rejected}: ${s.record.prompt}`,
            ),
          ),
        },
      ],
    };
  },
};

const percent = (p: number) => `${(100 * p).toFixed(1)} %`;

/** Lengths of two answers: in tokens of the rows where there is a tokenizer, else in words. */
async function lengthsOf(source: CheckSource) {
  const rows = source.tokenizer ? await source.rows() : undefined;
  return (index: number, chosen: string, rejected: string) => {
    const row = rows?.[index]?.[0];
    const tokens = (role: string) => (row ? completionsOf(row, role)[0]?.length : undefined);
    return {
      chosen: tokens("chosen") ?? wordsOf(chosen).length,
      rejected: tokens("rejected") ?? wordsOf(rejected).length,
    };
  };
}
