/**
 * Joint pairs: instruction and answer are scored together, so that answers to different instructions can be compared. Only the
 * first token is given: the begin token, or the instruction's own first where the tokenizer has none. A conversation's template is
 * part of the instruction. A pair is a joint pair of one instruction.
 */
import type { Asked } from "../contents.ts";
import { RequestError } from "../../errors.ts";
import { showSource } from "../load-records.ts";
import { type RowKind, type RowTools, ask } from "./row-kind.ts";

export const joint: RowKind = {
  joint: (contents, tools) => [
    {
      trees: contents.asked.map((asked) => sideOf(asked, tools)),
      fields: contents.fields,
    },
  ],
  pair(contents, tools) {
    const [{ prompt, answers }] = contents.asked;
    const sides = (["chosen", "rejected"] as const).map((side) => ({
      prompt,
      answers: { [side]: answers[side] },
    }));
    return [{ trees: sides.map((asked) => sideOf(asked, tools)), fields: contents.fields }];
  },
};

function sideOf(asked: Asked, tools: RowTools) {
  const { prompt, named } = ask(asked, tools);
  const [[side, response]] = Object.entries(named);
  if (prompt.length < 2) {
    throw new RequestError({
      code: "row-invalid",
      what: `the instruction of ${side} has ${prompt.length} tokens`,
      where: showSource(tools.source),
      why: "its first token is only given, so nothing of it is left to score",
      fix: "Give an instruction of two tokens or more",
    });
  }
  return {
    prompt: prompt.slice(0, 1),
    branches: [
      [
        { role: `${side}.instruction`, ids: prompt.slice(1) },
        { role: `${side}.response`, ids: response },
      ],
    ],
  };
}
