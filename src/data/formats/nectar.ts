/**
 * Ranked answers as in Nectar (https://huggingface.co/datasets/berkeley-nest/Nectar) and Axolotl's `zephyr.nectar`
 * (https://docs.axolotl.ai/docs/rlhf.html): `prompt`, and `answers` with `rank`, 1 the best. A rank r is the score -r.
 */
import { isObject } from "./fields.ts";
import { CannotWrite, type DataFormat, has } from "./format.ts";

export const nectar: DataFormat = {
  title: "Nectar rankings",
  source: "https://docs.axolotl.ai/docs/rlhf.html",
  detect(row) {
    const answers = row.peek("answers");
    const ranked =
      Array.isArray(answers) && answers.length > 0 && answers.every((a) => isObject(a) && "rank" in a);
    return row.isText("prompt") && ranked ? has("prompt", "answers with ranks") : undefined;
  },
  names: { completions: "answers", scores: "answers" },
  read(row) {
    const answers = row.objects("answers");
    const id = row.any("id");
    return [
      {
        prompt: row.text("prompt"),
        completions: answers.map((answer) => answer.text("answer")),
        scores: answers.map((answer) => -answer.number("rank")),
        ...(id !== undefined && { id }),
      },
    ];
  },
  writer: {
    kinds: ["list"],
    open: true,
    write(record, notes) {
      if (!record.isText("prompt")) throw new CannotWrite("prompt", "it must be plain text here");
      const completions = record.list("completions");
      const scores = (record.listOr("scores") ?? []) as readonly number[];
      if (scores.length === 0)
        throw new CannotWrite("scores", "answers need ranks here, and there are no scores");
      const ranks = scores.map((score) => 1 + scores.filter((s) => s > score).length);
      if (scores.some((score, i) => score !== -ranks[i])) notes.lose("scores (their order is kept)");
      const id = record.any("id");
      return {
        ...(id !== undefined && { id }),
        prompt: record.text("prompt"),
        answers: completions.map((answer, i) => {
          if (typeof answer !== "string")
            throw new CannotWrite(`completions.${i}`, "it must be plain text here");
          return { answer, rank: ranks[i] };
        }),
      };
    },
  },
};
