/** Lists: one prompt, any number of completions, each with a score. A pair is a list of two, scored 1 and 0. */
import { type RowKind, ask, branch } from "./row-kind.ts";

export const lists: RowKind = {
  list(contents, tools) {
    const { completions } = contents.several;
    const answers = Object.fromEntries(completions.map((c, i) => [String(i), c]));
    const { prompt, answers: ids, warning } = ask({ ...contents.asked[0], answers }, tools);
    const { fields, values } = contents;
    return [
      { trees: [{ prompt, branches: ids.map((a) => branch("completions", a)) }], fields, values, warning },
    ];
  },
  pair(contents, tools) {
    const { prompt, named, warning } = ask(contents.asked[0], tools);
    const { chosen, rejected } = contents.values;
    const winRates = [chosen?.winRate?.[0], rejected?.winRate?.[0]].filter((w) => w !== undefined);
    return [
      {
        trees: [
          { prompt, branches: [branch("completions", named.chosen), branch("completions", named.rejected)] },
        ],
        fields: contents.fields,
        values: { completions: { score: [1, 0], ...(winRates.length === 2 && { winRate: winRates }) } },
        warning,
      },
    ];
  },
};
