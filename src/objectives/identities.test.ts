/** Identities between the losses on pairs, as their pages state them. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed } from "./table.ts";
import { expectSame } from "./testing.ts";

const backend = await openBackend();
const rng = random(5, "pairs");
const tokens = (n: number) => Array.from({ length: n }, () => -3 * rng.uniform());
const completion = (n: number) => ({ policy: tokens(n), reference: tokens(n) });
const examples = [4, 2, 7].map((n) => ({ chosen: completion(n), rejected: completion(n + (n % 3)) }));
const same = [3, 5].map((n) => ({ chosen: completion(n), rejected: completion(n) }));

const run = (name: string, options: Record<string, unknown>, given: object[] = examples) =>
  calculate(backend, objectiveNamed(name).with(options), { examples: given });

describe("identities", () => {
  test("every loss of the family is dpo with that lossType, hyphens or underscores", async () => {
    for (const id of [
      "hinge",
      "ipo",
      "exo-pair",
      "nca-pair",
      "robust",
      "bco-pair",
      "sppo-hard",
      "apo-zero",
      "apo-down",
      "discopop",
      "sigmoid-norm",
    ]) {
      await expectSame(run(id, {}), run("dpo", { lossType: id.replaceAll("-", "_") }));
    }
  });
  test("a mixture is the weighted sum of its parts; rpoAlpha is an sft term", async () => {
    await expectSame(
      run("dpo", { lossType: ["sigmoid", "sft"], lossWeights: [1, 0.5] }),
      run("dpo", { rpoAlpha: 0.5 }),
    );
  });
  test("robust with ε = 0, f-dpo with reverse KL, ldAlpha 1: DPO", async () => {
    for (const [name, options] of [
      ["robust", { labelSmoothing: 0 }],
      ["f-dpo", {}],
      ["dpo", { ldAlpha: 1 }],
    ] as const)
      await expectSame(run(name, options), run("dpo", {}));
  });
  test("α-divergence: 0 is reverse KL, 1 is forward KL, and TRL's coefficient is 1 - α", async () => {
    const alpha = (fAlpha: number) => run("f-dpo", { fDivergenceType: "alphaDivergence", fAlpha });
    await expectSame(alpha(0), run("dpo", {}));
    await expectSame(alpha(1), run("f-dpo", { fDivergenceType: "forwardKl" }));
    await expectSame(
      alpha(0.3),
      run("f-dpo", { fDivergenceType: "alphaDivergence", fAlphaDivergenceCoef: 0.7 }),
    );
  });
  test("at the reference every divergence costs log 2", async () => {
    const at = examples.map((e) => ({
      chosen: { policy: e.chosen.policy, reference: e.chosen.policy },
      rejected: { policy: e.rejected.policy, reference: e.rejected.policy },
    }));
    for (const fDivergenceType of ["reverseKl", "forwardKl", "jsDivergence", "alphaDivergence"]) {
      (await run("f-dpo", { fDivergenceType }, at)).losses.forEach((loss) =>
        expect(loss).toBeCloseTo(Math.LN2, 12),
      );
    }
  });
  test("SimPO without margin on equal lengths n is reference-free DPO with β/n; CPO's simpo and AlphaPO at α = 0 are SimPO", async () => {
    const [one] = same;
    await expectSame(
      run("simpo", { beta: 2, gammaBetaRatio: 0 }, [one]),
      run("dpo", { beta: 2 / 3, referenceFree: true }, [one]),
    );
    const simpo = run("simpo", { beta: 2, simpoGamma: 0.5 });
    await expectSame(run("cpo", { lossType: "simpo", cpoAlpha: 0, beta: 2, simpoGamma: 0.5 }), simpo);
    await expectSame(run("alphapo", { alpha: 0, beta: 2, simpoGamma: 0.5 }), simpo);
  });
  test("triple-po: the chosen answer as gold is CPO, without gold reference-free DPO, tpo-l without gold SimPO; step-dpo is DPO", async () => {
    const golden = examples.map((e) => ({ ...e, gold: e.chosen }));
    const [a, b] = [
      await run("triple-po", { beta: 0.1, tpoAlpha: 0.7 }, golden),
      await run("cpo", { beta: 0.1, cpoAlpha: 0.7 }),
    ];
    a.losses.forEach((loss, i) => expect(loss).toBeCloseTo(b.losses[i], 9));
    await expectSame(
      run("triple-po", { beta: 0.1, tpoAlpha: 0 }),
      run("dpo", { beta: 0.1, referenceFree: true }),
    );
    await expectSame(
      run("triple-po", { beta: 2, tpoAlpha: 0, lossType: "tpo-l", tpoLGamma: 0.5 }),
      run("simpo", { beta: 2, simpoGamma: 0.5 }),
    );
    await expectSame(run("step-dpo", { beta: 0.4 }), run("dpo", { beta: 0.4 }));
    await expect(run("triple-po", {})).rejects.toThrow(
      "example 1: gold is missing: objective triple-po needs gold and chosen and rejected",
    );
  });
  test("rso: sigmoidNorm is DPO, hinge is γ times slic with δ = 1/γ", async () => {
    await expectSame(run("rso", { lossGamma: 0.3 }), run("dpo", { beta: 0.3 }));
    await expectSame(run("rso", { lossType: "hingeNorm", lossGamma: 0.3 }), run("hinge", { beta: 0.3 }));
    const [a, b] = [
      await run("rso", { lossType: "hinge", lossGamma: 0.2 }),
      await run("rso", { lossType: "slic", lossGamma: 0.2 }),
    ];
    a.losses.forEach((loss, i) => expect(loss).toBeCloseTo(0.2 * b.losses[i], 9));
    await expect(run("rso", { lossType: "slic", slicLambda: 1 })).rejects.toThrow(
      "example 1: gold is missing: objective rso needs",
    );
  });
  test("averages divide once: averageLogProb with sigmoid-norm changes nothing", async () => {
    await expectSame(
      run("sigmoid-norm", { beta: 5, averageLogProb: true }),
      run("sigmoid-norm", { beta: 5 }),
    );
  });
});
