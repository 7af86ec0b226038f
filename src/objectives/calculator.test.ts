/** What the calculator says of input that does not do. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed } from "./table.ts";
import { pairOf as pair } from "./testing.ts";

const backend = await openBackend();

describe("errors say what is wrong, where, and for whom", () => {
  const dpo = () => objectiveNamed("dpo");
  test.each([
    [
      "a missing reference",
      {
        examples: [
          pair([-1, -1], [-2, -1]),
          { chosen: { policy: [-1] }, rejected: { policy: [-1], reference: [-1] } },
        ],
      },
      "example 2: chosen.reference is missing: objective dpo needs it",
    ],
    [
      "a missing completion",
      { examples: [{ chosen: { policy: [-1], reference: [-1] } }] },
      "example 1: rejected is missing: objective dpo needs chosen and rejected",
    ],
    [
      "a number that is none",
      {
        examples: [
          { chosen: { policy: [null], reference: [-1] }, rejected: { policy: [-1], reference: [-1] } },
        ],
      },
      "example 1: chosen.policy.0 is not valid",
    ],
    ["infinity", { examples: [pair([-Infinity, -1], [-2, -1])] }, "chosen.policy.0 is not valid"],
    [
      "different lengths",
      {
        examples: [
          { chosen: { policy: [-1, -2], reference: [-1] }, rejected: { policy: [-1], reference: [-1] } },
        ],
      },
      "chosen.reference has 1 values",
    ],
    ["no examples", { examples: [] }, "not a batch of examples"],
  ])("%s", async (_, input, message) => {
    await expect(calculate(backend, dpo().with({}), input)).rejects.toThrow(message);
  });
  test.each([
    [{ beta: 0 }, 'option "beta" is not valid'],
    [{ labelSmoothing: 0.5 }, 'option "labelSmoothing" is not valid'],
    [{ labelSmoothin: 0.1 }, "Did you mean labelSmoothing?"],
  ])("options %j", (options, message) => {
    expect(() => dpo().with(options)).toThrow(message);
  });
  test("an unknown objective is told its nearest name", () => {
    expect(() => objectiveNamed("dpoo")).toThrow("Did you mean dpo?");
  });
});
