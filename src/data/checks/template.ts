/** The chat template on the data's own conversations, and what is wrong with it at all (template-lint.ts). */
import { lint } from "./template-lint.ts";
import {
  type Check,
  type CheckResult,
  type CheckSource,
  type Finding,
  type Severity,
  example,
  firstExamples,
  share,
} from "./check.ts";

export const template: Check = {
  id: "template",
  title: "Chat template",
  says: "whether the template keeps earlier text, preserves prefixes, writes one begin token, and trains the end token",
  async run(source): Promise<CheckResult> {
    const { tokenizer, records } = source;
    if (!tokenizer) return { findings: [], numbers: {}, leftOut: "there is no tokenizer (--model)" };
    const chats = records.filter((r) => r.isChat);
    if (chats.length === 0) return { findings: [], numbers: {}, leftOut: "there are no conversations" };
    if (tokenizer.chatTemplate === undefined) {
      const missing = {
        severity: "error" as const,
        title: share(
          chats.length,
          records.length,
          "records are conversations, and the model has no chat template",
        ),
        count: chats.length,
        of: records.length,
        why: "turns can only be written by a template",
        remedy: "Add chat_template.jinja to the model's folder, or give plain text",
        examples: firstExamples(chats, (r) => example(r.source, r.prompt)),
      };
      return { findings: [missing], numbers: {} };
    }
    const findings = lint(tokenizer, source.builder.endIds);
    const { finding, numbers } = await ofData(source);
    return { findings: [...findings, ...finding], numbers };
  },
};

/** What the template did to the data's own conversations. */
async function ofData(source: CheckSource): Promise<{ finding: Finding[]; numbers: Record<string, number> }> {
  const { records } = source;
  const chats = records.filter((r) => r.isChat).length;
  const rows = await source.rows();
  const warned = rows.flatMap((own, i) => (own?.some((row) => row.warning !== undefined) ? [i] : []));
  const endless = rows.flatMap((own, i) =>
    records[i].isChat &&
    own?.some((row) =>
      row.trees.some((t) =>
        t.branches.some((b) => !source.builder.endIds.includes(b.at(-1)?.ids.at(-1) ?? -1)),
      ),
    )
      ? [i]
      : [],
  );
  const finding: Finding[] = [];
  const add = (severity: Severity, list: readonly number[], what: string, why: string, remedy: string) => {
    if (list.length === 0) return;
    const examples = firstExamples(list, (i) =>
      example(records[i].source, rows[i]?.[0]?.warning ?? records[i].prompt),
    );
    finding.push({
      severity,
      title: share(list.length, chats, what),
      count: list.length,
      of: chats,
      why,
      remedy,
      examples,
    });
  };
  add(
    "warning",
    warned,
    "conversations are written otherwise than they are asked for",
    "their prompts are cut at the common part",
    "See what the template does with prefopt data inspect",
  );
  add(
    "error",
    endless,
    "conversations have an answer that ends in no end token",
    "the model does not learn to stop",
    "Name the end token in generation_config.json",
  );
  return {
    finding,
    numbers: {
      conversations: chats,
      "written otherwise": warned.length,
      "without an end token": endless.length,
    },
  };
}
