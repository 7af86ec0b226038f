/** Identities of methods that add a term to DPO, as their pages state them: without the term they are DPO. */
import { describe, expect, test } from "vitest";
import { close, expectSame, lossesOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("pairs");
const pairs = [4, 2, 7].map((n) => ({ chosen: completion(n), rejected: completion(n + (n % 3)) }));

describe("terms that can be turned off", () => {
  test("t-reg: no weight, or no token rewards, is DPO; without a reference it is SimPO", async () => {
    close(await lossesOf("t-reg", { regWeight: 0 }, pairs), await lossesOf("dpo", {}, pairs));
    const none = pairs.map(({ chosen, rejected }) => ({
      chosen: { ...chosen, tokenRewards: chosen.policy.map(() => 0) },
      rejected: { ...rejected, tokenRewards: rejected.policy.map(() => 0) },
    }));
    await expectSame(run("t-reg", { regWeight: 0.5 }, none), run("dpo", {}, pairs));
    await expectSame(
      run("t-reg", { base: "simpo", regWeight: 0, beta: 2, simpoGamma: 0.5 }, pairs),
      run("simpo", { beta: 2, simpoGamma: 0.5 }, pairs),
    );
  });
  test("rationale-po without rationale is DPO, ORPO or SimPO; logsigmoid at a large γ is nll", async () => {
    const reasoned = pairs.map((p) => ({ ...p, rationale: { policy: completion(5).policy } }));
    for (const [base, same, options] of [
      ["dpo", "dpo", {}],
      ["orpo", "orpo", {}],
      ["simpo", "simpo", { simpoGamma: 0.5 }],
    ] as const)
      close(
        await lossesOf("rationale-po", { base, rationaleWeight: 0, ...options }, reasoned),
        await lossesOf(same, options, pairs),
      );
    close(
      await lossesOf("rationale-po", { rationaleLoss: "logsigmoid", rationaleWeight: 50 }, reasoned),
      await lossesOf("rationale-po", { rationaleWeight: 50 }, reasoned),
    );
  });
  test("xpo: α = 0 is DPO; which completion is explored changes two gradients by exactly α", async () => {
    const explored = (side: string) => pairs.map((p) => ({ ...p, explored: side }));
    await expectSame(run("xpo", { alpha: 0 }, explored("chosen")), run("dpo", {}, pairs));
    const alpha = 0.01;
    const gradient = async (side: string) =>
      (await run("xpo", { alpha }, explored(side))).gradients.map((g) => {
        const { chosen, rejected } = g as Record<"chosen" | "rejected", { policy: number[] }>;
        return [chosen.policy[0], rejected.policy[0]];
      });
    const [w, l] = [await gradient("chosen"), await gradient("rejected")];
    w.forEach(([c, r], i) => close([c - l[i][0], r - l[i][1]], [alpha / 3, -alpha / 3]));
  });
  test("vpo: α = 0 is DPO; offline on chosen is DPO plus a likelihood; online it is XPO with αβ", async () => {
    await expectSame(run("vpo", { mode: "online", alpha: 0 }, pairs), run("dpo", {}, pairs));
    const [offline, dpo] = [
      await lossesOf("vpo", { mode: "offline", alpha: 0.5 }, pairs),
      await lossesOf("dpo", {}, pairs),
    ];
    const ratio = (p: (typeof pairs)[number]) =>
      p.chosen.policy.reduce((s, v, i) => s + v - p.chosen.reference[i], 0);
    close(
      offline,
      dpo.map((v, i) => v - 0.05 * ratio(pairs[i])),
    );
    const same = pairs.map((p) => ({ ...p, calibration: p.rejected, explored: "rejected" }));
    close(
      await lossesOf("vpo", { mode: "online", alpha: 0.2, beta: 0.1 }, same),
      await lossesOf("xpo", { alpha: 0.2, beta: 0.1, bonusScale: "alphaBeta" }, same),
    );
  });
  test("upo: no smoothing and no likelihood is DPO, one smoothing for all is cDPO", async () => {
    await expectSame(run("upo", { alphaMode: "off", lambdaNll: 0 }, pairs), run("dpo", {}, pairs));
    const smoothed = pairs.map((p) => ({ ...p, alpha: 0.2 }));
    await expectSame(run("upo", { lambdaNll: 0 }, smoothed), run("dpo", { labelSmoothing: 0.2 }, pairs));
  });
  test("ofs-dpo: α = 0 is two runs of DPO; equal policies leave twice DPO; the reference cancels between them", async () => {
    const two = pairs.map(({ chosen, rejected }) => ({
      chosen: { ...chosen, slow: completion(chosen.policy.length).policy },
      rejected: { ...rejected, slow: completion(rejected.policy.length).policy },
    }));
    const slow = two.map(({ chosen, rejected }) => ({
      chosen: { ...chosen, policy: chosen.slow },
      rejected: { ...rejected, policy: rejected.slow },
    }));
    const [a, b] = [await lossesOf("dpo", {}, pairs), await lossesOf("dpo", {}, slow)];
    close(
      await lossesOf("ofs-dpo", { alpha: 0 }, two),
      a.map((v, i) => v + b[i]),
    );
    const equal = pairs.map(({ chosen, rejected }) => ({
      chosen: { ...chosen, slow: chosen.policy },
      rejected: { ...rejected, slow: rejected.policy },
    }));
    close(
      await lossesOf("ofs-dpo", {}, equal),
      a.map((v) => 2 * v),
    );
    const moved = two.map((p) => ({
      ...p,
      chosen: { ...p.chosen, reference: p.chosen.reference.map((r) => r - 1) },
    }));
    const chase = async (list: object[]) => (await run("ofs-dpo", {}, list)).metrics["loss/chase"];
    expect(await chase(moved)).toBeCloseTo(await chase(two), 12);
  });
});
