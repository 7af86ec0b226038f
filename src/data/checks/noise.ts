/**
 * Labels that may be wrong. For certain: the same two answers to the same prompt in both orders, or the same answer with both verdicts.
 * By estimate: confident learning (Northcutt, Jiang and Chuang, arXiv:1911.00068) with the cross-validated probe, whose classes are the two
 * orders of a pair; a label counts as wrong where the probe is surer of the other order than it is of labels on average.
 */
import {
  type Check,
  type CheckResult,
  type CheckSource,
  type Finding,
  example,
  firstExamples,
  share,
} from "./check.ts";
import { type CheckedRecord, normalized } from "./records.ts";
import { interval, mean } from "./statistics.ts";

export const noise: Check = {
  id: "noise",
  title: "Label noise",
  says: "comparisons that contradict each other, and those that a cross-validated probe confidently puts the other way round",
  async run({ records, probe }): Promise<CheckResult> {
    const contradicted = contradictions(records);
    const compared = records.filter((r) => r.pair !== undefined || r.label !== undefined).length;
    if (compared === 0) return { findings: [], numbers: {}, leftOut: "there are no comparisons or verdicts" };
    const findings: Finding[] = [];
    if (contradicted.length > 0) {
      findings.push({
        severity: contradicted.length / compared > 0.05 ? "error" : "warning",
        title: share(contradicted.length, compared, "labels contradict another of the same answers"),
        count: contradicted.length,
        of: compared,
        why: "one of the two is wrong, or people disagree",
        remedy: "Keep one record with chosenProb, the share of votes, instead",
        examples: firstExamples(contradicted, ({ record, other }) =>
          example(record.source, `the other way round in line ${other.source.line}: ${record.prompt}`),
        ),
      });
    }
    const estimate = await estimated(records, probe);
    if (estimate) {
      const { suspects, sure, rate } = estimate;
      findings.push({
        severity: rate > 0.2 ? "warning" : "note",
        title: `a probe doubts ${share(suspects.length, sure, "labels that it is sure about")}`,
        count: suspects.length,
        of: sure,
        why: "an estimate of label noise by words and lengths alone: these are labels to look at, not errors",
        remedy: "Look at them; a smoothed label (labelSmoothing) or a robust loss bears with some noise",
        examples: firstExamples(suspects, ({ record, p }) =>
          example(
            record.source,
            `${p.toFixed(3)}: ${record.pair?.chosen ?? ""} | ${record.pair?.rejected ?? ""}`,
          ),
        ),
      });
    }
    return {
      findings,
      numbers: {
        comparisons: compared,
        contradictions: contradicted.length,
        ...(estimate && { "estimated noise": estimate.rate, suspects: estimate.suspects.length }),
      },
    };
  },
};

interface Contradiction {
  readonly record: CheckedRecord;
  readonly other: CheckedRecord;
}

/** Records that say the opposite of an earlier one. */
function contradictions(records: readonly CheckedRecord[]): Contradiction[] {
  const seen = new Map<string, CheckedRecord>();
  const found: Contradiction[] = [];
  for (const record of records) {
    const keys = keysOf(record);
    if (!keys) continue;
    const other = seen.get(keys.opposite);
    if (other) found.push({ record, other });
    if (!seen.has(keys.own)) seen.set(keys.own, record);
  }
  return found;
}

function keysOf({
  prompt,
  pair,
  label,
  answers,
}: CheckedRecord): { own: string; opposite: string } | undefined {
  const asked = normalized(prompt);
  const key = (...parts: string[]) => JSON.stringify([asked, ...parts]);
  if (pair) {
    const [a, b] = [normalized(pair.chosen), normalized(pair.rejected)];
    return a === b ? undefined : { own: key(a, b), opposite: key(b, a) };
  }
  if (label === undefined) return undefined;
  const said = normalized(answers[0]?.text ?? "");
  return { own: key(said, String(label)), opposite: key(said, String(!label)) };
}

/** Labels that the probe doubts. Undefined where the probe is no better than chance, so that it knows nothing. */
async function estimated(records: readonly CheckedRecord[], probe: CheckSource["probe"]) {
  const result = await probe();
  if (!result) return undefined;
  const { indices, probabilities } = result;
  const right = probabilities.filter((p) => p > 0.5).length;
  if (interval(right, indices.length).low < 0.55) return undefined;
  const confidence = mean(probabilities);
  const doubted = indices.flatMap((index, i) =>
    1 - probabilities[i] >= confidence ? [{ record: records[index], p: probabilities[i] }] : [],
  );
  const confirmed = probabilities.filter((p) => p >= confidence).length;
  const sure = doubted.length + confirmed;
  return {
    suspects: doubted.sort((a, b) => a.p - b.p),
    sure,
    rate: sure > 0 ? doubted.length / sure : 0,
  };
}
