/**
 * Vertex AI preference tuning of Gemini (https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-preference-tuning-prepare):
 * `system_instruction`, `contents` of roles user and model, and two `completions` with score 1 and 0. Text only.
 */
import type { Row } from "../../formats/rows.ts";
import type { Message } from "../../text/chat.ts";
import { type Fields, isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import { atMost, jsonLinesOnly, megabytes } from "./limits.ts";
import type { Notes } from "./notes.ts";
import { conversationOf, oneAnswer, plainTurn, withSystem, withoutSystem } from "./turns.ts";

const guide = "https://cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-preference-tuning-prepare";
const about = "https://docs.cloud.google.com/vertex-ai/generative-ai/docs/models/gemini-preference-tuning";
const rolesHere: Readonly<Record<string, string>> = { user: "user", assistant: "model" };
const rolesThere: Readonly<Record<string, string>> = { user: "user", model: "assistant" };

export const vertex: DataFormat = {
  title: "Vertex AI preference tuning",
  source: guide,
  detect: (row) =>
    row.isList("contents") && row.isList("completions") ? has("contents", "completions") : undefined,
  names: { prompt: "contents", chosen: "completions", rejected: "completions" },
  read(row) {
    const system = row.objectOr("system_instruction") ?? row.objectOr("systemInstruction");
    system?.skip("role");
    const answers = row.objects("completions");
    if (answers.length !== 2)
      row.fail("completions", `there are ${answers.length} of them, and a pair has two`);
    const [a, b] = answers.map((answer) => ({
      score: answer.number("score"),
      turn: turnOf(answer.object("completion")),
    }));
    if (a.score === b.score)
      row.fail(
        "completions",
        `both have score ${a.score}, so nothing is preferred`,
        "Give one of them score 1, the other 0",
      );
    const [chosen, rejected] = a.score > b.score ? [a, b] : [b, a];
    const graded = chosen.score !== 1 || rejected.score !== 0;
    return [
      {
        prompt: withSystem(system && textOf(system), row.objects("contents").map(turnOf)),
        chosen: [chosen.turn],
        rejected: [rejected.turn],
        ...(graded && { chosenReward: chosen.score, rejectedReward: rejected.score }),
      },
    ];
  },
  writer: {
    kinds: ["pair"],
    open: false,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const { system, turns } = withoutSystem(prompt);
      const completion = (name: string, score: number) => ({
        score,
        completion: { role: "model", parts: [{ text: oneAnswer(answers[name], name, notes) }] },
      });
      return {
        ...(system !== undefined && { system_instruction: { parts: [{ text: system }] } }),
        contents: turns.map((turn) => contentOf(turn, notes)),
        completions: [completion("chosen", 1), completion("rejected", 0)],
      };
    },
  },
  limits: [
    jsonLinesOnly(guide),
    // One edition of the page says 10 GB and a million examples, another 1 GB and ten million: the smaller of each.
    megabytes(1000, about),
    atMost(1_000_000, about),
    { what: "contents end with a turn of the user", source: guide, row: lastTurn },
  ],
};

function turnOf(content: Fields): Message {
  const role = content.text("role");
  const known = rolesThere[role] ?? content.fail("role", `it is ${role}`, "Write user or model");
  return { role: known, content: textOf(content) };
}

/** The text of parts, put together. */
function textOf(content: Fields): string {
  return content
    .objects("parts")
    .map((part) => part.textOr("text") ?? part.fail("text", "it is missing, and only text can be trained on"))
    .join("");
}

function contentOf(turn: Message, notes: Notes): Row {
  const { role, content } = plainTurn(turn, "prompt", notes);
  if (!Object.hasOwn(rolesHere, role)) throw new CannotWrite("prompt", `there are no ${role} turns here`);
  return { role: rolesHere[role], parts: [{ text: content }] };
}

function lastTurn({ contents }: Row): string | undefined {
  const last = Array.isArray(contents) ? (contents.at(-1) as unknown) : undefined;
  return isObject(last) && last.role === "user" ? undefined : "the last turn is not the user's";
}
