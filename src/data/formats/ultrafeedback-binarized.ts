/**
 * Pairs as in UltraFeedback's binarized edition (https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized): `prompt` as text,
 * `chosen` and `rejected` as conversations that repeat it, `score_chosen` and `score_rejected`. Without scores the same rows are
 * Axolotl's `chatml.ultra` (https://docs.axolotl.ai/docs/rlhf.html), with `system` perhaps.
 */
import type { Message } from "../../text/chat.ts";
import type { Fields } from "./fields.ts";
import { type DataFormat, has } from "./format.ts";
import { conversationOf, oneAnswer, oneQuestion, withSystem } from "./turns.ts";

const repeatsPrompt = (row: Fields, name: string) => {
  const list = row.peek(name);
  return row.isTurns(name) && (list as Message[])[0].role === "user" && (list as Message[]).length > 1;
};

const looksSo = (row: Fields) =>
  row.isText("prompt") && repeatsPrompt(row, "chosen") && repeatsPrompt(row, "rejected");

export const ultrafeedbackBinarized: DataFormat = {
  title: "UltraFeedback binarized",
  source: "https://huggingface.co/datasets/HuggingFaceH4/ultrafeedback_binarized",
  detect: (row) =>
    looksSo(row) && row.has("score_chosen") && row.has("score_rejected")
      ? has("prompt", "chosen", "rejected", "score_chosen", "score_rejected")
      : undefined,
  read(row) {
    const id = row.any("prompt_id");
    row.skip("messages"); // the chosen conversation once more
    return [
      {
        ...pairOf(row),
        chosenReward: row.number("score_chosen"),
        rejectedReward: row.number("score_rejected"),
        ...(id !== undefined && { id }),
      },
    ];
  },
  writer: {
    kinds: ["pair"],
    open: true,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const { system, question } = oneQuestion(prompt, notes);
      if (system !== undefined) notes.lose("prompt.system");
      const id = record.any("id");
      const said = (name: string): Message[] => [
        { role: "user", content: question },
        { role: "assistant", content: oneAnswer(answers[name], name, notes) },
      ];
      return {
        prompt: question,
        ...(id !== undefined && { prompt_id: String(id) }),
        chosen: said("chosen"),
        rejected: said("rejected"),
        messages: said("chosen"),
        score_chosen: record.numberOr("chosenReward") ?? 1,
        score_rejected: record.numberOr("rejectedReward") ?? 0,
      };
    },
  },
};

export const axolotlUltra: DataFormat = {
  title: "Axolotl ultra",
  source: "https://docs.axolotl.ai/docs/rlhf.html",
  detect: (row) =>
    looksSo(row) ? has("prompt", "chosen", "rejected") + ", the latter two repeating the prompt" : undefined,
  read(row) {
    const id = row.any("id");
    return [{ ...pairOf(row), ...(id !== undefined && { id }) }];
  },
  writer: {
    kinds: ["pair"],
    open: true,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const { system, question } = oneQuestion(prompt, notes);
      const id = record.any("id");
      const said = (name: string): Message[] => [
        { role: "user", content: question },
        { role: "assistant", content: oneAnswer(answers[name], name, notes) },
      ];
      return {
        ...(id !== undefined && { id }),
        ...(system !== undefined && { system }),
        prompt: question,
        chosen: said("chosen"),
        rejected: said("rejected"),
      };
    },
  },
};

function pairOf(row: Fields) {
  const question = row.text("prompt");
  const answer = (name: string): readonly Message[] => {
    const [first, ...rest] = row.turns(name);
    if (!first) return row.fail(name, "it has no turns");
    if (first.role !== "user" || first.content.trim() !== question.trim())
      row.fail(`${name}.0`, "it is not the prompt, which the conversation should begin with");
    return rest;
  };
  const prompt = withSystem(row.textOr("system"), [{ role: "user", content: question }]);
  return { prompt, chosen: answer("chosen"), rejected: answer("rejected") };
}
