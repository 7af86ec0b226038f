/** How long rows are in tokens, which are longer than a run allows, and what the tokenizer does not know. */
import { branchLength, completionsOf, rolesIn } from "../token-row.ts";
import { type Check, type CheckResult, type Finding, example, firstExamples, share } from "./check.ts";
import { mean, quantile } from "./statistics.ts";

export const tokens: Check = {
  id: "tokens",
  title: "Tokens",
  says: "lengths in tokens of prompts and answers, rows that are longer than data.maxLength or the model's context, unknown tokens",
  async run(source): Promise<CheckResult> {
    const { records, tokenizer, builder } = source;
    const hasIds = records.some(({ record }) => Object.keys(record).some((name) => name.endsWith("Ids")));
    if (!tokenizer && !hasIds)
      return { findings: [], numbers: {}, leftOut: "there is no tokenizer (--model)" };
    const rows = await source.rows();
    const lengths = new Map<string, number[]>();
    const note = (role: string, n: number) => {
      const list = lengths.get(role) ?? [];
      lengths.set(role, list);
      list.push(n);
    };
    const { maxLength, truncation } = builder.limits;
    const unknown = tokenizer?.specialTokens.unk_token;
    const unknownId = unknown === undefined ? undefined : tokenizer?.idOf(unknown);
    const over: { at: number; longest: number }[] = [];
    const strange: number[] = [];
    const missing: number[] = [];
    let total = 0;
    for (const [i, own] of rows.entries()) {
      if (!own) missing.push(i);
      let [longestOfAll, isStrange] = [0, false];
      for (const row of own ?? []) {
        let longest = 0;
        for (const { prompt, branches } of row.trees) {
          note("prompt", prompt.length);
          longest = Math.max(longest, prompt.length + Math.max(0, ...branches.map(branchLength)));
          total += branches.reduce((n, branch) => n + branchLength(branch), prompt.length);
        }
        for (const role of rolesIn(row)) for (const ids of completionsOf(row, role)) note(role, ids.length);
        note("row", longest);
        longestOfAll = Math.max(longestOfAll, longest);
        const knows = (ids: readonly number[]) => unknownId === undefined || !ids.includes(unknownId);
        if (!row.trees.every((t) => knows(t.prompt) && t.branches.flat().every((p) => knows(p.ids))))
          isStrange = true;
      }
      if (longestOfAll > maxLength) over.push({ at: i, longest: longestOfAll });
      if (isStrange) strange.push(i);
    }
    const numbers: Record<string, number> = { tokens: total };
    for (const [role, list] of lengths) {
      numbers[`${role} mean`] = mean(list);
      numbers[`${role} median`] = quantile(list, 0.5);
      numbers[`${role} 95 %`] = quantile(list, 0.95);
      numbers[`${role} longest`] = list.reduce((a, b) => Math.max(a, b), 0);
    }
    const of = records.length;
    const findings: Finding[] = [];
    if (missing.length > 0) {
      findings.push({
        severity: "error",
        title: share(missing.length, of, "records cannot become tokens"),
        count: missing.length,
        of,
        why: "a run stops at the first of them, or leaves them out (data.invalid: skip)",
        remedy: "Look at them with prefopt data inspect",
        examples: firstExamples(missing, (i) => example(records[i].source, records[i].prompt)),
      });
    }
    if (over.length > 0) {
      over.sort((a, b) => b.longest - a.longest);
      findings.push({
        severity: truncation === "error" ? "error" : "warning",
        title: share(over.length, of, `records are longer than ${maxLength} tokens`),
        count: over.length,
        of,
        why:
          truncation === "error" ? "a run stops at the first of them" : `they are truncated (${truncation})`,
        remedy: "Raise data.maxLength, set data.truncation, or shorten them",
        examples: firstExamples(over, ({ at, longest }) =>
          example(records[at].source, `${longest} tokens: ${records[at].prompt}`),
        ),
      });
    }
    if (strange.length > 0) {
      findings.push({
        severity: "warning",
        title: share(strange.length, of, "records have text that the tokenizer does not know"),
        count: strange.length,
        of,
        why: `it becomes ${unknown ?? "the unknown token"}, whatever it says`,
        remedy: "Replace those characters, or use a model that knows them",
        examples: firstExamples(strange, (i) => example(records[i].source, records[i].prompt)),
      });
    }
    return { findings, numbers };
  },
};
