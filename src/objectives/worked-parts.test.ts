/** Worked numbers of the papers beside the fixture files: the parts of a loss, which are logged. */
import { describe, expect, test } from "vitest";
import { close, pairOf, run, side } from "./testing.ts";

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
});
