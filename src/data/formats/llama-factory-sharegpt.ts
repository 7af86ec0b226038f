/**
 * LLaMA-Factory's sharegpt rows (https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md): `conversations` of from and value,
 * whose last turn is learned, with `kto_tag` perhaps; or `chosen` and `rejected` turns that follow them ("ranking"). `system` and
 * `tools` (JSON text) stand beside. A function_call is an assistant's turn that calls tools, an observation their answer.
 */
import { parseJson } from "../../formats/parse-json.ts";
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import { type Fields, isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import type { Notes } from "./notes.ts";
import { toolsOf } from "./tools.ts";
import { conversationOf, plainTurn, withSystem, withoutSystem } from "./turns.ts";

const roles: Readonly<Record<string, string>> = {
  human: "user",
  user: "user",
  gpt: "assistant",
  assistant: "assistant",
  system: "system",
  observation: "tool",
};
const names: Readonly<Record<string, string>> = {
  user: "human",
  assistant: "gpt",
  system: "system",
  tool: "observation",
};

export const llamaFactorySharegpt: DataFormat = {
  title: "LLaMA-Factory sharegpt",
  source: "https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md",
  detect(row) {
    const list = row.peek("conversations");
    const [first] = Array.isArray(list) ? (list as unknown[]) : [];
    if (!isObject(first) || !("from" in first) || !("value" in first)) return undefined;
    if (row.has("chosen") && row.has("rejected")) return has("conversations", "chosen", "rejected");
    return row.has("kto_tag") ? has("conversations", "kto_tag") : has("conversations");
  },
  names: {
    prompt: "conversations",
    messages: "conversations",
    completion: "conversations",
    label: "kto_tag",
  },
  read(row) {
    const tools = toolsOf(row);
    const id = row.any("id");
    const common = { ...(tools && { tools }), ...(id !== undefined && { id }) };
    const turns = withSystem(row.textOr("system"), row.objects("conversations").map(turnOf));
    if (row.has("chosen") || row.has("rejected")) {
      const answer = (name: string) => [turnOf(row.object(name))];
      return [{ prompt: turns, chosen: answer("chosen"), rejected: answer("rejected"), ...common }];
    }
    const label = row.flagOr("kto_tag");
    if (label === undefined) return [{ messages: turns, ...common }];
    return [{ prompt: turns.slice(0, -1), completion: turns.slice(-1), label, ...common }];
  },
  writer: {
    kinds: ["pair", "unpaired", "plain"],
    open: true,
    write(record, notes) {
      const paired = record.has("chosen");
      const wanted = paired ? ["chosen", "rejected"] : ["completion"];
      const { prompt, answers } = conversationOf(record, wanted, notes);
      const { system, turns } = withoutSystem(prompt);
      const label = record.any("label");
      const tools = record.any("tools");
      const id = record.any("id");
      const before = turns.map((turn) => written(turn, "prompt", notes));
      const one = (name: string): Row => {
        if (answers[name].length !== 1) throw new CannotWrite(name, "it must be one turn here");
        return written(answers[name][0], name, notes);
      };
      return {
        ...(id !== undefined && { id }),
        ...(paired
          ? { conversations: inTurns(before, false), chosen: one("chosen"), rejected: one("rejected") }
          : {
              conversations: inTurns(
                [...before, ...answers.completion.map((t) => written(t, "completion", notes))],
                true,
              ),
            }),
        ...(label !== undefined && { kto_tag: label }),
        ...(system !== undefined && { system }),
        ...(tools !== undefined && { tools: JSON.stringify(tools) }),
      };
    },
  },
};

function turnOf(turn: Fields): Message {
  const from = turn.text("from");
  const value = turn.text("value");
  if (from !== "function_call") {
    const role = Object.hasOwn(roles, from) ? roles[from] : undefined;
    return { role: role ?? turn.fail("from", `"${from}" is no role of the format`), content: value };
  }
  const calls = callsOf(value) ?? turn.fail("value", "a function_call must be JSON with name and arguments");
  return { role: "assistant", content: "", tool_calls: calls } as Message;
}

function callsOf(text: string): object[] | undefined {
  let value: unknown;
  try {
    value = parseJson(text, "function_call");
  } catch {
    return undefined;
  }
  const list = Array.isArray(value) ? (value as unknown[]) : [value];
  const calls = list.flatMap((call) =>
    isObject(call) && typeof call.name === "string"
      ? [{ type: "function", function: { name: call.name, arguments: call.arguments } }]
      : [],
  );
  return calls.length === list.length ? calls : undefined;
}

function written(turn: Message, where: string, notes: Notes): Row {
  const { role, content, ...more } = plainTurn(turn, where, notes, ["tool_calls"]) as Message & {
    tool_calls?: unknown;
  };
  if (Array.isArray(more.tool_calls) && more.tool_calls.length > 0) {
    if (content !== "") notes.lose(`${where}.content`); // of a turn that also calls tools
    return {
      from: "function_call",
      value: JSON.stringify(callsWritten(more.tool_calls as unknown[], where, notes)),
    };
  }
  if (!Object.hasOwn(names, role)) throw new CannotWrite(where, `there are no ${role} turns here`);
  return { from: names[role], value: content };
}

function callsWritten(calls: readonly unknown[], where: string, notes: Notes): object {
  const list = calls.map((call) => {
    const { function: f, ...more } = (isObject(call) ? call : {}) as Row;
    for (const key of Object.keys(more)) if (key !== "type") notes.lose(`${where}.tool_calls.${key}`);
    if (!isObject(f)) throw new CannotWrite(`${where}.tool_calls`, "a call must name its function");
    return { name: f.name, arguments: f.arguments };
  });
  return list.length === 1 ? list[0] : list;
}

/** Human and observation stand at odd places, gpt and function_call at even ones; the last is the model's where it is `answered`. */
function inTurns(turns: readonly Row[], answered: boolean): readonly Row[] {
  const asks = (turn: Row) => turn.from === "human" || turn.from === "observation";
  const ordered = turns.every((turn, i) => asks(turn) === (i % 2 === 0));
  if (!ordered || turns.length === 0 || (turns.length % 2 === 0) !== answered)
    throw new CannotWrite("prompt", "here turns of the user and of the model alternate");
  return turns;
}
