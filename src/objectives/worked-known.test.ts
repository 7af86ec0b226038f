/** Worked numbers of the papers beside the fixture files: gradients by whole log-probabilities, and margins at which a loss is at rest. */
import { describe, expect, test } from "vitest";
import { close, lossesOf, pairOf, run, side, slopes } from "./testing.ts";

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
