/** Held-out records that are in the training data: whole, nearly, or by their prompts. */
import type { Check, CheckResult, Finding } from "./check.ts";
import { example, firstExamples, share } from "./check.ts";
import { wholeText } from "./duplicates.ts";
import { NearDuplicates } from "./near-duplicates.ts";
import { type CheckedRecord, normalized } from "./records.ts";

export const leakage: Check = {
  id: "leakage",
  title: "Leakage",
  says: "held-out records that the training data hold too: whole, nearly, or by their prompts",
  run({ records, held, signal }): CheckResult {
    if (!held)
      return { findings: [], numbers: {}, leftOut: "there is no held-out data to compare with (--against)" };
    const whole = new Map<string, CheckedRecord>();
    const prompts = new Map<string, CheckedRecord>();
    const near = new NearDuplicates<CheckedRecord>();
    for (const record of records) {
      signal?.throwIfAborted();
      whole.set(normalized(wholeText(record)), record);
      const prompt = normalized(record.prompt);
      if (prompt !== "") prompts.set(prompt, record);
      near.find(wholeText(record), record);
    }
    const found = { whole: [] as Leak[], near: [] as Leak[], prompts: [] as Leak[] };
    for (const record of held) {
      signal?.throwIfAborted();
      const text = wholeText(record);
      const same = whole.get(normalized(text));
      const alike = same ? undefined : near.find(text, record, false)?.item;
      const asked = prompts.get(normalized(record.prompt));
      if (same) found.whole.push({ record, of: same });
      else if (alike) found.near.push({ record, of: alike });
      if (asked) found.prompts.push({ record, of: asked });
    }
    const of = held.length;
    return {
      findings: [
        ...finding("error", found.whole, of, "held-out records are training records", byHeart),
        ...finding(
          "warning",
          found.near,
          of,
          "held-out records are nearly the same as training records",
          byHeart,
        ),
        ...finding(
          found.prompts.length / of > 0.01 ? "warning" : "note",
          found.prompts,
          of,
          "held-out records have a prompt of the training data",
          "on these prompts a model is measured with answers to them in mind",
        ),
      ],
      numbers: {
        held: of,
        whole: found.whole.length,
        near: found.near.length,
        prompts: found.prompts.length,
      },
    };
  },
};

interface Leak {
  readonly record: CheckedRecord;
  readonly of: CheckedRecord;
}

const byHeart = "what is measured on them is what was learned by heart";

function finding(
  severity: Finding["severity"],
  leaks: readonly Leak[],
  of: number,
  what: string,
  why: string,
): Finding[] {
  if (leaks.length === 0) return [];
  return [
    {
      severity,
      title: share(leaks.length, of, what),
      count: leaks.length,
      of,
      why,
      remedy: "Split by prompt, and remove them from one of the two",
      examples: firstExamples(leaks, ({ record, of: other }) =>
        example(record.source, `as ${other.source.file}:${other.source.line}: ${record.prompt}`),
      ),
    },
  ];
}
