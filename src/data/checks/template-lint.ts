/**
 * A chat template by itself: whether what it writes for a conversation begins with what it writes for the conversation before its last
 * answer, whether it keeps what was said earlier, how often the begin token stands there, and whether an answer ends in an end token of
 * the model. Asked of small conversations made for it.
 */
import { RequestError } from "../../errors.ts";
import { type Message, chatTokens, renderChat } from "../../text/chat.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";
import type { Finding, Severity } from "./check.ts";

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
  const system: Message = { role: "system", content: "Salpha." };
  const askedWithSystem = write([system, first], true);
  if (askedWithSystem === undefined)
    find(
      "note",
      "the template refuses system messages",
      "records that have one cannot be used",
      "Put what they say into the first question",
    );
  else if (!askedWithSystem.includes(system.content))
    find(
      "error",
      "the template drops system messages",
      "the model never sees them",
      "Correct it in chat_template.jinja",
    );
  else if (write([system, first, answer])?.includes(system.content) === false)
    find(
      "note",
      "the template drops the system message once there is an answer",
      "prefopt then writes the question as it is asked, and the answer after it; other tools train without the message",
      "Nothing here; elsewhere put what it says into the first question",
    );
  const upTo = answered.indexOf(answer.content) + answer.content.length;
  const header = answered.startsWith(asked) ? answered.slice(asked.length, upTo - answer.content.length) : "";
  if (asked === write([first]) && header.trim() !== "")
    find(
      "warning",
      "the template does not ask for an answer",
      "add_generation_prompt changes nothing, so that the model must write the header of its turn itself",
      "Write the header of the assistant's turn where add_generation_prompt is set",
      header,
    );
  const after = tokenizer.encode(answered.slice(upTo)).filter((id) => tokenizer.isSpecial(id));
  if (after.length > 1)
    find(
      "note",
      "the template goes on after an answer, as if another were asked for",
      "what follows the answer's end token is not trained on",
      "Nothing",
      answered.slice(upTo),
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
    else if (!longer.startsWith(before.slice(0, upTo)))
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
    const marker = after.at(0);
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
