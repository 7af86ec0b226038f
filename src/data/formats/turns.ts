/** Texts as turns and turns as texts, for formats that know only one of the two; transcripts with Human and Assistant lie between. */
import type { Message } from "../../text/chat.ts";
import type { Fields } from "./fields.ts";
import { CannotWrite } from "./format.ts";
import type { Notes } from "./notes.ts";

export type Content = string | readonly Message[];

export interface Conversation {
  readonly prompt: readonly Message[];
  /** By the names of their fields. */
  readonly answers: Readonly<Record<string, readonly Message[]>>;
}

/** Prompt and answers of a record as turns. Plain text becomes a user's and an assistant's turn, a transcript its own turns. */
export function conversationOf(record: Fields, names: readonly string[], notes: Notes): Conversation {
  const prompt = record.content("prompt");
  const given = Object.fromEntries(names.map((name) => [name, record.content(name)]));
  const { prompt: asked, answers } = asTurns(prompt, Object.values(given), notes);
  return { prompt: asked, answers: Object.fromEntries(names.map((name, i) => [name, answers[i]])) };
}

/** The same for answers that are at hand. */
export function asTurns(prompt: Content, answers: readonly Content[], notes: Notes) {
  if (typeof prompt !== "string")
    return { prompt, answers: answers.map((answer) => answerTurns(answer, notes)) };
  if (isTranscript(prompt)) {
    notes.change("a transcript with Human and Assistant was written as turns");
    const said = answers.map((answer) =>
      typeof answer === "string" ? transcriptTurns(`${opening.assistant}${answer}`) : answer,
    );
    return { prompt: transcriptTurns(prompt).slice(0, -1), answers: said };
  }
  notes.change("plain text was written as turns of a user and an assistant");
  return {
    prompt: [{ role: "user", content: prompt }],
    answers: answers.map((answer) => answerTurns(answer)),
  };
}

function answerTurns(answer: Content, notes?: Notes): readonly Message[] {
  if (typeof answer !== "string") return answer;
  notes?.change("a plain answer was written as an assistant's turn");
  return [{ role: "assistant", content: answer }];
}

/** System message and the turns after it. */
export function withoutSystem(turns: readonly Message[]): { system?: string; turns: readonly Message[] } {
  const [first, ...rest] = turns;
  return first?.role === "system" ? { system: first.content, turns: rest } : { turns };
}

/** With a system message before them, where there is one. */
export const withSystem = (system: string | undefined, turns: readonly Message[]): readonly Message[] =>
  system === undefined || system === "" ? turns : [{ role: "system", content: system }, ...turns];

/** Role and content of a turn; whatever else it has is lost unless `also` names it. */
export function plainTurn(turn: Message, where: string, notes: Notes, also: readonly string[] = []): Message {
  const { role, content, ...more } = turn as Message & Record<string, unknown>;
  const kept: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(more)) {
    if (also.includes(name)) kept[name] = value;
    else notes.lose(`${where}.${name}`);
  }
  return { role, content, ...kept };
}

/** The text of an answer that is one assistant's turn. Throws CannotWrite for others. */
export function oneAnswer(turns: readonly Message[], field: string, notes: Notes): string {
  if (turns.length !== 1 || turns[0].role !== "assistant")
    throw new CannotWrite(field, "it must be one turn of the assistant here");
  return plainTurn(turns[0], field, notes).content;
}

/** The text of a question that is one user's turn, with a system message before it perhaps. Throws CannotWrite for others. */
export function oneQuestion(turns: readonly Message[], notes: Notes): { system?: string; question: string } {
  const { system, turns: rest } = withoutSystem(turns);
  if (rest.length !== 1 || rest[0].role !== "user")
    throw new CannotWrite("prompt", "it must be one turn of the user here, after a system message perhaps");
  return { ...(system !== undefined && { system }), question: plainTurn(rest[0], "prompt", notes).content };
}

const opening = { user: "\n\nHuman:", assistant: "\n\nAssistant:" } as const;

/** Whether a text is a transcript that asks the assistant. */
export const isTranscript = (text: string): boolean =>
  /^\s*Human:/.test(text) && /\n\nAssistant:\s*$/.test(text);

/** The turns of a transcript. */
export function transcriptTurns(text: string): Message[] {
  const parts = text.replace(/^\s*(Human|Assistant):/, "\n\n$1:").split(/\n\n(Human|Assistant):/);
  const turns: Message[] = [];
  for (let i = 1; i + 1 < parts.length; i += 2)
    turns.push({ role: parts[i] === "Human" ? "user" : "assistant", content: parts[i + 1].trim() });
  return turns;
}

/** Turns as a transcript. Throws CannotWrite for other roles than user and assistant. */
export function transcriptOf(turns: readonly Message[], where: string, notes: Notes): string {
  return turns
    .map((turn) => {
      const { role, content } = plainTurn(turn, where, notes);
      if (role !== "user" && role !== "assistant")
        throw new CannotWrite(where, `a transcript has no ${role} turns`);
      return `${opening[role]} ${content}`;
    })
    .join("");
}

/** How a transcript asks for an answer. */
export const asking: string = opening.assistant;
