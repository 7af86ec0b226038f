/** Records that occur more than once: word for word, but for case, spaces and punctuation, or nearly. */
import { type Check, type CheckResult, type Finding, example, firstExamples, share } from "./check.ts";
import { showSource } from "../load-records.ts";
import { NearDuplicates } from "./near-duplicates.ts";
import { type CheckedRecord, normalized } from "./records.ts";

export const duplicates: Check = {
  id: "duplicates",
  title: "Duplicates",
  says: "records that occur more than once, word for word, normalised, or nearly (four-word shingles, Jaccard index 0.8 or more)",
  async run({ records, signal, tell }): Promise<CheckResult> {
    const exact = new Map<string, CheckedRecord>();
    const same = new Map<string, CheckedRecord>();
    const near = new NearDuplicates<CheckedRecord>();
    const copies: Copy[] = [];
    const prompts = new Set<string>();
    for (const [i, record] of records.entries()) {
      if (i % 1000 === 0) {
        signal?.throwIfAborted();
        tell(`duplicates: ${i} records compared`);
        await new Promise((resolve) => setTimeout(resolve)); // lets Ctrl-C be heard
      }
      const text = wholeText(record);
      const norm = normalized(text);
      prompts.add(normalized(record.prompt));
      const alike = exact.get(text) ?? same.get(norm);
      if (alike) {
        copies.push({ record, of: alike, kind: exact.has(text) ? "exact" : "normalised" });
        continue; // its like is in the index already
      }
      exact.set(text, record);
      same.set(norm, record);
      const found = near.find(text, record);
      if (found) copies.push({ record, of: found.item, kind: "near", likeness: found.likeness });
    }
    const of = records.length;
    const counts = (kind: Copy["kind"]) => copies.filter((copy) => copy.kind === kind);
    return {
      findings: (["exact", "normalised", "near"] as const).flatMap((kind) =>
        findingOf(kind, counts(kind), of),
      ),
      numbers: {
        exact: counts("exact").length,
        normalised: counts("normalised").length,
        near: counts("near").length,
        prompts: prompts.size,
      },
    };
  },
};

interface Copy {
  readonly record: CheckedRecord;
  readonly of: CheckedRecord;
  readonly kind: "exact" | "normalised" | "near";
  readonly likeness?: number;
}

const words: Readonly<Record<Copy["kind"], string>> = {
  exact: "records repeat an earlier one word for word",
  normalised: "records repeat an earlier one but for case, spaces and punctuation",
  near: "records are nearly the same as an earlier one",
};

/** Where the first one is; the file where it is another. */
const placeOf = ({ source }: CheckedRecord, other: CheckedRecord) =>
  source.file === other.source.file ? `line ${source.line}` : showSource(source);

/** Prompt and answers as one text. */
export const wholeText = ({ prompt, answers }: CheckedRecord): string =>
  [prompt, ...answers.map(({ role, text }) => `${role}: ${text}`)].join("\n");

function findingOf(kind: Copy["kind"], copies: readonly Copy[], of: number): Finding[] {
  if (copies.length === 0) return [];
  const many = copies.length / of > (kind === "near" ? 0.05 : 0.01);
  return [
    {
      severity: many ? "warning" : "note",
      title: share(copies.length, of, words[kind]),
      count: copies.length,
      of,
      why: "what is repeated counts several times in an epoch",
      remedy: kind === "near" ? "Look at some of them, and keep one of each" : "Keep one of each",
      examples: firstExamples(copies, ({ record, of: first, likeness }) =>
        example(
          record.source,
          `like ${placeOf(first, record)}${likeness === undefined ? "" : ` (${likeness.toFixed(2)})`}: ${record.prompt} ${record.answers[0]?.text ?? ""}`,
        ),
      ),
    },
  ];
}
