/** Options and batches that make no sense are refused before anything starts. */
import { describe, expect, test } from "vitest";
import { objectiveNamed, objectives } from "./table.ts";
import { neededOptions } from "./testing-examples.ts";

describe("options that make no sense", () => {
  test.each([
    ["exo-pair", { labelSmoothing: 0 }, "more than 0 and less than 1"],
    ["robust", { labelSmoothing: 0.5 }, "less than 0.5"],
    ["dpo", { lossType: "hinj" }, 'there is no loss "hinj"'],
    ["dpo", { lossType: ["hinge"], lossWeights: [1, 2] }, "one number for each loss"],
    ["nca-pair", { fDivergenceType: "forwardKl" }, "uses rewards by themselves"],
    ["f-dpo", { fAlpha: 0.5, fAlphaDivergenceCoef: 0.5 }, "give one of them"],
    ["simpo", { simpoGamma: 1, gammaBetaRatio: 0.5 }, "give one of them"],
    ["simpo", { lossType: "hing" }, 'option "lossType" is not valid'],
    ["hinge", { lossType: "ipo" }, 'unknown option "lossType"'],
  ])("%s %j", (name, options, message) => {
    expect(() => objectiveNamed(name).with(options)).toThrow(message);
  });
});

test("preflexor passes on what its stage trains beside the policy", () => {
  const { companions } = objectiveNamed("preflexor").with({ stage: 2, exo: { syncRefModel: true } });
  expect(companions.syncReference).toEqual({ every: 512, mix: 0.6 });
});

describe("ranges of options that many objectives share", () => {
  const having = (option: string) =>
    objectives().flatMap((o) => (o.optionNames.includes(option) ? [o.id] : []));
  const refused = (id: string, options: object) =>
    expect(
      () => objectiveNamed(id).with({ ...neededOptions[id], ...options }),
      JSON.stringify(options),
    ).toThrow(/option "[^"]+" is not valid/);
  test.each(having("beta"))("%s: β is above 0 and finite", (id) => {
    for (const beta of [0, -0.1, NaN, Infinity, "0.1"]) refused(id, { beta });
  });
  test.each(having("labelSmoothing"))("%s: ε is a probability below 1", (id) => {
    for (const labelSmoothing of [-0.1, 1, 1.5, NaN]) refused(id, { labelSmoothing });
  });
});

describe("options that are allowed and do nothing are named", () => {
  test.each([
    ["hinge", { labelSmoothing: 0.1 }, ["option labelSmoothing has no effect on hinge"]],
    [
      "dpo",
      { labelSmoothing: 0.1, lossType: ["sigmoid", "ipo"] },
      ["option labelSmoothing has no effect on ipo"],
    ],
    ["dpo", { labelSmoothing: 0.1 }, []],
    ["ipo", {}, []],
    [
      "cpo",
      { labelSmoothing: 0.1, lossType: "ipo" },
      ["option labelSmoothing has no effect on lossType ipo"],
    ],
    ["cpo", { labelSmoothing: 0.1, lossType: "simpo" }, []],
    [
      "triple-po",
      { labelSmoothing: 0.1, lossType: "hinge" },
      ["option labelSmoothing has no effect on lossType hinge"],
    ],
    [
      "simpo",
      { labelSmoothing: 0.1, lossType: "hinge" },
      ["option labelSmoothing has no effect on lossType hinge"],
    ],
  ])("%s %j", (name, options, warnings) => {
    expect(objectiveNamed(name).with(options).warnings).toEqual(warnings);
  });
});
