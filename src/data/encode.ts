/**
 * Prompts and answers as token ids. Text: the prompt is encoded as generation encodes it (begin token included, where the tokenizer
 * adds one). An answer is what follows it in the encoding of both together; where a token would span the seam, the answer is encoded by
 * itself instead, since generation could never have produced the merged token. Every answer ends in exactly one end token.
 * Raw ids are taken as they are.
 */
import { RequestError } from "../errors.ts";
import { type Message, chatTokens, renderChat } from "../text/chat.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type Source, showSource } from "./load-records.ts";

/** A prompt or an answer: text, turns of a conversation, or ids. */
export type Given = string | readonly Message[] | { readonly ids: readonly number[] };

export interface Encoder {
  readonly tokenizer?: Tokenizer;
  /** Ids that end a completion; the first is the one that is added. */
  readonly endIds: readonly number[];
}

export interface Answered {
  readonly prompt: readonly number[];
  /** In the order of the answers. */
  readonly answers: readonly (readonly number[])[];
  /** What the template could not do exactly. */
  readonly warning?: string;
}

/** One prompt and its answers. */
export function answered(
  prompt: Given,
  answers: readonly Given[],
  encoder: Encoder,
  source: Source,
  tools?: readonly unknown[],
): Answered {
  if (answers.length === 0) return { prompt: alone(prompt, encoder, source, tools), answers: [] };
  return sharing(answers.map((answer) => promptAndAnswer(prompt, answer, encoder, source, tools)));
}

/**
 * Steps that go on from a part of an answer: the prompt as it is asked, `prefix` as far as the answer has come, and the steps as they
 * follow it. A step ends in an end token only where `ends` says that it is the last.
 */
export function continued(
  prompt: Given,
  prefix: string,
  steps: readonly string[],
  encoder: Encoder,
  source: Source,
  ends: (step: string) => boolean,
  tools?: readonly unknown[],
): Answered {
  const tokenizer = needTokenizer(encoder, source);
  if (isIds(prompt)) throw new TypeError("a step follows text"); // records of steps are text
  const asked =
    typeof prompt === "string" ? prompt : renderChat(tokenizer, prompt, { addGenerationPrompt: true, tools });
  const begin = typeof prompt === "string" ? tokenizer.prefixIds : [];
  return sharing(
    steps.map((step) => {
      const { promptIds, answerIds } = alongside(asked + prefix, step, tokenizer);
      return {
        promptIds: [...begin, ...promptIds],
        answerIds: ends(step) ? withEnd(answerIds, encoder.endIds) : answerIds,
      };
    }),
  );
}

/** A template may shorten the prompt for one answer and not for another: all share the shortest. */
function sharing(
  parts: readonly { promptIds: readonly number[]; answerIds: readonly number[]; warning?: string }[],
): Answered {
  const prefix = Math.min(...parts.map((p) => p.promptIds.length));
  return {
    prompt: parts[0].promptIds.slice(0, prefix),
    answers: parts.map((p) => [...p.promptIds.slice(prefix), ...p.answerIds]),
    warning: parts.find((p) => p.warning)?.warning,
  };
}

/** The ids of a prompt alone, as generation reads it: text, or a conversation. */
export function promptIds(
  prompt: string | readonly Message[],
  tokenizer: Tokenizer,
  tools?: readonly unknown[],
): number[] {
  if (typeof prompt !== "string")
    return tokenizer.encode(renderChat(tokenizer, prompt, { addGenerationPrompt: true, tools }));
  return [...tokenizer.prefixIds, ...tokenizer.encode(prompt)];
}

/** A prompt that no answer follows. */
function alone(prompt: Given, encoder: Encoder, source: Source, tools?: readonly unknown[]) {
  return isIds(prompt) ? prompt.ids : promptIds(prompt, needTokenizer(encoder, source), tools);
}

/** The tokenizer. Throws where the record is text and there is none. */
export function needTokenizer({ tokenizer }: Encoder, source: Source): Tokenizer {
  if (tokenizer) return tokenizer;
  throw new RequestError({
    code: "row-invalid",
    what: "the record is text and the model has no tokenizer",
    where: showSource(source),
    fix: "Add tokenizer.json to the model's folder, or give token ids",
  });
}

/** Exactly one end token at the end. */
export function withEnd(ids: readonly number[], endIds: readonly number[]): readonly number[] {
  if (endIds.length === 0 || endIds.includes(ids.at(-1) ?? -1)) return ids;
  return [...ids, endIds[0]];
}

export const isIds = (given: Given): given is { readonly ids: readonly number[] } =>
  typeof given === "object" && "ids" in given;

/** Ids of a text and of what follows it. */
function alongside(before: string, after: string, tokenizer: Tokenizer) {
  const alone = tokenizer.encode(before);
  const together = tokenizer.encode(before + after);
  const fits = alone.every((id, i) => together[i] === id);
  return { promptIds: alone, answerIds: fits ? together.slice(alone.length) : tokenizer.encode(after) };
}

function promptAndAnswer(
  prompt: Given,
  answer: Given,
  encoder: Encoder,
  source: Source,
  tools?: readonly unknown[],
) {
  if (isIds(prompt) && isIds(answer)) return { promptIds: prompt.ids, answerIds: answer.ids };
  const tokenizer = needTokenizer(encoder, source);
  const { endIds } = encoder;
  if (isIds(prompt) || isIds(answer)) {
    // One side as ids: each is encoded by itself.
    const own = (given: Given) => (isIds(given) ? given.ids : tokenizer.encode(String(given)));
    return { promptIds: own(prompt), answerIds: isIds(answer) ? answer.ids : withEnd(own(answer), endIds) };
  }
  if (typeof prompt === "string" && typeof answer === "string") {
    const { promptIds, answerIds } = alongside(prompt, answer, tokenizer);
    return { promptIds: [...tokenizer.prefixIds, ...promptIds], answerIds: withEnd(answerIds, endIds) };
  }
  const asMessages = (given: string | readonly Message[], role: string) =>
    typeof given === "string" ? [{ role, content: given }] : given;
  const { completionIds, ...rest } = chatTokens(
    tokenizer,
    asMessages(prompt, "user"),
    asMessages(answer, "assistant"),
    endIds,
    { tools },
  );
  return { ...rest, answerIds: withEnd(completionIds, endIds) };
}
