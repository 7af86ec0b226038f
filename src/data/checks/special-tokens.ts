/** Texts that write special tokens: they become those tokens, so that a turn ends where nobody meant it to, or a begin token stands twice. */
import { type Check, type CheckResult, type Finding, example, firstExamples, share } from "./check.ts";
import type { CheckedRecord } from "./records.ts";

export const specialTokens: Check = {
  id: "special-tokens",
  title: "Special tokens in texts",
  says: "texts that write special tokens of the model (a turn marker, an end token), and doubled begin tokens",
  run({ records, tokenizer }): CheckResult {
    if (!tokenizer) return { findings: [], numbers: {}, leftOut: "there is no tokenizer (--model)" };
    const { beginToken, endToken, prefixIds } = tokenizer;
    const looksSpecial = /<[^<>\s]{1,40}>|\[[A-Z_/]{2,20}\]/g;
    const written = (text: string) =>
      (text.match(looksSpecial) ?? []).filter((word) => {
        const id = tokenizer.idOf(word);
        return id !== undefined && tokenizer.isSpecial(id);
      });
    const found: { record: CheckedRecord; token: string }[] = [];
    const doubled: CheckedRecord[] = [];
    for (const record of records) {
      if ("promptIds" in record.record || "instructionIds" in record.record) continue; // ids say what they are
      if (!record.isChat && beginToken !== "" && prefixIds.length > 0 && record.prompt.startsWith(beginToken))
        doubled.push(record);
      // One end token at the end of an answer is not doubled, and common.
      const texts = [
        record.prompt,
        ...record.answers.map(({ text }) =>
          text.endsWith(endToken) && endToken !== "" ? text.slice(0, -endToken.length) : text,
        ),
      ];
      const [token] = texts.flatMap(written);
      if (token !== undefined) found.push({ record, token });
    }
    const of = records.length;
    const findings: Finding[] = [];
    if (doubled.length > 0) {
      findings.push({
        severity: "error",
        title: share(
          doubled.length,
          of,
          `prompts begin with ${beginToken}, which the tokenizer puts there anyway`,
        ),
        count: doubled.length,
        of,
        why: "the begin token stands twice, which the model has never seen",
        remedy: `Remove ${beginToken} from the texts`,
        examples: firstExamples(doubled, (r) => example(r.source, r.prompt)),
      });
    }
    if (found.length > 0) {
      findings.push({
        severity: "warning",
        title: share(found.length, of, "records write special tokens in their texts"),
        count: found.length,
        of,
        why: "they become the tokens themselves: a turn ends, or another begins, in the middle of a text",
        remedy: "Write conversations as messages; remove the tokens, or change a sign of them",
        examples: firstExamples(found, ({ record, token }) =>
          example(record.source, `${token} in: ${record.prompt} ${record.answers[0]?.text ?? ""}`),
        ),
      });
    }
    return { findings, numbers: { records: of, found: found.length, doubled: doubled.length } };
  },
};
