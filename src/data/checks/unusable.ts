/** Records that cannot be used at all. */
import { type Check, example, firstExamples, share } from "./check.ts";

export const unusable: Check = {
  id: "unusable",
  title: "Records that cannot be used",
  says: "fields that are missing, empty, or of another kind",
  run({ records, refused }) {
    const of = records.length + refused.length;
    const numbers = { records: of, usable: records.length };
    if (refused.length === 0) return { findings: [], numbers };
    return {
      numbers,
      findings: [
        {
          severity: "error",
          title: share(refused.length, of, "records cannot be used"),
          count: refused.length,
          of,
          why: "a run stops at the first of them, or leaves them out (data.invalid: skip)",
          remedy: "Correct or remove them",
          examples: firstExamples(refused, ({ source, field, why }) =>
            example(source, [field, why].filter(Boolean).join(" ")),
          ),
        },
      ],
    };
  },
};
