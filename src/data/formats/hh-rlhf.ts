/**
 * Anthropic's HH-RLHF (https://huggingface.co/datasets/Anthropic/hh-rlhf): `chosen` and `rejected` are whole transcripts, turns opened by
 * "\n\nHuman:" and "\n\nAssistant:". What both begin with, up to the last "\n\nAssistant:" of it, is the prompt (as in the authors' code
 * of DPO, https://github.com/eric-mitchell/direct-preference-optimization). Read as the text that it is, or as turns.
 */
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import type { Fields } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import type { Notes } from "./notes.ts";
import { asking, isTranscript, transcriptOf, transcriptTurns } from "./turns.ts";

const source = "https://huggingface.co/datasets/Anthropic/hh-rlhf";
const looksSo = (row: Fields, name: string) =>
  row.isText(name) && /^\s*Human:[\s\S]*\n\nAssistant:/.test(String(row.peek(name)));

const writer = {
  kinds: ["pair"],
  open: true,
  write(record: Fields, notes: Notes): Row {
    const prompt = record.content("prompt");
    const texts = ["chosen", "rejected"].map((name) => [
      name,
      asText(prompt, record.content(name), name, notes),
    ]);
    return Object.fromEntries(texts) as Row;
  },
} as const;

export const hhRlhf: DataFormat = {
  title: "HH-RLHF transcripts",
  source,
  detect: (row) =>
    !row.has("prompt") && looksSo(row, "chosen") && looksSo(row, "rejected")
      ? `${has("chosen", "rejected")} as transcripts of Human and Assistant`
      : undefined,
  read: (row) => [split(row)],
  writer,
};

export const hhRlhfTurns: DataFormat = {
  ...hhRlhf,
  title: "HH-RLHF transcripts, as turns",
  detect: () => undefined, // as text
  read(row) {
    const { prompt, chosen, rejected } = split(row);
    const answer = (text: string) => transcriptTurns(`${asking}${text}`);
    return [
      { prompt: transcriptTurns(prompt).slice(0, -1), chosen: answer(chosen), rejected: answer(rejected) },
    ];
  },
};

function split(row: Fields): { prompt: string; chosen: string; rejected: string } {
  const [chosen, rejected] = [row.text("chosen"), row.text("rejected")];
  let n = 0;
  while (n < Math.min(chosen.length, rejected.length) && chosen[n] === rejected[n]) n++;
  const at = chosen.slice(0, n).lastIndexOf(asking);
  if (at < 0) row.fail("chosen", "it shares no turns with rejected up to an answer of the assistant");
  const end = at + asking.length;
  return { prompt: chosen.slice(0, end), chosen: chosen.slice(end), rejected: rejected.slice(end) };
}

/** Prompt and answer as one transcript. */
function asText(
  prompt: string | readonly Message[],
  answer: string | readonly Message[],
  name: string,
  notes: Notes,
): string {
  if (typeof prompt === "string" && typeof answer === "string") {
    if (isTranscript(prompt)) return prompt + answer;
    notes.change("plain text was written as a transcript of Human and Assistant");
    return `\n\nHuman: ${prompt.trim()}${asking} ${answer.trim()}`;
  }
  const turns = (content: string | readonly Message[], role: string) =>
    typeof content === "string" ? [{ role, content }] : content;
  const all = [...turns(prompt, "user"), ...turns(answer, "assistant")];
  if (all.at(-1)?.role !== "assistant")
    throw new CannotWrite(name, "it must end with a turn of the assistant here");
  return transcriptOf(all, name, notes);
}
