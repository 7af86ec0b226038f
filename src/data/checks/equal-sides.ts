/** Pairs whose two sides are the same: as written, normalised, or as the tokens that a run would compare. */
import { completionsOf } from "../token-row.ts";
import { buildRows } from "../rows.ts";
import {
  type Check,
  type CheckResult,
  type Finding,
  type CheckSource,
  example,
  firstExamples,
  share,
} from "./check.ts";
import { type CheckedRecord, normalized } from "./records.ts";

type How = "written" | "normalised" | "tokens";

export const equalSides: Check = {
  id: "equal-sides",
  title: "Chosen equals rejected",
  says: "pairs whose two sides are the same as written, but for case, spaces and punctuation, or as tokens after truncation",
  run(source): CheckResult {
    const { records } = source;
    const pairs = records.filter((r) => r.pair !== undefined);
    if (pairs.length === 0) return { findings: [], numbers: {}, leftOut: "there are no comparisons" };
    const found: Record<How, CheckedRecord[]> = { written: [], normalised: [], tokens: [] };
    for (const record of pairs) {
      const how = howEqual(record, source);
      if (how) found[how].push(record);
    }
    const says: Readonly<Record<How, string>> = {
      written: "pairs have the same text on both sides",
      normalised: "pairs differ in case, spaces and punctuation only",
      tokens: "pairs have the same tokens on both sides once they are cut to length",
    };
    const of = pairs.length;
    const findings = (Object.keys(found) as How[]).flatMap((how): Finding[] => {
      const list = found[how];
      if (list.length === 0) return [];
      return [
        {
          severity: how === "normalised" ? "warning" : "error",
          title: share(list.length, of, says[how]),
          count: list.length,
          of,
          why: "nothing is preferred, so there is nothing to learn from them",
          remedy: how === "tokens" ? "Raise data.maxLength, or remove them" : "Remove them",
          examples: firstExamples(list, (r) => example(r.source, r.pair?.chosen)),
        },
      ];
    });
    const numbers = { pairs: of, written: found.written.length, normalised: found.normalised.length };
    return { findings, numbers: { ...numbers, ...(source.tokenizer && { tokens: found.tokens.length }) } };
  },
};

function howEqual(
  { pair, record, source }: CheckedRecord,
  { builder, tokenizer }: CheckSource,
): How | undefined {
  if (!pair) return undefined;
  if (pair.chosen === pair.rejected) return "written";
  if (normalized(pair.chosen) === normalized(pair.rejected)) return "normalised";
  // Only answers that begin alike can be cut to the same tokens.
  if (!tokenizer || pair.chosen.slice(0, 20) !== pair.rejected.slice(0, 20)) return undefined;
  try {
    const [row] = buildRows(record, source, builder);
    const [[chosen], [rejected]] = [completionsOf(row, "chosen"), completionsOf(row, "rejected")];
    return chosen && rejected && chosen.join() === rejected.join() ? "tokens" : undefined;
  } catch {
    return undefined; // a row that cannot be made is another check's finding
  }
}
