/** Options and batches that make no sense are refused before anything starts. */
import { describe, expect, test } from "vitest";
import { objectiveNamed } from "./table.ts";

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
