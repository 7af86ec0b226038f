/**
 * Pairs with a rationale: the pair as it is, and under a question of its own, which shows both answers and which was judged
 * better, the reason to be learned. The winner stands above or below at random unless that is turned off.
 */
import { random } from "../../engine/random.ts";
import { RequestError } from "../../errors.ts";
import type { Contents } from "../contents.ts";
import type { Given } from "../encode.ts";
import { showSource } from "../load-records.ts";
import { type RowKind, type RowTools, ask, branch, extended, numbersOf, textOf } from "./row-kind.ts";

export const rationales: RowKind = {
  rationale(contents, tools) {
    const [{ prompt, answers }] = contents.asked;
    const { chosen, rejected, rationale } = answers;
    const pair = ask({ prompt, answers: { chosen, rejected } }, tools);
    const question = contents.rationalePrompt ?? comparison(contents, tools);
    const reason = ask({ prompt: question, answers: { rationale } }, tools);
    return [
      {
        trees: [
          {
            prompt: pair.prompt,
            branches: [branch("chosen", pair.named.chosen), branch("rejected", pair.named.rejected)],
          },
          { prompt: reason.prompt, branches: [branch("rationale", reason.named.rationale)] },
        ],
        warning: pair.warning ?? reason.warning,
        ...numbersOf(contents),
      },
    ];
  },
};

function comparison({ asked: [{ prompt, answers }] }: Contents, { settings, source }: RowTools): Given {
  const [chosen, rejected] = [textOf(answers.chosen), textOf(answers.rejected)];
  const swap = settings.swapComparison !== false && random(source.line, "comparison").uniform() < 0.5;
  const [above, below] = swap ? [rejected, chosen] : [chosen, rejected];
  const question = extended(
    prompt,
    `\n\nWhich of these two responses follows the prompt better?\nResponse above: "${above?.trim()}"\n` +
      `Response below: "${below?.trim()}"\nThe response ${swap ? "below" : "above"} is better. Reason:`,
  );
  if (question !== undefined) return question;
  throw new RequestError({
    code: "row-invalid",
    what: "a rationale needs text",
    where: showSource(source),
    why: "the comparison that it answers is written in words",
    fix: "Give prompt, chosen and rejected as text, or a rationalePrompt",
  });
}
