/** Records as checks look at them: prompt and answers as text, whatever their format, and the comparison in them. */
import type { Given } from "../encode.ts";
import { type Asked, contentsOf } from "../contents.ts";
import type { LoadedRecord, Source } from "../load-records.ts";
import type { DataKind, DataRecord } from "../record-formats.ts";
import type { Tokenizer } from "../../text/tokenizer.ts";

export interface Answer {
  readonly role: string;
  readonly text: string;
}

export interface CheckedRecord {
  readonly source: Source;
  readonly record: DataRecord;
  readonly kind: DataKind;
  readonly prompt: string;
  readonly answers: readonly Answer[];
  /** What is preferred to what; of a list the best and the worst. */
  readonly pair?: { readonly chosen: string; readonly rejected: string };
  /** Of single answers. */
  readonly label?: boolean;
  /** Whether its prompt is a conversation. */
  readonly isChat: boolean;
}

/** Token ids are shown as text where there is a tokenizer, else as numbers. */
export function checkedRecord({ record, source }: LoadedRecord, tokenizer?: Tokenizer): CheckedRecord {
  if (record.format === "text") {
    const answers = [{ role: "completion", text: record.text }];
    return { source, record, kind: "plain", prompt: "", answers, isChat: false };
  }
  const { kind, asked, several } = contentsOf(record, { tokenizer, endIds: [] }, source);
  const text = (given: Given) => textOf(given, tokenizer);
  const answers = [
    ...asked.flatMap((one) =>
      Object.entries(one.answers).map(([role, given]) => ({ role, text: text(given) })),
    ),
    ...Object.entries(several).flatMap(([role, list]) => list.map((given) => ({ role, text: text(given) }))),
  ];
  const prompt = asked.map((one) => promptText(one, tokenizer)).join("\n\n");
  const { label } = record as { label?: boolean };
  const pair = pairOf(record, answers);
  return {
    source,
    record,
    kind,
    prompt,
    answers,
    isChat: asked.some((one) => Array.isArray(one.prompt)),
    ...(pair && { pair }),
    ...(label !== undefined && { label }),
  };
}

function promptText({ prompt, prefix = "" }: Asked, tokenizer?: Tokenizer): string {
  return textOf(prompt, tokenizer) + prefix;
}

/** A conversation with its roles, so that who said something counts. One answer of the assistant is its text. */
function textOf(given: Given, tokenizer?: Tokenizer): string {
  if (typeof given === "string") return given;
  if ("ids" in given) return tokenizer ? tokenizer.decode(given.ids) : given.ids.join(" ");
  if (given.length === 1 && given[0].role === "assistant") return given[0].content;
  return given.map(({ role, content }) => `${role}: ${content}`).join("\n");
}

function pairOf(record: DataRecord, answers: readonly Answer[]): CheckedRecord["pair"] {
  if ((record as { chosenProb?: number }).chosenProb === 0.5) return undefined; // a tie prefers nothing
  const of = (role: string) => answers.find((answer) => answer.role === role)?.text;
  const [chosen, rejected] = [of("chosen"), of("rejected")];
  if (chosen !== undefined && rejected !== undefined) return { chosen, rejected };
  const { scores } = record as { scores?: readonly number[] };
  if (!scores || scores.length < 2) return undefined;
  const [best, worst] = [scores.indexOf(Math.max(...scores)), scores.indexOf(Math.min(...scores))];
  return scores[best] > scores[worst]
    ? { chosen: answers[best].text, rejected: answers[worst].text }
    : undefined;
}

/** The same words in the same order are the same text: case, spaces, punctuation and forms of characters do not count. */
export const normalized = (text: string): string => wordsOf(text).join(" ");

/** The words of a text, in lower case. Where a text has none, its signs. */
export function wordsOf(text: string): string[] {
  const plain = text.normalize("NFKC").toLowerCase();
  return plain.match(/[\p{L}\p{N}\p{M}]+/gu) ?? plain.match(/\S+/gu) ?? [];
}
