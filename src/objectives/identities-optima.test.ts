/** Policies that theory says are best are at rest: the gradient of the population loss is 0 there. All numbers are closed forms. */
import { describe, expect, test } from "vitest";
import { drawn, pull } from "./testing-policies.ts";
import { close, run } from "./testing.ts";

/** π_ref and rewards of four completions of one token each. */
const reference = [0.4, 0.3, 0.2, 0.1];
const rewards = [0, 0.5, 1, 1.5];
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

describe("all pairs, labelled softly by Bradley and Terry", () => {
  const pairsUnder = (policy: readonly number[]) =>
    reference.flatMap((_, i) =>
      reference.slice(i + 1).map((_, k) => ({
        chosen: drawn(i, policy, reference),
        rejected: drawn(i + 1 + k, policy, reference),
        chosenProb: sigmoid(rewards[i] - rewards[i + 1 + k]),
      })),
    );
  const pullOf = async (id: string, options: object, policy: readonly number[]) =>
    pull((await run(id, options, pairsUnder(policy))).gradients, ["chosen", "rejected"]);

  test.each([
    [0.5, [0.085073, 0.173439, 0.314304, 0.427184], 4.701849, 0.535643, 1.041799],
    [1, [0.212039, 0.262195, 0.288191, 0.237574], 1.886442, 0.140957, 0.77565],
  ])(
    "dpo, β = %d: π_ref e^{r/β} / Z, its KL and reward; E[r] - β KL = β log Z",
    async (beta, p, z, kl, r) => {
      const weights = reference.map((q, i) => q * Math.exp(rewards[i] / beta));
      const total = weights.reduce((a, b) => a + b, 0);
      const best = weights.map((w) => w / total);
      const divergence = best.reduce((t, q, i) => t + q * Math.log(q / reference[i]), 0);
      const reward = best.reduce((t, q, i) => t + q * rewards[i], 0);
      close([...best, total, divergence, reward], [...p, z, kl, r], 6);
      expect(reward - beta * divergence).toBeCloseTo(beta * Math.log(total), 12);
      expect(await pullOf("dpo", { beta }, best)).toBeLessThan(1e-12);
      expect((await run("dpo", { beta }, pairsUnder(best))).loss).toBeCloseTo(0.604667, 6);
    },
  );

  /** Inverses of f' and the multipliers λ at β = ½ (f-DPO, arXiv:2309.16240, Theorem 1). */
  test.each([
    [
      "reverseKl",
      (t: number) => Math.exp(t - 1),
      (u: number) => u * Math.log(u),
      0.273978,
      [0.085073, 0.173439, 0.314304, 0.427184],
      0.535643,
    ],
    [
      "forwardKl",
      (t: number) => -1 / t,
      (u: number) => -Math.log(u),
      1.588298,
      [0.125921, 0.13783, 0.169982, 0.566267],
      0.554788,
    ],
    [
      "jsDivergence",
      (t: number) => Math.exp(t) / (2 - Math.exp(t)),
      (u: number) => u * Math.log(u) - (u + 1) * Math.log((u + 1) / 2),
      1.209533,
      [0.01863, 0.041285, 0.097987, 0.842097],
      0.676703,
    ],
    [
      "alphaDivergence",
      (t: number) => (1 - t / 2) ** -2,
      (u: number) => (Math.sqrt(u) - u / 2 - 0.5) / -0.25,
      0.938047,
      [0.106496, 0.145069, 0.22729, 0.521145],
      0.573982,
    ],
  ] as const)("f-dpo, %s: π_ref (f')⁻¹((r - λ)/β)", async (fDivergenceType, inverse, f, near, p, d) => {
    const at = (lambda: number) => reference.map((p, i) => p * inverse((rewards[i] - lambda) / 0.5));
    let [low, high] = [near - 1e-4, near + 1e-4];
    for (let i = 0; i < 60; i++) {
      const middle = (low + high) / 2;
      if (at(middle).reduce((a, b) => a + b, 0) > 1) low = middle;
      else high = middle;
    }
    const best = at(low);
    expect(await pullOf("f-dpo", { beta: 0.5, fDivergenceType }, best)).toBeLessThan(1e-10);
    expect(await pullOf("f-dpo", { beta: 0.5, fDivergenceType }, reference)).toBeGreaterThan(1e-3);
    // D_f(π, π_ref) = E_ref[f(π/π_ref)]
    const divergence = reference.reduce((t, q, i) => t + q * f(best[i] / q), 0);
    close([...best, divergence], [...p, d], 6);
  });
});

test("vpo: the value of the implied reward is -β E[log π_r / π_ref] over calibration samples", async () => {
  const [start, reward, beta] = [[0.5, 0.3, 0.2], [0.3, -0.1, 0.9], 0.7];
  const tilted = start.map((p, i) => p * Math.exp(reward[i] / beta));
  const z = tilted.reduce((a, b) => a + b, 0);
  const policy = tilted.map((p) => p / z);
  // π_cal = (.2, .5, .3)
  const samples = [0, 0, 1, 1, 1, 1, 1, 2, 2, 2].map((token) => drawn(token, policy, start));
  const record = { chosen: samples[0], rejected: samples[2], calibration: samples };
  const { metrics } = await run("vpo", { mode: "offline", beta }, [record]);
  const mean = 0.2 * reward[0] + 0.5 * reward[1] + 0.3 * reward[2];
  expect(metrics.value).toBeCloseTo(beta * Math.log(z) - mean, 12);
  expect(metrics.value).toBeCloseTo(0.112148939, 9);
});
