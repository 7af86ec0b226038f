/** Self-improving preference optimization as a game (Choi et al., arXiv:2406.01660): its solution is at rest whoever wrote the data, IPO's moves. */
import { describe, expect, test } from "vitest";
import { drawn, pull } from "./testing-policies.ts";
import { close, run } from "./testing.ts";

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
