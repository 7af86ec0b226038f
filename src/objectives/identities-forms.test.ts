/** Identities of methods of other forms than DPO: token-level, square losses, stages, joint pairs. */
import { describe, expect, test } from "vitest";
import { close, expectSame, lossesOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("pairs");
const pairs = [4, 2, 7].map((n) => ({ chosen: completion(n), rejected: completion(n + (n % 3)) }));
const equal = pairs.map(() => ({
  chosen: { policy: [-1], reference: [-1] },
  rejected: { policy: [-1], reference: [-1] },
}));

describe("token-level DPO", () => {
  const withKl = pairs.map(({ chosen, rejected }) => ({
    chosen: { ...chosen, tokenKl: chosen.policy.map((p) => p * p) },
    rejected: { ...rejected, tokenKl: rejected.policy.map((p) => -p) },
  }));
  test("TDPO2 with α = 0 is DPO; with α = 1 it has TDPO1's value and another gradient", async () => {
    close(await lossesOf("tdpo", { tdpoAlpha: 0 }, withKl), await lossesOf("dpo", {}, pairs));
    const [one, two] = [
      await run("tdpo", { tdpoVariant: "tdpo1" }, withKl),
      await run("tdpo", { tdpoAlpha: 1 }, withKl),
    ];
    close(one.losses, two.losses);
    expect(one.gradients).not.toEqual(two.gradients);
  });
  test("the policy's normaliser cancels in TDPO1: its gradient by the chosen logits is -g (onehot - π_ref)", async () => {
    const row = (logits: number[][], referenceLogits: number[][], of: number[]) => ({
      tokens: of,
      logits,
      referenceLogits,
    });
    const chosen = row([[1, 0, -1]], [[0.3, 0, 1]], [0]);
    const rejected = row([[0, 1, 0]], [[0, 0.5, 0]], [2]);
    const { gradients } = await run("tdpo", { tdpoVariant: "tdpo1", beta: 0.5 }, [{ chosen, rejected }]);
    const [g] = (gradients[0] as { chosen: { logits: number[][] } }).chosen.logits;
    const total = Math.exp(0.3) + 1 + Math.E;
    const reference = [Math.exp(0.3), 1, Math.E].map((e) => e / total);
    const scale = g[0] / (1 - reference[0]);
    expect(scale).toBeLessThan(0);
    [1 - reference[0], -reference[1], -reference[2]].forEach((v, i) =>
      expect(g[i]).toBeCloseTo(scale * v, 12),
    );
  });
});

describe("square losses", () => {
  test("sppo: hard is twice soft with win rates 1 and 0 and the loss sppo-hard; single is soft with p and 1 - p", async () => {
    const rated = (w: number, l: number) =>
      pairs.map(({ chosen, rejected }) => ({
        chosen: { ...chosen, winRate: w },
        rejected: { ...rejected, winRate: l },
      }));
    const soft = await lossesOf("sppo", { beta: 0.1 }, rated(1, 0));
    close(
      await lossesOf("sppo", { variant: "hard", beta: 0.1 }, pairs),
      soft.map((v) => 2 * v),
    );
    await expectSame(
      run("sppo", { variant: "hard", beta: 0.1 }, pairs),
      run("sppo-hard", { beta: 0.1 }, pairs),
    );
    const single = pairs.map((p) => ({ ...p, chosenProb: 0.8 }));
    close(
      await lossesOf("sppo", { variant: "single", beta: 0.1 }, single),
      await lossesOf("sppo", { beta: 0.1 }, rated(0.8, 0.2)),
    );
    const list = rated(0.7, 0.4).map(({ chosen, rejected }) => ({ completions: [chosen, rejected] }));
    close(
      await lossesOf("sppo", { variant: "allK", eta: 10 }, list),
      await lossesOf("sppo", { beta: 0.1 }, rated(0.7, 0.4)),
    );
    close(
      await lossesOf("sppo", { beta: 0.1, normalized: true }, rated(1, 0)),
      soft.map((v) => v * 0.01),
    );
  });
  test("self-improving-po: at the reference 1 - α/2; a reviser that ignores its draft is IPO twice; α = 1 leaves the generator alone", async () => {
    const six = ["wl", "ll", "ww", "lw", "w", "l"];
    const at = completion(3);
    const start = [Object.fromEntries(six.map((k) => [k, { policy: at.policy, reference: at.policy }]))];
    close(await lossesOf("self-improving-po", { alpha: 0.3 }, start), [1 - 0.15]);
    const [{ chosen, rejected }] = pairs;
    const ignoring = [{ wl: chosen, ww: chosen, w: chosen, ll: rejected, lw: rejected, l: rejected }];
    const [ipo] = await lossesOf("ipo", { beta: 0.2, ipoAverage: false }, [pairs[0]]);
    close(await lossesOf("self-improving-po", { beta: 0.2, alpha: 0.3 }, ignoring), [
      (0.7 * 4 + 0.3 * 2) * 0.04 * ipo,
    ]);
    const { gradients } = await run("self-improving-po", { alpha: 1 }, ignoring);
    expect(JSON.stringify((gradients[0] as Record<string, unknown>).w)).toMatch(
      /^\{"policy":\[(-?0,?)+\]\}$/,
    );
  });
});

describe("stages and joint pairs", () => {
  test("preflexor: stage 1 is ORPO, stage 2 is EXO; without a margin EXO costs -½ log(4ε(1-ε))", async () => {
    await expectSame(run("preflexor", { stage: 1 }, pairs), run("orpo", {}, pairs));
    await expectSame(
      run("preflexor", { stage: 2 }, pairs),
      run("exo-pair", { labelSmoothing: 0.005 }, pairs),
    );
    close(
      await lossesOf("preflexor", { stage: 2 }, equal),
      equal.map(() => -0.5 * Math.log(4 * 0.005 * 0.995)),
    );
  });
  test("dove with equal instructions is DPO; swapped sides turn the margin; masked instructions are left out", async () => {
    const instruction = completion(6);
    const joint = pairs.map(({ chosen, rejected }) => ({
      chosen: { instruction, response: chosen },
      rejected: { instruction, response: rejected },
    }));
    close(await lossesOf("dove", {}, joint), await lossesOf("dpo", {}, pairs));
    const other = joint.map((p) => ({ ...p, chosen: { ...p.chosen, instruction: completion(4) } }));
    const swapped = other.map(({ chosen, rejected }) => ({ chosen: rejected, rejected: chosen }));
    const [a, b] = [await run("dove", { beta: 0.5 }, other), await lossesOf("dove", { beta: 0.5 }, swapped)];
    const margin = a.metrics.condMargin + a.metrics.instrMargin;
    expect(a.losses.reduce((s, v, i) => s + v - b[i], 0) / 3).toBeCloseTo(-0.5 * margin, 9);
    close(await lossesOf("dove", { jointDistribution: false }, other), await lossesOf("dpo", {}, pairs));
  });
});
