/** How records of one kind become rows of another: what the files of this folder share. */
import type { Answered, Encoder, Given } from "../encode.ts";
import { answered, continued } from "../encode.ts";
import type { Asked, Contents } from "../contents.ts";
import type { Source } from "../load-records.ts";
import type { DataKind } from "../record-formats.ts";
import type { Part, TokenRow, TokenTree, UnitNumbers } from "../token-row.ts";

/** What objectives say about the making of rows. */
export interface RowSettings {
  /** Graded copies of answers (self-supervised-po). */
  readonly degrees?: DegreeSettings;
  /** Show the winner first at random instead of always (rationale-po). */
  readonly swapComparison?: boolean;
  /** Steps that hold a final answer end in an end token (step-dpo). */
  readonly endOnFinalStep?: boolean;
}

export interface DegreeSettings {
  /** Degrees, the untouched answer included. */
  readonly count: number;
  readonly on: "chosen" | "both";
  /** Share of the content words that gives the number of key phrases. */
  readonly topFraction: number;
  readonly maxPhraseWords: number;
}

export interface RowTools {
  readonly encoder: Encoder;
  readonly source: Source;
  readonly settings: RowSettings;
}

/** A row before lengths and ids are checked. */
export interface RowDraft {
  readonly trees: readonly TokenTree[];
  readonly fields?: Readonly<Record<string, number>>;
  readonly values?: UnitNumbers;
  readonly tokenRewards?: TokenRow["tokenRewards"];
  readonly warning?: string;
}

/** Makes the rows of one record; most records make one. */
export type RowMaker = (contents: Contents, tools: RowTools) => readonly RowDraft[];

/** Makers by what the record is. */
export type RowKind = Readonly<Partial<Record<DataKind, RowMaker>>>;

/** Prompt and answers of a question as ids; the answers by their names. */
export function ask(asked: Asked, { encoder, source, settings }: RowTools): NamedAnswers {
  const names = Object.keys(asked.answers);
  const answers = names.map((name) => asked.answers[name]);
  const found =
    asked.prefix === undefined
      ? answered(asked.prompt, answers, encoder, source, asked.tools)
      : continued(
          asked.prompt,
          asked.prefix,
          answers as string[],
          encoder,
          source,
          (step) => Boolean(settings.endOnFinalStep && finalAnswer.test(step)),
          asked.tools,
        );
  return { ...found, named: Object.fromEntries(names.map((name, i) => [name, found.answers[i]])) };
}

export interface NamedAnswers extends Answered {
  readonly named: Readonly<Record<string, readonly number[]>>;
}

const finalAnswer = /\banswer is\b|\\boxed\{/i;

/** A branch of one part. */
export const branch = (role: string, ids: readonly number[]): readonly Part[] => [{ role, ids }];

/** The plain way: one prompt, a branch for each answer under its own name. */
export const asWritten: RowMaker = (contents, tools) => {
  const { prompt, named, warning } = ask(contents.asked[0], tools);
  const branches = Object.entries(named).map(([role, ids]) => branch(role, ids));
  return [{ trees: [{ prompt, branches }], warning, ...numbersOf(contents) }];
};

/** The record's numbers, unchanged. */
export const numbersOf = ({ fields, values, tokenRewards }: Contents) => ({ fields, values, tokenRewards });

/** A question's text with more after it: the last turn of a conversation, or the text itself. Undefined for ids. */
export function extended(prompt: Given, more: string): Given | undefined {
  if (typeof prompt === "string") return prompt + more;
  if (!Array.isArray(prompt)) return undefined;
  const turns = prompt as readonly { role: string; content: string }[];
  const last = turns[turns.length - 1];
  return [...turns.slice(0, -1), { ...last, content: last.content + more }];
}

/** The text of an answer; undefined where it is ids. */
export function textOf(given: Given): string | undefined {
  if (typeof given === "string") return given;
  if ("ids" in given) return undefined;
  return given.map((m) => m.content).join("\n");
}
