/**
 * Conversations as tokens: the model's chat template, and where in the rendered tokens the answer begins. Templates cannot
 * say so themselves, and real ones rewrite earlier turns, so the boundary is found by comparing renderings.
 */
import { Environment, Interpreter, Template } from "@huggingface/jinja";
import { RequestError } from "../errors.ts";
import { TemplateRefusal, constants, raiseException, range, strftime } from "./template-functions.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface Message {
  readonly role: string;
  readonly content: string;
}

export interface RenderOptions {
  readonly addGenerationPrompt?: boolean;
  /** Function descriptions that the model may call. A template named "tool_use" is taken where there is one. */
  readonly tools?: readonly unknown[];
  /** Texts that the model may quote from. */
  readonly documents?: readonly unknown[];
  /** Further values for the template, such as `date_string` or `enable_thinking`. */
  readonly variables?: Readonly<Record<string, unknown>>;
  /** The date that the template sees; default: today. */
  readonly now?: Date;
}

/** The text of a conversation under the model's template. Throws where there is none or it refuses the messages. */
export function renderChat(
  tokenizer: Tokenizer,
  messages: readonly Message[],
  options: RenderOptions = {},
): string {
  const { addGenerationPrompt = false, tools, documents, variables = {}, now = new Date() } = options;
  const template = parsedTemplate(templateFor(tokenizer, tools !== undefined));
  const given = {
    ...constants,
    range,
    messages: messages.map((m) => ({ ...m })),
    add_generation_prompt: addGenerationPrompt,
    // Templates tell "none" from "not defined", and in transformers these two are none.
    tools: tools ?? null,
    documents: documents ?? null,
    ...tokenizer.specialTokens,
    bos_token: tokenizer.beginToken,
    eos_token: tokenizer.endToken,
    raise_exception: raiseException,
    strftime_now: (format: string) => strftime(now, format),
    ...variables,
  };
  try {
    const environment = new Environment();
    for (const [name, value] of Object.entries(given)) environment.set(name, value);
    return String(new Interpreter(environment).run(template.parsed).value);
  } catch (cause) {
    const refuses = cause instanceof TemplateRefusal;
    throw new RequestError(
      {
        code: "chat-template-failed",
        what: refuses
          ? "the chat template refuses the conversation"
          : "the chat template cannot render the conversation",
        why: (cause as Error).message,
        fix: refuses ? "Change the messages, or give ready-made text" : undefined,
      },
      { cause },
    );
  }
}

function templateFor({ chatTemplate, namedTemplates }: Tokenizer, hasTools: boolean): string {
  const forTools = hasTools ? namedTemplates.tool_use : undefined;
  const template = forTools ?? chatTemplate;
  if (template !== undefined) return template;
  const names = Object.keys(namedTemplates);
  if (names.length > 0) {
    throw new RequestError({
      code: "no-chat-template",
      what: "the model has several chat templates and no default",
      why: `they are named ${names.join(", ")}`,
      fix: "Save the wanted one as chat_template.jinja in the model's folder",
    });
  }
  throw new RequestError({
    code: "no-chat-template",
    what: "the model has no chat template",
    why: "the record is a conversation",
    fix: "Give plain text prompts, or add chat_template.jinja to the model's folder",
  });
}

const parsed = new Map<string, Template>();

function parsedTemplate(source: string): Template {
  const known = parsed.get(source);
  if (known) return known;
  try {
    const template = new Template(source);
    parsed.set(source, template);
    return template;
  } catch (cause) {
    throw new RequestError(
      {
        code: "chat-template-invalid",
        what: "the chat template cannot be read",
        why: (cause as Error).message,
        fix: "Correct it, or put another one into chat_template.jinja in the model's folder",
      },
      { cause },
    );
  }
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
