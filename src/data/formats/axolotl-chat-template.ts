/**
 * Axolotl's `chat_template.default` (https://docs.axolotl.ai/docs/rlhf.html) with its default names: `messages` are the prompt, `chosen`
 * and `rejected` one turn each.
 */
import type { Row } from "../../formats/rows.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import { conversationOf, plainTurn } from "./turns.ts";

export const axolotlChatTemplate: DataFormat = {
  title: "Axolotl chat_template",
  source: "https://docs.axolotl.ai/docs/rlhf.html",
  detect: (row) =>
    row.isTurns("messages") && row.isObject("chosen") && row.isObject("rejected")
      ? has("messages", "chosen", "rejected")
      : undefined,
  names: { prompt: "messages" },
  read(row) {
    const id = row.any("id");
    return [
      {
        prompt: row.turns("messages"),
        chosen: [row.turn("chosen")],
        rejected: [row.turn("rejected")],
        ...(id !== undefined && { id }),
      },
    ];
  },
  writer: {
    kinds: ["pair"],
    open: true,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const id = record.any("id");
      const one = (name: string): Row => {
        if (answers[name].length !== 1) throw new CannotWrite(name, "it must be one turn here");
        return { ...plainTurn(answers[name][0], name, notes) };
      };
      return {
        ...(id !== undefined && { id }),
        messages: prompt.map((turn) => plainTurn(turn, "prompt", notes)),
        chosen: one("chosen"),
        rejected: one("rejected"),
      };
    },
  },
};
