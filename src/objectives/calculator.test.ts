/** Objectives against published and recomputed values, through the calculator that `prefopt loss` runs. */
import { readFile } from "node:fs/promises";
import { beforeAll, describe, expect, test } from "vitest";
import { add, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import type { Backend } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { calculate } from "./calculator.ts";
import { objectiveOf } from "./objective.ts";
import { objectiveNamed, objectives } from "./table.ts";

interface Fixture {
  objective: string;
  cases: {
    name: string;
    options: Record<string, unknown>;
    input: unknown;
    expect: Record<string, unknown>;
  }[];
}
const fixture = async (name: string) =>
  JSON.parse(await readFile(new URL(`fixtures/${name}.json`, import.meta.url), "utf8")) as Fixture;
const fixtures = await Promise.all(objectives().map((o) => fixture(o.id)));

let backend: Backend;
beforeAll(async () => {
  backend = await openBackend();
});

/** 1e-6 relative, 1e-9 absolute near zero, at every number of the expectation. */
function expectClose(actual: unknown, expected: unknown, where: string): void {
  if (typeof expected === "number") {
    expect(
      Math.abs(Number(actual) - expected),
      `${where}: ${String(actual)} against ${expected}`,
    ).toBeLessThanOrEqual(1e-6 * Math.abs(expected) + 1e-9);
    return;
  }
  expect(Object.keys(actual as object), where).toEqual(
    expect.arrayContaining(Object.keys(expected as object)),
  );
  for (const [key, value] of Object.entries(expected as object))
    expectClose((actual as Record<string, unknown>)[key], value, `${where}.${key}`);
}

describe.each(fixtures)("$objective", ({ objective, cases }) => {
  const family = objectiveNamed(objective);
  const usable = cases.filter((c) =>
    Object.keys(c.options).every((name) => family.optionNames.includes(name)),
  );
  const later = cases.length - usable.length;
  if (later > 0)
    console.log(
      `${objective}: ${later} of ${cases.length} cases use options that are not built yet and are left out`,
    );
  test.each(usable)("$name", async ({ options, input, expect: expected }) => {
    expectClose(await calculate(backend, family.with(options), input), expected, objective);
  });
});

const pair = (chosen: [number, number], rejected: [number, number], rest = {}) => ({
  chosen: { policy: [chosen[0]], reference: [chosen[1]] },
  rejected: { policy: [rejected[0]], reference: [rejected[1]] },
  ...rest,
});

describe("what must hold of dpo", () => {
  const dpo = objectiveNamed("dpo");
  test("margins of ±800 neither overflow nor lose their gradient", async () => {
    const { losses, gradients } = await calculate(backend, dpo.with({ beta: 1 }), {
      examples: [pair([0, -800], [0, 0]), pair([-800, 0], [0, 0])],
    });
    expect(losses).toEqual([0, 800]);
    expect(gradients[0].chosen.policy).toEqual([-0]);
    expect(gradients[1].chosen.policy).toEqual([-0.5]);
  });
  test("a constant added to every reference log-probability changes nothing", async () => {
    const at = (shift: number) =>
      calculate(backend, dpo.with({}), { examples: [pair([-3, -4 + shift], [-5, -4.5 + shift])] });
    expectClose(await at(7), { ...(await at(0)), metrics: {} }, "shifted");
  });
  test("swapping the pair turns z into -z: L(w,l) - L(l,w) = -z", async () => {
    const [a, b] = [[-12, -13] as [number, number], [-14, -13.5] as [number, number]];
    const { losses } = await calculate(backend, dpo.with({ beta: 0.5 }), {
      examples: [pair(a, b), pair(b, a)],
    });
    expect(losses[0] - losses[1]).toBeCloseTo(-0.5 * 1.5, 12);
  });
  test("a soft label is label smoothing of its own", async () => {
    const example = pair([-12, -13], [-14, -13.5]);
    const smoothed = await calculate(backend, dpo.with({ labelSmoothing: 0.2 }), { examples: [example] });
    expectClose(
      await calculate(backend, dpo.with({}), { examples: [{ ...example, chosenProb: 0.8 }] }),
      smoothed,
      "soft",
    );
  });
  test("without a reference it is not asked for one", async () => {
    const example = { chosen: { policy: [-12] }, rejected: { policy: [-14] } };
    const { loss } = await calculate(backend, dpo.with({ referenceFree: true }), { examples: [example] });
    expect(loss).toBeCloseTo(0.5981388693815918, 12);
  });
  test("a plain function is an objective: its own loss and the gradient of it", async () => {
    const own = objectiveOf(({ chosen, rejected }) => {
      const ratio = (c: typeof chosen) => sub(c.policy.logp, c.reference.logp);
      return softplus(neg(mul(0.1, sub(ratio(chosen), ratio(rejected)))));
    });
    const input = { examples: [pair([-12, -13], [-14, -13.5])] };
    expectClose(
      await calculate(backend, own, input),
      { ...(await calculate(backend, dpo.with({}), input)), metrics: {} },
      "own",
    );
  });
  test("logits and log-probabilities agree, and so do their gradients by the chain rule", async () => {
    const logits = [
      [0.5, -1, 2],
      [1, 0, -0.5],
    ];
    const tokens = [2, 0];
    const logp = logits.map((row, t) => row[tokens[t]] - Math.log(row.reduce((s, z) => s + Math.exp(z), 0)));
    const rejected = { policy: [-1, -2], reference: [-1.5, -1] };
    const own = objectiveOf(({ chosen, rejected: r }) =>
      softplus(sub(r.policy.logp, add(chosen.policy.logp, 0))),
    );
    const byLogits = await calculate(backend, own, { examples: [{ chosen: { tokens, logits }, rejected }] });
    const byLogps = await calculate(backend, own, { examples: [{ chosen: { policy: logp }, rejected }] });
    expect(byLogits.loss).toBeCloseTo(byLogps.loss, 12);
    const dLogp = (byLogps.gradients[0].chosen.policy as number[])[0];
    (byLogits.gradients[0].chosen.logits as number[][]).forEach((row, t) => {
      const p = logits[t].map((z) => Math.exp(z) / logits[t].reduce((s, v) => s + Math.exp(v), 0));
      row.forEach((g, v) => expect(g).toBeCloseTo(dLogp * (Number(v === tokens[t]) - p[v]), 12));
    });
  });
});

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
