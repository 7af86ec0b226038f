/**
 * Conversations as tokens: the model's chat template, and where in the rendered tokens the answer begins. Templates cannot
 * say so themselves, and real ones rewrite earlier turns, so the boundary is found by comparing renderings.
 */
import { Template } from "@huggingface/jinja";
import { RequestError } from "../errors.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface Message {
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  readonly addGenerationPrompt?: boolean;
  readonly tools?: readonly unknown[];
}

/** The text of a conversation under the model's template. Throws where there is none or it refuses the messages. */
export function renderChat(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: RenderOptions = {},
): string {
  if (tokenizer.chatTemplate === undefined) {
    throw new RequestError({
      code: "no-chat-template",
      what: "the model has no chat template",
      why: "the record is a conversation",
      fix: "Give plain text prompts, or add chat_template.jinja to the model's folder",
    });
  }
  try {
    return templateOf(tokenizer.chatTemplate).render({
      messages: messages.map((m) => ({ ...m })),
      add_generation_prompt: options.addGenerationPrompt ?? false,
      bos_token: tokenizer.beginToken,
      eos_token: tokenizer.endToken,
      ...(options.tools && { tools: options.tools }),
    });
  } catch (cause) {
    throw new RequestError(
      {
        code: "chat-template-failed",
        what: "the chat template refuses the conversation",
        why: (cause as Error).message,
      },
      { cause },
    );
  }
}

const parsed = new Map<string, Template>();
function templateOf(source: string): Template {
  const known = parsed.get(source) ?? new Template(source);
  parsed.set(source, known);
  return known;
}

export interface ChatTokens {
  readonly promptIds: number[];
  readonly completionIds: number[];
  /** Set where the template writes the last answer differently from how it asks for it. */
  readonly warning?: string;
}

/**
 * A conversation that ends with answers, split into what is given and what is learned. The rendering of everything must
 * begin with the rendering of the prompt; what a template puts after the answer's end token is dropped.
 */
export function chatTokens(
  tokenizer: Tokenizer,
  prompt: readonly Message[],
  answers: readonly Message[],
  endIds: readonly number[],
  options: Omit<RenderOptions, "addGenerationPrompt"> = {},
): ChatTokens {
  const promptText = renderChat(tokenizer, prompt, { ...options, addGenerationPrompt: true });
  const all = [...prompt, ...answers];
  const promptIds = tokenizer.encode(promptText);
  const fullIds = tokenizer.encode(renderChat(tokenizer, all, options));
  const shared = commonPrefix(promptIds, fullIds);
  if (shared === promptIds.length)
    return { promptIds, completionIds: upToEnd(fullIds.slice(shared), tokenizer, endIds) };

  const asked = prompt.findLast((m) => m.role === "user")?.content.trim() ?? "";
  const reached = tokenizer.decode(promptIds.slice(0, shared));
  if (reached.includes(asked)) {
    return {
      promptIds: promptIds.slice(0, shared),
      completionIds: upToEnd(fullIds.slice(shared), tokenizer, endIds),
      warning:
        "the chat template writes a given answer differently from how it asks for one; the prompt was cut at the common part",
    };
  }
  // The template rewrites the prompt itself once an answer follows: ask as generation would, then answer.
  const answer = answers.map((m) => m.content).join("\n");
  return {
    promptIds,
    completionIds: [...tokenizer.encode(answer), ...(endIds.length > 0 ? [endIds[0]] : [])],
  };
}

/** Completion tokens up to and including the end token that closes the answer. */
function upToEnd(ids: number[], tokenizer: Tokenizer, endIds: readonly number[]): number[] {
  const last = ids.findLastIndex((id) => endIds.includes(id));
  if (last >= 0) return ids.slice(0, last + 1);
  // No end token of the model: the first turn marker after the answer ends it.
  const marker = ids.findIndex((id, i) => i > 0 && tokenizer.isSpecial(id));
  return marker >= 0 ? ids.slice(0, marker + 1) : ids;
}

function commonPrefix(a: readonly number[], b: readonly number[]): number {
  let n = 0;
  while (n < a.length && n < b.length && a[n] === b[n]) n++;
  return n;
}
