/** What must hold of dpo and of objectives of one's own. */
import { describe, expect, test } from "vitest";
import { add, mul, neg, softplus, sub } from "../engine/ops/elementwise.ts";
import { openBackend } from "../engine/backends/open.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed } from "./table.ts";
import { objectiveOf } from "./objective.ts";
import { expectClose, pairOf } from "./testing.ts";

const backend = await openBackend();

describe("what must hold of dpo", () => {
  const dpo = objectiveNamed("dpo");
  test("margins of ±800 neither overflow nor lose their gradient", async () => {
    const { losses, gradients } = await calculate(backend, dpo.with({ beta: 1 }), {
      examples: [pairOf([0, -800], [0, 0]), pairOf([-800, 0], [0, 0])],
    });
    expect(losses).toEqual([0, 800]);
    expect(gradients).toMatchObject([{ chosen: { policy: [-0] } }, { chosen: { policy: [-0.5] } }]);
  });
  test("a constant added to every reference log-probability changes nothing", async () => {
    const at = (shift: number) =>
      calculate(backend, dpo.with({}), { examples: [pairOf([-3, -4 + shift], [-5, -4.5 + shift])] });
    expectClose(await at(7), { ...(await at(0)), metrics: {} }, "shifted");
  });
  test("swapping the pair turns z into -z: L(w,l) - L(l,w) = -z", async () => {
    const [a, b] = [[-12, -13] as [number, number], [-14, -13.5] as [number, number]];
    const { losses } = await calculate(backend, dpo.with({ beta: 0.5 }), {
      examples: [pairOf(a, b), pairOf(b, a)],
    });
    expect(losses[0] - losses[1]).toBeCloseTo(-0.5 * 1.5, 12);
  });
  test("a soft label is label smoothing of its own", async () => {
    const example = pairOf([-12, -13], [-14, -13.5]);
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
    const input = { examples: [pairOf([-12, -13], [-14, -13.5])] };
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
    type Gradient = { chosen: { policy: number[]; logits: number[][] } };
    const [dLogp] = (byLogps.gradients[0] as Gradient).chosen.policy;
    (byLogits.gradients[0] as Gradient).chosen.logits.forEach((row, t) => {
      const p = logits[t].map((z) => Math.exp(z) / logits[t].reduce((s, v) => s + Math.exp(v), 0));
      row.forEach((g, v) => expect(g).toBeCloseTo(dLogp * (Number(v === tokens[t]) - p[v]), 12));
    });
  });
});
