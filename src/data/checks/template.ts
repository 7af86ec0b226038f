/**
 * The chat template: whether what it writes for a conversation begins with what it writes for the conversation before its last answer, whether
 * it keeps what was said earlier, how often the begin token stands there, and whether an answer ends in an end token of the model. Asked of
 * small conversations made for it, then of the data.
 */
import { RequestError } from "../../errors.ts";
import { type Message, chatTokens, renderChat } from "../../text/chat.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
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
    if (tokenizer.chatTemplate === undefined) {
      const chats = records.filter((r) => r.isChat);
      const leftOut = "the model has no chat template";
      if (chats.length === 0) return { findings: [], numbers: {}, leftOut };
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

/** What is wrong with a template, asked of small conversations. */
export function lint(tokenizer: Tokenizer, endIds: readonly number[]): Finding[] {
  const findings: Finding[] = [];
  const find = (severity: Severity, title: string, why: string, remedy: string, shown?: string) =>
    findings.push({
      severity,
      title,
      count: 1,
      of: 1,
      why,
      remedy,
      examples: shown === undefined ? [] : [{ at: "template", text: shown }],
    });
  const write = (messages: readonly Message[], addGenerationPrompt = false): string | undefined => {
    try {
      return renderChat(tokenizer, messages, { addGenerationPrompt });
    } catch (error) {
      if (error instanceof RequestError) return undefined;
      throw error;
    }
  };
  const user = (content: string): Message => ({ role: "user", content });
  const assistant = (content: string): Message => ({ role: "assistant", content });
  const [first, answer, second, last] = [
    user("Qalpha?"),
    assistant("Aalpha."),
    user("Qbeta?"),
    assistant("Abeta."),
  ];
  const asked = write([first], true);
  const answered = write([first, answer]);
  if (asked === undefined || answered === undefined) {
    find(
      "error",
      "the template refuses a question and its answer",
      "no conversation can be written",
      "Correct it in chat_template.jinja",
    );
    return findings;
  }
  if (write([{ role: "system", content: "Sys." }, first], true) === undefined)
    find(
      "note",
      "the template refuses system messages",
      "records that have one cannot be used",
      "Put what they say into the first question",
    );
  if (asked === write([first]))
    find(
      "warning",
      "the template does not ask for an answer",
      "add_generation_prompt changes nothing, so that the model must write the header of its turn itself",
      "Write the header of the assistant's turn where add_generation_prompt is set",
    );
  if (!answered.startsWith(asked))
    find(
      "warning",
      "an answered conversation does not begin with how its answer is asked for",
      "the prompt is cut where the two part, so that the model is trained on another prompt than it is asked with",
      "Write the header of the assistant's turn alike with and without an answer",
      difference(asked, answered),
    );
  const longer = write([first, answer, second, last]);
  const before = write([first, answer]);
  if (longer !== undefined && before !== undefined) {
    const lost = [first, answer, second].find(({ content }) => !longer.includes(content));
    if (lost)
      find(
        "error",
        `the template drops earlier turns of the ${lost.role}`,
        "the model never sees them",
        "Correct it in chat_template.jinja",
        lost.content,
      );
    else if (!longer.startsWith(trimmedEnd(before)))
      find(
        "note",
        "the template rewrites earlier turns when others follow",
        "a conversation's beginning is not kept, so that what was said is read differently later",
        "Nothing, if it is meant; each answer is trained as it would be asked for",
        difference(before, longer),
      );
    const thinking = write([first, assistant("<think>\nTalpha.\n</think>\n\nAalpha."), second, last]);
    if (!lost && thinking !== undefined && !thinking.includes("Talpha."))
      find(
        "note",
        "the template drops the thinking of earlier answers",
        "only the thinking of the last answer is trained on",
        "Nothing, if it is meant",
      );
  }
  const { beginToken, prefixIds, beginId } = tokenizer;
  if (beginToken !== "" && beginId !== undefined) {
    const begins = leading(tokenizer.encode(asked), beginId);
    if (begins > 1)
      find(
        "error",
        `the template writes ${beginToken} ${begins} times at the beginning`,
        "the model has never seen it doubled",
        "Write it once",
        asked.slice(0, 80),
      );
    if (begins === 0 && prefixIds.includes(beginId))
      find(
        "warning",
        `the template writes no ${beginToken}, which the tokenizer puts before every text`,
        "conversations begin otherwise than all that the model has learned",
        `Write {{ bos_token }} at its beginning`,
      );
    if (begins === 1 && prefixIds.includes(beginId))
      find(
        "note",
        `the template writes ${beginToken} itself`,
        "tools that encode its text with special tokens double it; prefopt does not",
        "Encode rendered conversations without special tokens",
      );
  }
  const { completionIds } = chatTokens(tokenizer, [first], [answer], endIds);
  const end = completionIds.at(-1);
  if (end === undefined || !endIds.includes(end)) {
    const after = answered.slice(answered.indexOf(answer.content) + answer.content.length);
    const marker = tokenizer.encode(after).find((id) => tokenizer.isSpecial(id));
    const name = marker === undefined ? undefined : tokenizer.tokenOf(marker);
    find(
      "warning",
      name === undefined
        ? "the template ends answers with no end token of the model"
        : `the template ends answers with ${name}, which is no end token of the model`,
      "one is added in training; sampling does not stop at the template's own mark",
      "Name it in eos_token_id of generation_config.json",
    );
  }
  return findings;
}

/** What the template did to the data's own conversations. */
async function ofData(source: CheckSource): Promise<{ finding: Finding[]; numbers: Record<string, number> }> {
  const { records } = source;
  const chats = records.filter((r) => r.isChat).length;
  if (chats === 0) return { finding: [], numbers: { conversations: 0 } };
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

/** Templates may end a conversation that stops here differently (a line break, a header for the next turn). */
const trimmedEnd = (text: string) => text.trimEnd();

const leading = (ids: readonly number[], id: number) => {
  let n = 0;
  while (ids[n] === id) n++;
  return n;
};

/** Where two texts part: "…abc[d | e]" */
function difference(a: string, b: string): string {
  let n = 0;
  while (n < Math.min(a.length, b.length) && a[n] === b[n]) n++;
  const shown = (text: string) => JSON.stringify(text.slice(n, n + 40));
  return `after ${JSON.stringify(a.slice(Math.max(0, n - 30), n))}: ${shown(a)} | ${shown(b)}`;
}
