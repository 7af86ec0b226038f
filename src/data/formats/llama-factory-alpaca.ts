/**
 * LLaMA-Factory's alpaca rows (https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md): `instruction` and `input` make the
 * user's turn, `history` holds earlier turns in twos; then `output`, `output` with `kto_tag`, or `chosen` and `rejected` ("ranking").
 */
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import type { Fields } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import type { Notes } from "./notes.ts";
import { conversationOf, oneAnswer, plainTurn, withSystem, withoutSystem } from "./turns.ts";

export const llamaFactoryAlpaca: DataFormat = {
  title: "LLaMA-Factory alpaca",
  source: "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
  detect(row) {
    if (!row.isText("instruction") || row.has("prompt")) return undefined;
    if (row.isText("chosen") && row.isText("rejected")) return has("instruction", "chosen", "rejected");
    if (!row.isText("output")) return undefined;
    return row.has("kto_tag") ? has("instruction", "output", "kto_tag") : has("instruction", "output");
  },
  names: { prompt: "instruction", completion: "output", label: "kto_tag" },
  read(row) {
    const prompt = promptOf(row);
    const id = row.any("id");
    const common = { prompt, ...(id !== undefined && { id }) };
    const answer = (name: string): Message[] => [{ role: "assistant", content: row.text(name) }];
    if (row.has("chosen") || row.has("rejected"))
      return [{ ...common, chosen: answer("chosen"), rejected: answer("rejected") }];
    const label = row.flagOr("kto_tag");
    return [{ ...common, completion: answer("output"), ...(label !== undefined && { label }) }];
  },
  writer: {
    kinds: ["pair", "unpaired", "plain"],
    open: true,
    write(record, notes) {
      const paired = record.has("chosen");
      const names = paired ? ["chosen", "rejected"] : ["completion"];
      const { prompt, answers } = conversationOf(record, names, notes);
      const label = record.any("label");
      const id = record.any("id");
      const said = Object.fromEntries(
        names.map((name) => [paired ? name : "output", oneAnswer(answers[name], name, notes)]),
      );
      return {
        ...(id !== undefined && { id }),
        ...asked(prompt, notes),
        ...said,
        ...(label !== undefined && { kto_tag: label }),
      };
    },
  },
};

function promptOf(row: Fields): readonly Message[] {
  const instruction = row.text("instruction");
  const input = row.textOr("input") ?? "";
  const history = (row.listOr("history") ?? []).flatMap((round, i) => roundOf(round, row, i));
  const question = input === "" ? instruction : `${instruction}\n${input}`;
  return withSystem(row.textOr("system"), [...history, { role: "user", content: question }]);
}

function roundOf(round: unknown, row: Fields, i: number): Message[] {
  if (!Array.isArray(round) || round.length !== 2 || !round.every((text) => typeof text === "string"))
    return row.fail(`history.${i}`, "it must be two texts: what was asked and what was answered");
  const [content, answer] = round as [string, string];
  return [
    { role: "user", content },
    { role: "assistant", content: answer },
  ];
}

/** The prompt's columns. Throws CannotWrite where turns of user and assistant do not take turns. */
function asked(prompt: readonly Message[], notes: Notes): Row {
  const { system, turns } = withoutSystem(prompt);
  const ordered = turns.every((turn, i) => turn.role === (i % 2 === 0 ? "user" : "assistant"));
  if (!ordered || turns.length % 2 === 0)
    throw new CannotWrite("prompt", "here user and assistant take turns, and the user's is the last");
  const texts = turns.map((turn) => plainTurn(turn, "prompt", notes).content);
  const history = Array.from({ length: (texts.length - 1) / 2 }, (_, i) => [texts[2 * i], texts[2 * i + 1]]);
  return {
    instruction: texts[texts.length - 1],
    input: "",
    ...(system !== undefined && { system }),
    ...(history.length > 0 && { history }),
  };
}
