/**
 * Votes of Chatbot Arena (https://huggingface.co/datasets/lmsys/chatbot_arena_conversations, …/arena-human-preference-100k): `winner` between
 * `conversation_a` and `conversation_b`; or `response_a` and `response_b` with winner_model_a, winner_model_b and winner_tie, as in
 * lmsys-human-preference-55k. A tie is kept as a pair with probability one half.
 */
import type { Message } from "../../text/chat.ts";
import { commonTurns } from "../contents.ts";
import type { Fields } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import { conversationOf, plainTurn } from "./turns.ts";

type Winner = "a" | "b" | "tie";
const winners: Readonly<Record<string, Winner>> = {
  model_a: "a",
  model_b: "b",
  tie: "tie",
  "tie (bothbad)": "tie",
  both_bad: "tie",
};

export const arena: DataFormat = {
  title: "Chatbot Arena votes",
  source: "https://huggingface.co/datasets/lmsys/chatbot_arena_conversations",
  detect(row) {
    if (row.isTurns("conversation_a") && row.isTurns("conversation_b") && row.has("winner"))
      return has("conversation_a", "conversation_b", "winner");
    return row.isList("response_a") && row.isList("response_b") && row.has("winner_model_a")
      ? has("response_a", "response_b", "winner_model_a")
      : undefined;
  },
  names: { chosen: "conversation_a", rejected: "conversation_b" },
  read(row) {
    const [id, other] = [row.any("question_id"), row.any("id")];
    const [a, b] = row.has("conversation_a")
      ? [row.turns("conversation_a"), row.turns("conversation_b")]
      : [responsesOf(row, "response_a"), responsesOf(row, "response_b")];
    if (!row.has("conversation_a")) row.skip("prompt");
    const n = commonTurns(a, b);
    if (n === 0) row.fail("conversation_b", "it does not begin with the same turn as conversation_a");
    const winner = winnerOf(row);
    const [chosen, rejected] = winner === "b" ? [b, a] : [a, b];
    return [
      {
        prompt: a.slice(0, n),
        chosen: chosen.slice(n),
        rejected: rejected.slice(n),
        ...(winner === "tie" && { chosenProb: 0.5 }),
        ...((id ?? other) !== undefined && { id: id ?? other }),
      },
    ];
  },
  writer: {
    kinds: ["pair"],
    open: true,
    write(record, notes) {
      const { prompt, answers } = conversationOf(record, ["chosen", "rejected"], notes);
      const probability = record.peek("chosenProb");
      if (probability === 0.5 || probability === 1) record.skip("chosenProb");
      const id = record.any("id");
      const whole = (name: string) =>
        [...prompt, ...answers[name]].map((turn) => plainTurn(turn, name, notes));
      if (prompt.length === 0) throw new CannotWrite("prompt", "it has no turns");
      return {
        ...(id !== undefined && { question_id: id }),
        winner: probability === 0.5 ? "tie" : "model_a",
        conversation_a: whole("chosen"),
        conversation_b: whole("rejected"),
      };
    },
  },
};

/** The turns of one side: what was asked and what it answered, one after the other. */
function responsesOf(row: Fields, name: string): readonly Message[] {
  const asked = row.texts("prompt");
  const answers = row.list(name);
  if (answers.length !== asked.length)
    row.fail(name, `it has ${answers.length} answers to ${asked.length} prompts`);
  return asked.flatMap((content, i) => [
    { role: "user", content },
    {
      role: "assistant",
      content: typeof answers[i] === "string" ? answers[i] : row.fail(`${name}.${i}`, "it must be text"),
    },
  ]);
}

function winnerOf(row: Fields): Winner {
  if (row.has("winner")) {
    const winner = row.text("winner");
    const known = Object.hasOwn(winners, winner) ? winners[winner] : undefined;
    return known ?? row.fail("winner", `it is "${winner}"`, `Known are ${Object.keys(winners).join(", ")}`);
  }
  const votes: [Winner, boolean | undefined][] = [
    ["a", row.flagOr("winner_model_a")],
    ["b", row.flagOr("winner_model_b")],
    ["tie", row.flagOr("winner_tie")],
  ];
  const won = votes.filter(([, vote]) => vote === true);
  if (won.length !== 1)
    row.fail(
      "winner_model_a",
      `${won.length} of winner_model_a, winner_model_b and winner_tie are set, and one should be`,
    );
  return won[0][0];
}
