/**
 * Worked numbers of the papers' losses beside the fixture files: gradients by whole log-probabilities, parts of losses that are logged,
 * optima in closed form. Sources are named by arXiv numbers at the objectives.
 */
import { describe, expect, test } from "vitest";
import { close, lossesOf, pairOf, run } from "./testing.ts";

type Side = { policy: number[]; reference: number[] };

/** A completion of given sums over a number of tokens. */
const side = (policy: number, reference: number, count = 1): Side => ({
  policy: new Array<number>(count).fill(policy / count),
  reference: new Array<number>(count).fill(reference / count),
});

/** d(loss)/d(log π) of both sides of the first pair: every token of a side has the derivative of its sum. */
async function slopes(...of: Parameters<typeof run>): Promise<[number, number]> {
  const [{ chosen, rejected }] = (await run(...of)).gradients as Record<
    "chosen" | "rejected",
    { policy: number[] }
  >[];
  return [chosen.policy[0], rejected.policy[0]];
}

describe("systems whose loss is a known one", () => {
  test("fusechat-3: gradients of length-normalised and of summed DPO", async () => {
    const a = { chosen: side(-12, -14, 20), rejected: side(-30, -31, 40) };
    close(await slopes("sigmoid-norm", { beta: 10 }, [a]), [-0.160411, 0.080205], 6);
    close(await slopes("dpo", { beta: 0.01 }, [a]), [-0.004975, 0.004975], 6);
    const b = { chosen: side(-8, -7, 5), rejected: side(-9, -12, 10) };
    close(await slopes("sigmoid-norm", { beta: 10 }, [b]), [-1.986614, 0.993307], 6);
  });
  test("fspo: gradients of IPO on sums, its batch mean, and the form that averages", async () => {
    const ipo = { ipoAverage: false };
    close(await slopes("ipo", { ...ipo, beta: 0.1 }, [pairOf([-1, -2.2], [-2, -1.2])]), [-6, 6]);
    close(await slopes("ipo", { ...ipo, beta: 0.01 }, [pairOf([-1, -31], [-30, -5])]), [10, -10]);
    const two = [pairOf([-1, -5], [-2, -2]), pairOf([-1, -14], [-2, -2])]; // h = 4 and 13
    expect((await run("ipo", { ...ipo, beta: 0.05 }, two)).loss).toBeCloseTo(22.5, 9);
    const long = { chosen: side(-3, -4.2, 6), rejected: side(-3, -2.2, 4) }; // 1.2/6 + 0.8/4 = 0.4
    close(await lossesOf("ipo", { beta: 0.1 }, [long]), [21.16]);
  });
  test("knowpo: gradients of DPO", async () => {
    close(await slopes("dpo", {}, [pairOf([-0.2, -1], [-2.4, -1])]), [-0.044522, 0.044522], 6);
    close(await slopes("dpo", {}, [pairOf([-3, -1], [-3.5, -1])]), [-0.04875, 0.04875], 6);
  });
  test("accelerated-po: the pull against extrapolated references, and the loss against plain ones", async () => {
    const [w, l] = [1.3 * -20 - 0.3 * -22, 1.3 * -25 - 0.3 * -24];
    close([w, l], [-19.4, -25.3]);
    const at = pairOf([-18, w], [-26, l]);
    close(await slopes("dpo", {}, [at]), [-0.044769209, 0.044769209]);
    close(await lossesOf("dpo", {}, [pairOf([-18, -20], [-26, -25])]), [0.554355244]);
  });
});

describe("margins at which a loss is at rest", () => {
  test("xpo with the chosen answer explored: Δ = ln((β - α)/α)/β", async () => {
    const margin = Math.log((0.1 - 0.01) / 0.01) / 0.1;
    expect(margin).toBeCloseTo(21.972245773, 9);
    const pair = { ...pairOf([-3, -3 - margin], [-5, -5]), explored: "chosen" };
    expect((await slopes("xpo", { alpha: 0.01 }, [pair]))[0]).toBeCloseTo(0, 12);
  });
  test("upo: h = ln((1 - α)/α)/β, and what is logged of it", async () => {
    const pair = { ...pairOf([-1, -22.972245773], [-2, -2]), alpha: 0.1 };
    close(await slopes("upo", { lambdaNll: 0 }, [pair]), [0, 0]);
    const worked = { chosen: side(-30, -34, 20), rejected: side(-5, -5), alpha: 0.1 };
    const { losses, metrics } = await run("upo", {}, [worked]);
    close(losses, [0.853015252]);
    close([metrics["loss/preference"], metrics["loss/nll"], metrics.alpha], [0.553015252, 1.5, 0.1]);
  });
  test("preflexor's EXO: βΔ = log((1 - ε)/ε)", async () => {
    const options = { stage: 2, exo: { beta: 0.5 } };
    const pair = pairOf([-1, -11.58661], [-2, -2]);
    close(await lossesOf("preflexor", options, [pair]), [0]);
    close(await slopes("preflexor", options, [pair]), [0, 0], 6);
  });
});

describe("parts that are logged", () => {
  test.each([
    ["reverseKl", {}, [1, -0.5]],
    ["forwardKl", {}, [-0.367879, -1.648721]],
    ["jsDivergence", {}, [0.379885, -0.28093]],
    // The constant 1/α of f' cancels; it is left out or kept by the form that is computed.
    ["alphaDivergence", { fAlpha: 0.3 }, [0.863939, -0.539447]],
    ["alphaDivergence", { fAlpha: 0.5 }, [0.786939, -0.568051]],
    ["alphaDivergence", { fAlpha: 0.7 }, [0.719164, -0.598668]],
  ] as const)("f-dpo, %s %j: scores of ρ = 1 and -½", async (fDivergenceType, options, [w, l]) => {
    const { metrics } = await run("f-dpo", { fDivergenceType, ...options, beta: 0.1 }, [
      pairOf([-1, -2], [-2, -1.5]),
    ]);
    close([metrics["rewards/chosen"], metrics["rewards/rejected"]], [0.1, -0.05]);
    if (fDivergenceType === "reverseKl") return;
    const [sw, sl] = [metrics["fScores/chosen"] / 0.1, metrics["fScores/rejected"] / 0.1];
    expect(sw - sl).toBeCloseTo(w - l, 5);
  });
  test("tdpo: divergences and rewards β(ρ + D) of rows over three tokens", async () => {
    const pair = {
      chosen: {
        tokens: [0, 1],
        logits: [
          [1, 0, -1],
          [0.5, 0.5, 0],
        ],
        referenceLogits: [
          [0, 0, 0],
          [1, 0, 0],
        ],
      },
      rejected: {
        tokens: [1, 2, 0],
        logits: [
          [0, 1, 0],
          [-1, 0, 1],
          [0.2, -0.2, 0],
        ],
        referenceLogits: [
          [0, 0, 0],
          [0, 0.5, 0],
          [0, 0, 1],
        ],
      },
    };
    const { metrics } = await run("tdpo", { beta: 0.1 }, [pair]);
    const shown = ["kl/chosen", "kl/rejected", "rewards/chosen", "rewards/rejected"].map((n) => metrics[n]);
    close(shown, [0.397657, 0.595233, 0.168209, 0.266871], 6);
    expect(metrics["logits/accuracy"]).toBe(0); // z = -0.887839
  });
  test("t-reg: the gate and the pulls it multiplies", async () => {
    const pair = {
      chosen: {
        policy: [-1, -2, -0.5],
        reference: [-1.2, -2.1, -0.6],
        tokenRewards: [0.189974481128, -0.074442516812, 0],
      },
      rejected: {
        policy: [-1.5, -2.5],
        reference: [-1.4, -2],
        tokenRewards: [-0.122459331202, 0.23105857863],
      },
    };
    const { metrics } = await run("t-reg", { beta: 0.1 }, [pair]);
    close([metrics["loss/preference"], metrics["reg/weight"]], [0.644396660074, 0.475020812521]);
    expect(metrics["loss/reg"]).toBeCloseTo(0.475020812521 * (0.00410894475 + 0.039395744977), 9);
  });
  test("self-supervised-po: cross-entropies of three copies, and log D of a head that knows nothing", async () => {
    const logits = [
      [1.2, 0.3, -0.5],
      [0.1, 0.4, 0.2],
      [-0.2, 0.5, 0.9],
    ];
    const one = (...at: number[]) => ({ logits: at.map((i) => logits[i]), labels: at });
    const lossOf = async (degree: object) =>
      (await run("self-supervised-po", {}, [{ ...pairOf([-1, -1], [-1, -1]), degree }])).metrics[
        "degree/loss"
      ];
    const each = await Promise.all([0, 1, 2].map((i) => lossOf(one(i))));
    close(each, [0.463264210163, 0.939831060844, 0.694741473866]);
    close([await lossOf(one(0, 1, 2))], [0.699278914958]);
    close([await lossOf({ logits: [[0, 0, 0]], labels: [2] })], [1.098612288668]);
  });
  test("triple-po: preference and gold apart; gold tokens pooled over the batch", async () => {
    const gold = (...policy: number[]) => ({ policy });
    const answers = { chosen: side(-12, 0, 4), rejected: side(-14, 0, 6) };
    const parts = async (options: object, golds: number[][]) => {
      const { metrics } = await run(
        "triple-po",
        options,
        golds.map((policy) => ({ ...answers, gold: gold(...policy) })),
      );
      return [metrics["loss/preference"], metrics["loss/nllGold"]];
    };
    const common = [-0.5, -1, -0.3, -0.6, -0.1];
    close(await parts({ beta: 0.2, tpoAlpha: 0.9 }, [common]), [0.513015, 0.5], 6);
    close(await parts({ beta: 0.01 }, [common]), [0.683197, 0.5], 6);
    const margin = { lossType: "tpo-l", beta: 2, tpoLGamma: 1.6, tpoAlpha: 0.05 };
    close(await parts(margin, [common]), [2.985185, 0.5], 6);
    const pooled = [[-0.5, -0.5, -0.5, -0.5, -0.5], [-4]];
    expect((await parts({}, pooled))[1]).toBeCloseTo(6.5 / 6, 9);
  });
  test("orpo: log-odds of averages -1 and -1.5, and of stage 1 of preflexor", async () => {
    const pair = (w: number, l: number) => ({ chosen: { policy: [w] }, rejected: { policy: [l] } });
    const { metrics } = await run("orpo", {}, [pair(-1, -1.5)]);
    close([metrics.logOdds, metrics["loss/nll"]], [0.706193, 1], 6);
    const stage = await run("preflexor", { stage: 1 }, [pair(-0.5, -1.2)]);
    close([stage.metrics.logOdds, stage.loss], [1.27437, 0.524655], 6);
    expect(stage.loss - 0.5).toBeCloseTo(0.1 * 0.246553, 6);
  });
  test("rationale-po: preference and reason apart", async () => {
    const record = {
      chosen: { policy: [-0.5], reference: [-1] },
      rejected: { policy: [-0.9], reference: [-1] },
      rationale: { policy: [-1.2] },
    };
    const parts = async (options: object) => {
      const { metrics } = await run("rationale-po", options, [record]);
      return [metrics["loss/preference"], metrics["loss/rationale"]];
    };
    close(await parts({ base: "orpo", beta: 0.1 }), [0.5 + 0.0367728943086, 1.2]);
    close(await parts({ base: "simpo", beta: 2, simpoGamma: 0.5 }), [0.554355244469, 1.2]);
  });
  test("sppo: log-ratios and where they should go", async () => {
    const winRates = (w: number, l: number) => ({
      chosen: { policy: [-1], reference: [-3], winRate: w },
      rejected: { policy: [-5], reference: [-2], winRate: l },
    });
    const { metrics, losses } = await run("sppo", { beta: 0.1 }, [winRates(0.8, 0.25)]);
    close(losses, [0.625]);
    const names = ["ratio/chosen", "target/chosen", "ratio/rejected", "target/rejected"];
    close(
      names.map((n) => metrics[n]),
      [2, 3, -3, -2.5],
    );
  });
  test("rso: the share of pairs that a hinge still pulls", async () => {
    const pairs = [pairOf([-12, -13], [-15, -13.5]), pairOf([-20, -19], [-10, -12])];
    const active = async (lossType: string, lossGamma: number) =>
      (await run("rso", { lossType, lossGamma }, pairs)).metrics["hinge/active"];
    expect(await active("hingeNorm", 0.05)).toBe(1);
    expect(await active("hingeNorm", 0.5)).toBe(0.5); // margins 2.5 and -3
    expect(await active("slic", 0.5)).toBe(0.5); // 3 and -10 against δ = 2
  });
  test("lipo and plackett-luce: how scores order a list", async () => {
    // ψ = (.9, .3, .6, .1), s = (.25, .5, -.1, 0): ranks by score 2, 1, 4, 3
    const ratios = [5, 10, -2, 0];
    const scores = [0.9, 0.3, 0.6, 0.1];
    const completions = scores.map((score, i) => ({ policy: [ratios[i] - 20], reference: [-20], score }));
    const gain = scores.map((psi) => 2 ** psi - 1);
    const dcg = (ranks: readonly number[]) => gain.reduce((t, g, i) => t + g / Math.log2(1 + ranks[i]), 0);
    for (const id of ["lipo", "plackett-luce"]) {
      const { metrics } = await run(id, { beta: 0.05 }, [{ completions }]);
      expect(metrics.topOne).toBe(0);
      expect(metrics["rewards/accuracies"]).toBe(0.5); // right: (1,3), (1,4), (2,4)
      expect(metrics.kendallTau).toBe(0);
      expect(metrics.ndcg).toBeCloseTo(dcg([2, 1, 4, 3]) / dcg([1, 3, 2, 4]), 9);
    }
    const ordered = [...completions].sort((a, b) => a.policy[0] - b.policy[0]);
    const best = ordered.map((c, i) => ({ ...c, score: i }));
    const { metrics } = await run("lipo", { beta: 0.05 }, [{ completions: best }]);
    close([metrics.topOne, metrics.kendallTau, metrics.ndcg, metrics["rewards/accuracies"]], [1, 1, 1, 1]);
    const equal = completions.map((c) => ({ ...c, score: 0 }));
    const none = (await run("lipo", { beta: 0.05 }, [{ completions: equal }])).metrics;
    close([none.kendallTau, none.ndcg], [0, 0]);
  });
});
