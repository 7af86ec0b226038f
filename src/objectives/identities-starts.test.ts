/** What losses are where policy and reference agree, and in the limits of their options, as their pages state it. */
import { describe, expect, test } from "vitest";
import { close, expectSame, lossesOf, pairOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("starts");
const pairs = [4, 2, 7].map((n) => ({ chosen: completion(n), rejected: completion(n + (n % 3)) }));
const start = pairs.map(({ chosen, rejected }) => ({
  chosen: { ...chosen, reference: chosen.policy },
  rejected: { ...rejected, reference: rejected.policy },
}));
type Sides = Record<"chosen" | "rejected", { policy: number[] }>;

describe("at the reference", () => {
  test("the family costs log 2, no pair counts as right, and each token is pulled with β/2", async () => {
    for (const id of ["dpo", "f-dpo", "step-dpo", "exo-pair", "sigmoid-norm"]) {
      const { metrics, losses } = await run(id, {}, start);
      if (id !== "exo-pair") close(losses, [Math.LN2, Math.LN2, Math.LN2]);
      expect(metrics["rewards/accuracies"]).toBe(0);
    }
    const { gradients } = await run("dpo", { beta: 0.4 }, start);
    for (const { chosen, rejected } of gradients as Sides[]) {
      close(
        chosen.policy,
        chosen.policy.map(() => -0.2 / 3),
      );
      close(
        rejected.policy,
        rejected.policy.map(() => 0.2 / 3),
      );
    }
  });
  test("f-dpo: every divergence pulls as DPO does, Jensen-Shannon half as hard", async () => {
    for (const [fDivergenceType, pull] of [
      ["forwardKl", 0.05],
      ["alphaDivergence", 0.05],
      ["jsDivergence", 0.025],
    ] as const) {
      const { gradients } = await run("f-dpo", { fDivergenceType }, [pairOf([-3, -3], [-5, -5])]);
      const [{ chosen, rejected }] = gradients as Sides[];
      close([...chosen.policy, ...rejected.policy], [-pull, pull]);
    }
  });
  test("sppo: ((p_w - ½)² + (p_l - ½)²) / 2β²; win rates of ½ only pull log-ratios to 0", async () => {
    const rated = (list: typeof pairs, w: number, l: number) =>
      list.map(({ chosen, rejected }) => ({
        chosen: { ...chosen, winRate: w },
        rejected: { ...rejected, winRate: l },
      }));
    close(
      await lossesOf("sppo", { beta: 0.1 }, rated(start, 0.8, 0.25)),
      start.map(() => (0.3 ** 2 + 0.25 ** 2) / 0.02),
    );
    const ratio = (c: { policy: number[]; reference: number[] }) =>
      c.policy.reduce((s, v, i) => s + v - c.reference[i], 0);
    close(
      await lossesOf("sppo", { beta: 0.1 }, rated(pairs, 0.5, 0.5)),
      pairs.map((p) => (ratio(p.chosen) ** 2 + ratio(p.rejected) ** 2) / 2),
    );
  });
  test("tdpo: there is no divergence yet, so the first step is DPO's for every α and variant", async () => {
    const rows = [[0.5, -1, 2]];
    const side = (token: number) => ({ tokens: [token], logits: rows, referenceLogits: rows });
    const pair = [{ chosen: side(0), rejected: side(2) }];
    for (const options of [{ tdpoVariant: "tdpo1" }, { tdpoAlpha: 0.5 }, { tdpoAlpha: 2 }])
      await expectSame(run("tdpo", options, pair), run("dpo", {}, pair));
  });
  test("simpo with equal averages costs softplus(γ), and is not at rest there", async () => {
    const equal = [{ chosen: { policy: [-1, -2] }, rejected: { policy: [-1.5] } }];
    const { losses, gradients } = await run("simpo", { beta: 2, simpoGamma: 0.6 }, equal);
    close(losses, [Math.log1p(Math.exp(0.6))]);
    close(
      (gradients as Sides[])[0].chosen.policy,
      [-1, -1].map((s) => s / (1 + Math.exp(-0.6))),
    );
  });
  test("upo: a label that is a coin's is at rest where the margin is 0", async () => {
    const { gradients } = await run("upo", { lambdaNll: 0 }, [pairOf([-3, -3], [-5, -5], { alpha: 0.5 })]);
    close((gradients as Sides[])[0].chosen.policy, [0]);
  });
  test("self-supervised-po: no weight is the base, whichever it is; a head that knows nothing costs log D", async () => {
    const graded = pairs.map((p) => ({ ...p, degree: { logits: [[0, 0, 0]], labels: [1] } }));
    for (const base of ["dpo", "ipo", "simpo"])
      close(
        await lossesOf("self-supervised-po", { base, degreeWeight: 0 }, graded),
        await lossesOf(base, {}, pairs),
      );
    const [with1, without] = [
      await lossesOf("self-supervised-po", { degreeWeight: 0.5 }, graded),
      await lossesOf("dpo", {}, pairs),
    ];
    close(
      with1,
      without.map((v) => v + 0.5 * Math.log(3)),
    );
  });
});

describe("limits", () => {
  test("alphapo and the α-divergence come to SimPO and DPO without cancelling, however small α is", async () => {
    const simpo = await run("simpo", { beta: 2, simpoGamma: 0.5 }, pairs);
    const alphapo = (alpha: number) => run("alphapo", { alpha, beta: 2, simpoGamma: 0.5 }, pairs);
    const divergence = (fAlpha: number) =>
      run("f-dpo", { fDivergenceType: "alphaDivergence", fAlpha }, pairs);
    close((await alphapo(1e-12)).losses, simpo.losses, 10);
    close((await divergence(1e-12)).losses, await lossesOf("dpo", {}, pairs), 10);
    // and linearly: a tenth of α is a tenth of the way
    const [dpo] = await lossesOf("dpo", {}, pairs);
    const [far, near] = [(await divergence(1e-4)).losses[0] - dpo, (await divergence(1e-5)).losses[0] - dpo];
    expect(far / near).toBeCloseTo(10, 2);
  });
  test("npo: L - (2/β) log 2 comes to gradient ascent's ρ + βρ²/4", async () => {
    const beta = 1e-4;
    const item = [{ forget: { policy: [-8], reference: [-3] } }];
    const [loss] = await lossesOf("npo", { beta, retainWeight: 0 }, item);
    expect(loss - (2 / beta) * Math.LN2).toBeCloseTo(-5 + (beta * 25) / 4, 6);
  });
  test("triple-po: without β it is cross-entropy of the gold answer and a constant", async () => {
    const golden = pairs.map((p) => ({ ...p, gold: completion(5) }));
    const tokens = golden.flatMap((e) => e.gold.policy);
    const nll = -tokens.reduce((a, b) => a + b, 0) / tokens.length;
    const tiny = { beta: 1e-12, tpoAlpha: 0.7 };
    expect((await run("triple-po", tiny, golden)).loss).toBeCloseTo(Math.LN2 + 0.7 * nll, 9);
    const withMargin = await run("triple-po", { ...tiny, lossType: "tpo-l", tpoLGamma: 0.6 }, golden);
    expect(withMargin.loss).toBeCloseTo(Math.log1p(Math.exp(0.6)) + 0.7 * nll, 9);
  });
});
