/** Unlearning: an answer to forget, what to say instead, and an answer of another question to keep. */
import { type RowKind, ask, branch } from "./row-kind.ts";

export const unlearning: RowKind = {
  unlearning(contents, tools) {
    const all = contents.asked.map((asked) => ask(asked, tools));
    const trees = all.map(({ prompt, named }) => ({
      prompt,
      branches: Object.entries(named).map(([role, ids]) => branch(role, ids)),
    }));
    return [{ trees, fields: contents.fields, warning: all.find((a) => a.warning)?.warning }];
  },
};
