/** Policies that theory says are best are at rest: the gradient of the population loss is 0 there. All numbers are closed forms. */
import { describe, expect, test } from "vitest";
import { close, run } from "./testing.ts";

/** π_ref and rewards of four completions of one token each. */
const reference = [0.4, 0.3, 0.2, 0.1];
const rewards = [0, 0.5, 1, 1.5];
const logs = (p: readonly number[]) => p.map((x) => Math.log(x));
const sigmoid = (x: number) => 1 / (1 + Math.exp(-x));

/** A completion of one token under a policy and a reference over all of them. */
const drawn = (token: number, policy: readonly number[], from: readonly number[]) => ({
  tokens: [token],
  logits: [logs(policy)],
  referenceLogits: [logs(from)],
});

/** Largest entry of d(loss)/d(logits), the logits of all completions being the same ones. */
function pull(gradients: readonly unknown[], roles: readonly string[]): number {
  const total: number[] = [];
  for (const example of gradients as Record<string, { logits: number[][] }>[])
    for (const role of roles) example[role].logits[0].forEach((g, v) => (total[v] = (total[v] ?? 0) + g));
  return Math.max(...total.map(Math.abs));
}

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

describe("self-improving-po: the game of a generator and a reviser", () => {
  const start = [0.5, 0.3, 0.2];
  /** p(i ≻ j) */
  const wins = [
    [0.5, 0.3, 0.4],
    [0.7, 0.5, 0.2],
    [0.6, 0.8, 0.5],
  ];
  const beta = 0.5;
  const normalised = (p: readonly number[]) => p.map((x) => x / p.reduce((a, b) => a + b, 0));
  /** The reviser shown draft d: π_ref e^{p(y ≻ d)/β} / Z(d); the generator: π_ref / Z. */
  const weights = start.map((_, d) => start.map((p, y) => p * Math.exp(wins[y][d] / beta)));
  const reviser = weights.map(normalised);
  const generator = normalised(start.map((p, d) => p / weights[d].reduce((a, b) => a + b, 0)));

  test("revisers of each draft, and the value of the game", () => {
    const rows = [
      [0.419524, 0.375513, 0.204963],
      [0.3353, 0.300125, 0.364576],
      [0.52889, 0.212715, 0.258395],
    ];
    rows.forEach((row, draft) => close(reviser[draft], row, 6));
    const inner = start.map((p, d) => p / weights[d].reduce((a, b) => a + b, 0));
    expect(-beta * Math.log(inner.reduce((a, b) => a + b, 0))).toBeCloseTo(0.511100552486, 12);
  });

  test.each([
    [
      [1 / 3, 1 / 3, 1 / 3],
      [0.430395, 0.29507, 0.274535],
    ],
    [
      [0.8, 0.15, 0.05],
      [0.414792, 0.35672, 0.228488],
    ],
  ])("IPO's optimum depends on who wrote the data: %j", async (behaviour, p) => {
    const against = wins.map((row) => row.reduce((t, win, j) => t + behaviour[j] * win, 0));
    const best = normalised(start.map((q, i) => q * Math.exp(against[i] / beta)));
    close(best, p, 6);
    const examples = [0, 1, 2].flatMap((i) =>
      [0, 1, 2]
        .filter((j) => j !== i)
        .map((j) => ({
          chosen: drawn(i, best, start),
          rejected: drawn(j, best, start),
          weight: behaviour[i] * behaviour[j] * wins[i][j],
        })),
    );
    const { gradients } = await run("ipo", { beta, ipoAverage: false }, examples);
    expect(pull(gradients, ["chosen", "rejected"])).toBeLessThan(1e-12);
  });

  test.each([[[1 / 3, 1 / 3, 1 / 3]], [[0.8, 0.15, 0.05]]])(
    "is at rest whoever wrote the data: %j",
    async (behaviour) => {
      expect(generator.map((p) => Number(p.toFixed(6)))).toEqual([0.428942, 0.306863, 0.264196]);
      const record = (w: number, l: number, weight: number) => ({
        wl: drawn(w, reviser[l], start),
        ll: drawn(l, reviser[l], start),
        ww: drawn(w, reviser[w], start),
        lw: drawn(l, reviser[w], start),
        w: drawn(w, generator, start),
        l: drawn(l, generator, start),
        weight,
      });
      const ids = [0, 1, 2];
      const examples = ids.flatMap((i) =>
        ids.filter((j) => j !== i).map((j) => record(i, j, behaviour[i] * behaviour[j] * wins[i][j])),
      );
      const { gradients } = await run("self-improving-po", { beta, alpha: 0.5 }, examples);
      expect(pull(gradients, ["w", "l"])).toBeLessThan(1e-12);
      // The reviser has logits of its own for each draft.
      for (const draft of ids) {
        const shown = gradients.map((g, k) => {
          const [w, l] = examples[k].wl.tokens.concat(examples[k].ll.tokens);
          const none = { logits: [[0, 0, 0]] };
          const all = g as Record<string, { logits: number[][] }>;
          return {
            wl: l === draft ? all.wl : none,
            ll: l === draft ? all.ll : none,
            ww: w === draft ? all.ww : none,
            lw: w === draft ? all.lw : none,
          };
        });
        expect(pull(shown, ["wl", "ll", "ww", "lw"])).toBeLessThan(1e-12);
      }
    },
  );
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
