/** What lengths, shared tokens and token weights do to losses, as their pages state it. */
import { describe, expect, test } from "vitest";
import { close, expectSame, lossesOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("lengths");
const pairs = [4, 2, 7].map((n) => ({ chosen: completion(n), rejected: completion(n + (n % 3)) }));
const even = [5, 5, 5].map((n) => ({ chosen: completion(n), rejected: completion(n) }));
type Side = (typeof pairs)[number]["chosen"];
const both = (list: typeof pairs, change: (c: Side) => Side) =>
  list.map(({ chosen, rejected }) => ({ chosen: change(chosen), rejected: change(rejected) }));
const ratio = (c: Side) => c.policy.reduce((s, v, i) => s + v - c.reference[i], 0);

describe("lengths", () => {
  test("simpo: every token twice, or a constant on all of them, changes nothing", async () => {
    const losses = await lossesOf("simpo", {}, pairs);
    const twice = (list: number[]) => list.flatMap((v) => [v, v]);
    const doubled = both(pairs, (c) => ({ policy: twice(c.policy), reference: twice(c.reference) }));
    close(await lossesOf("simpo", {}, doubled), losses);
    const lower = both(pairs, (c) => ({ ...c, policy: c.policy.map((v) => v - 0.7) }));
    close(await lossesOf("simpo", {}, lower), losses);
  });
  test("simpo without a margin is sigmoid-norm under a reference to which both answers are alike", async () => {
    const flat = both(pairs, (c) => ({ ...c, reference: c.policy.map(() => -1.3) }));
    await expectSame(run("simpo", { beta: 2, simpoGamma: 0 }, pairs), run("sigmoid-norm", { beta: 2 }, flat));
  });
  test("on equal lengths n averages are sums with β/n: sigmoid-norm and DPO, TPO-L and TPO", async () => {
    await expectSame(run("sigmoid-norm", { beta: 2 }, even), run("dpo", { beta: 0.4 }, even));
    const tpo = { tpoAlpha: 0 };
    await expectSame(
      run("triple-po", { ...tpo, lossType: "tpo-l", tpoLGamma: 0, beta: 2 }, even),
      run("triple-po", { ...tpo, beta: 0.4 }, even),
    );
  });
  test("rewards are averages where averages are compared", async () => {
    const mean = (of: "chosen" | "rejected") =>
      pairs.reduce((s, p) => s + p[of].policy.reduce((a, b) => a + b, 0) / p[of].policy.length, 0) / 3;
    for (const [id, options] of [
      ["triple-po", { lossType: "tpo-l", tpoAlpha: 0, beta: 2 }],
      ["triple-po", { lossType: "ipo", tpoAlpha: 0, beta: 2 }],
      ["cpo", { lossType: "simpo", beta: 2 }],
    ] as const) {
      const { metrics } = await run(id, options, pairs);
      close(
        [metrics["rewards/chosen"], metrics["rewards/rejected"]],
        [2 * mean("chosen"), 2 * mean("rejected")],
      );
    }
  });
});

describe("what both answers share", () => {
  const shared = completion(6);
  const after = (c: Side, more: Side): Side => ({
    policy: [...c.policy, ...more.policy],
    reference: [...c.reference, ...more.reference],
  });
  test("step-dpo and knowpo: a shared beginning, or a frame of both answers, cancels", async () => {
    const prefixed = both(pairs, (c) => after(shared, c));
    close(await lossesOf("step-dpo", {}, prefixed), await lossesOf("step-dpo", {}, pairs));
    close(await lossesOf("dpo", {}, prefixed), await lossesOf("dpo", {}, pairs));
  });
  test("step-dpo: an end token that does not belong there does not cancel", async () => {
    const step = [
      {
        chosen: { policy: [-0.7, -1.1, -0.2], reference: [-0.9, -1.4, -0.2] },
        rejected: { policy: [-0.4, -1.6], reference: [-0.5, -1.3] },
      },
    ];
    const ended = [
      {
        chosen: after(step[0].chosen, { policy: [-6], reference: [-5] }),
        rejected: after(step[0].rejected, { policy: [-7], reference: [-5] }),
      },
    ];
    close(await lossesOf("step-dpo", {}, step), [0.533382], 6);
    close(await lossesOf("step-dpo", {}, ended), [0.355865], 6);
  });
  test("rso: hingeNorm under a reference to which both answers are alike is hinge", async () => {
    const flat = even.map(({ chosen, rejected }) => ({
      chosen: { ...chosen, reference: rejected.reference },
      rejected,
    }));
    await expectSame(
      run("rso", { lossType: "hingeNorm", lossGamma: 0.3 }, flat),
      run("rso", { lossType: "hinge", lossGamma: 0.3 }, flat),
    );
  });
});

describe("terms taken apart", () => {
  test("sppo-hard is IPO with twice the target on sums, halved, and a pull on ρ_w + ρ_l", async () => {
    // hard = ½[(ρ_w - ρ_l - 1/β)² + (ρ_w + ρ_l)²]; IPO's target is 1/(2β)
    const ipo = await lossesOf("ipo", { beta: 0.1, ipoAverage: false }, pairs);
    close(
      await lossesOf("sppo-hard", { beta: 0.2 }, pairs),
      pairs.map((p, i) => 0.5 * (ipo[i] + (ratio(p.chosen) + ratio(p.rejected)) ** 2)),
    );
  });
  test("t-reg: each token's pull is DPO's times 1 ± α r̂; turning α and r̂ over changes nothing", async () => {
    const rewarded = (sign: number) =>
      both(pairs, (c) => ({ ...c, tokenRewards: c.policy.map((v) => (sign * (v + 1.5)) / 4) }) as Side);
    type Sides = Record<"chosen" | "rejected", { policy: number[] }>;
    const gradients = async (id: string, options: object, list: object[]) =>
      (await run(id, options, list)).gradients as Sides[];
    const [own, dpo] = [
      await gradients("t-reg", { regWeight: 0.4 }, rewarded(1)),
      await gradients("dpo", {}, pairs),
    ];
    pairs.forEach((p, i) => {
      const factor = (v: number, side: number) => 1 + side * 0.4 * ((v + 1.5) / 4);
      close(
        own[i].chosen.policy,
        dpo[i].chosen.policy.map((g, t) => g * factor(p.chosen.policy[t], 1)),
      );
      close(
        own[i].rejected.policy,
        dpo[i].rejected.policy.map((g, t) => g * factor(p.rejected.policy[t], -1)),
      );
    });
  });
  test("xpo and vpo: the bonus on ρ or on log π has one gradient; vpo's two modes differ by its sign alone", async () => {
    const explored = pairs.map((p) => ({ ...p, explored: "rejected", calibration: p.rejected }));
    const gradients = async (id: string, options: object) =>
      JSON.stringify((await run(id, options, explored)).gradients)
        .match(/-?\d[\d.e+-]*/g)
        ?.map(Number) ?? [];
    close(
      await gradients("xpo", { alpha: 0.03 }),
      await gradients("xpo", { alpha: 0.3, bonusScale: "alphaBeta" }),
    );
    const [on, off, none] = [
      await lossesOf("vpo", { mode: "online", alpha: 0.2 }, explored),
      await lossesOf("vpo", { mode: "offline", alpha: 0.2 }, explored),
      await lossesOf("dpo", {}, pairs),
    ];
    close(
      on.map((v, i) => v - none[i]),
      off.map((v, i) => none[i] - v),
    );
    await expect(run("vpo", { mode: "online" }, pairs)).rejects.toThrow("calibration is missing");
  });
  test("rationale-po: without a preference it learns rationales alone", async () => {
    const reasoned = pairs.map((p) => ({ ...p, rationale: { policy: [-1, -2] } }));
    close(await lossesOf("rationale-po", { preferenceWeight: 0 }, reasoned), [3, 3, 3]);
  });
});
