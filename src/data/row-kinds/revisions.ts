/**
 * Revisions: both answers of a pair under three prompts, without a draft and with either answer shown as one (SRPO,
 * arXiv:2406.01660). Only answers are scored, never the draft inside a prompt.
 */
import { RequestError } from "../../errors.ts";
import type { Given } from "../encode.ts";
import { showSource } from "../load-records.ts";
import { type RowKind, type RowTools, ask, branch, extended, textOf } from "./row-kind.ts";

/** What is put between the task and the answer to show a draft. */
export const showDraft = (draft: string): string => `\nDraft answer: ${draft.trim()}\nFinal answer:`;

export const revisions: RowKind = {
  pair(contents, tools) {
    const [{ prompt, answers }] = contents.asked;
    const { chosen, rejected } = answers;
    const under = (question: Given, chosenRole: string, rejectedRole: string) => {
      const { prompt: ids, named } = ask({ prompt: question, answers: { chosen, rejected } }, tools);
      return {
        prompt: ids,
        branches: [branch(chosenRole, named.chosen), branch(rejectedRole, named.rejected)],
      };
    };
    return [
      {
        trees: [
          under(drafted(prompt, rejected, tools), "wl", "ll"),
          under(drafted(prompt, chosen, tools), "ww", "lw"),
          under(prompt, "w", "l"),
        ],
        fields: contents.fields,
      },
    ];
  },
};

function drafted(prompt: Given, draft: Given, { source }: RowTools): Given {
  const text = textOf(draft);
  const question = text === undefined ? undefined : extended(prompt, showDraft(text));
  if (question !== undefined) return question;
  throw new RequestError({
    code: "row-invalid",
    what: "revision needs text",
    where: showSource(source),
    why: "the draft is shown inside the prompt, in words",
    fix: "Give prompt, chosen and rejected as text",
  });
}
