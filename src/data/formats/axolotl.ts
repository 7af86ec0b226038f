/**
 * Axolotl's rows of one question (https://docs.axolotl.ai/docs/rlhf.html): `chatml.intel`, `chatml.icr`, `chatml.prompt_pairs` and
 * `chatml.argilla`, and the same under `llama3.`, which differ in the names of the fields. Each may have `system`, and for KTO
 * `completion` instead of a pair; that its verdict is called `label` there is unconfirmed (TRL, beneath, calls it so).
 */
import type { Message } from "../../text/chat.ts";
import { type DataFormat, has } from "./format.ts";
import type { Fields } from "./fields.ts";
import { conversationOf, oneAnswer, oneQuestion, withSystem } from "./turns.ts";

const guide = "https://docs.axolotl.ai/docs/rlhf.html";

interface QuestionFields {
  readonly question: string;
  readonly chosen: string;
  readonly rejected: string;
}

function oneQuestionFormat(
  id: string,
  names: QuestionFields,
  extra: (row: Fields) => boolean = () => true,
): DataFormat {
  const { question, chosen, rejected } = names;
  return {
    title: `Axolotl ${id}`,
    source: guide,
    detect(row) {
      if (!row.isText(question) || !extra(row) || (question !== "prompt" && row.has("prompt")))
        return undefined;
      if (row.isText(chosen) && row.isText(rejected)) return has(question, chosen, rejected);
      return question !== "prompt" && row.isText("completion") && row.has("label")
        ? has(question, "completion", "label")
        : undefined;
    },
    names: { prompt: question, chosen, rejected },
    read(row) {
      const id = row.any("id");
      const answer = (name: string): Message[] => [{ role: "assistant", content: row.text(name) }];
      const common = {
        prompt: withSystem(row.textOr("system"), [{ role: "user", content: row.text(question) }]),
        ...(id !== undefined && { id }),
      };
      if (row.has(chosen) || row.has(rejected))
        return [{ ...common, chosen: answer(chosen), rejected: answer(rejected) }];
      const label = row.flagOr("label");
      return [{ ...common, completion: answer("completion"), ...(label !== undefined && { label }) }];
    },
    writer: {
      kinds: ["pair", "unpaired"],
      open: true,
      write(record, notes) {
        const wanted: Readonly<Record<string, string>> = record.has("chosen")
          ? { chosen, rejected }
          : { completion: "completion" };
        const { prompt, answers } = conversationOf(record, Object.keys(wanted), notes);
        const asked = oneQuestion(prompt, notes);
        const said = Object.entries(wanted).map(([name, there]) => [
          there,
          oneAnswer(answers[name], name, notes),
        ]);
        const [label, id] = [record.any("label"), record.any("id")];
        return {
          ...(id !== undefined && { id }),
          ...(asked.system !== undefined && { system: asked.system }),
          [question]: asked.question,
          ...(Object.fromEntries(said) as Record<string, string>),
          ...(label !== undefined && { label }),
        };
      },
    },
  };
}

const plain = { chosen: "chosen", rejected: "rejected" };

export const axolotlIntel = oneQuestionFormat("intel", { question: "question", ...plain });
export const axolotlIcr = oneQuestionFormat(
  "icr",
  { question: "input", ...plain },
  (row) => !row.has("instruction"),
);
/** Without a system message these are plain pairs of prefopt, which no chat template is put around. */
export const axolotlPromptPairs = oneQuestionFormat("prompt_pairs", { question: "prompt", ...plain }, (row) =>
  row.isText("system"),
);
export const axolotlArgilla = oneQuestionFormat("argilla", {
  question: "instruction",
  chosen: "chosen_response",
  rejected: "rejected_response",
});
