/**
 * Scored answers as in UltraFeedback (https://huggingface.co/datasets/openbmb/UltraFeedback): `instruction` and `completions` with
 * `response` and `overall_score`; or, as distilabel writes them, `generations` and `ratings` in two lists. They are lists with
 * scores; pairs are made of them by a policy that is named (pairs.ts).
 */
import type { Message } from "../../text/chat.ts";
import { isObject } from "./fields.ts";
import type { Fields } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";
import { asTurns, oneAnswer, oneQuestion } from "./turns.ts";

export const ultrafeedback: DataFormat = {
  title: "UltraFeedback scored lists",
  source: "https://huggingface.co/datasets/openbmb/UltraFeedback",
  detect(row) {
    if (!row.isText("instruction")) return undefined;
    const list = row.peek("completions");
    if (Array.isArray(list) && list.length > 0 && list.every((c) => isObject(c) && "response" in c))
      return has("instruction", "completions with responses");
    return row.isList("generations") && row.isList("ratings")
      ? has("instruction", "generations", "ratings")
      : undefined;
  },
  names: { prompt: "instruction", scores: "completions" },
  read(row) {
    const prompt: Message[] = [{ role: "user", content: row.text("instruction") }];
    const id = row.any("id");
    const common = { prompt, ...(id !== undefined && { id }) };
    const answer = (content: string): Message[] => [{ role: "assistant", content }];
    if (!row.has("completions")) {
      const completions = row.texts("generations").map(answer);
      return [
        { ...common, completions, scores: row.list("ratings").map((rating, i) => ratingOf(rating, row, i)) },
      ];
    }
    const completions = row.objects("completions");
    return [
      {
        ...common,
        completions: completions.map((c) => answer(c.text("response"))),
        scores: completions.map(scoreOf),
      },
    ];
  },
  writer: {
    kinds: ["list"],
    open: true,
    write(record, notes) {
      const given = record.list("completions") as readonly (string | readonly Message[])[];
      const { prompt, answers } = asTurns(record.content("prompt"), given, notes);
      const { system, question } = oneQuestion(prompt, notes);
      if (system !== undefined) notes.lose("prompt.system");
      const scores = record.listOr("scores");
      if (!scores) throw new CannotWrite("scores", "there are none, and each answer needs one here");
      const id = record.any("id");
      return {
        ...(id !== undefined && { id }),
        instruction: question,
        completions: answers.map((turns, i) => ({
          response: oneAnswer(turns, `completions.${i}`, notes),
          overall_score: scores[i],
        })),
      };
    },
  },
};

/** The overall score, or the mean of the fine-grained ones, whichever is there. */
function scoreOf(completion: Fields): number {
  const overall = completion.numberOr("overall_score");
  const fine = completion.numberOr("fine-grained_score");
  return overall ?? fine ?? completion.fail("overall_score", "it is missing");
}

function ratingOf(rating: unknown, row: Fields, i: number): number {
  const n = typeof rating === "string" && rating.trim() !== "" ? Number(rating) : rating;
  return typeof n === "number" && Number.isFinite(n) ? n : row.fail(`ratings.${i}`, "it must be a number");
}
