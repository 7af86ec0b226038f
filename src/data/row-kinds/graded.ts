/**
 * Pairs with damaged copies of an answer, each with the degree of its damage (self-supervised-po, arXiv:2409.17791): key phrases
 * of the answer are removed, more of them at each degree. A record whose answers have too few key phrases comes without copies.
 */
import { type DegreeSettings, type RowKind, ask, branch, numbersOf, textOf } from "./row-kind.ts";
import { damagedCopies } from "../rake.ts";

export const defaultDegrees: DegreeSettings = {
  count: 4,
  on: "chosen",
  topFraction: 1 / 3,
  maxPhraseWords: 4,
};

export const graded: RowKind = {
  pair(contents, tools) {
    const { count, on, ...rake } = tools.settings.degrees ?? defaultDegrees;
    const [{ prompt, answers, prefix }] = contents.asked;
    const sides = on === "both" ? ["chosen", "rejected"] : ["chosen"];
    const copies = sides.flatMap((side) => {
      const text = textOf(answers[side]);
      return text === undefined ? [] : (damagedCopies(text, count, rake) ?? []);
    });
    // A copy of which nothing is left still has its end token.
    const named = Object.fromEntries(copies.map((copy, i) => [`copy ${i}`, copy]));
    const found = ask({ prompt, prefix, answers: { ...answers, ...named } }, tools);
    const branches = Object.entries(found.named).map(([name, ids]) =>
      branch(name.startsWith("copy ") ? "copies" : name, ids),
    );
    const { fields, values, tokenRewards } = numbersOf(contents);
    return [
      {
        trees: [{ prompt: found.prompt, branches }],
        fields,
        values: { ...values, copies: { degree: copies.map((_, i) => i % count) } },
        tokenRewards,
        warning: found.warning,
      },
    ];
  },
};
