/** Identities of single completions and of unlearning, and worked numbers of methods whose loss is a known one. */
import { describe, expect, test } from "vitest";
import { close, lossesOf, pairOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("others");

describe("single completions", () => {
  const labelled = [true, false, true].map((label, i) => ({
    completion: completion(3 + i),
    label,
    mismatched: completion(2),
  }));
  test("KTO at z = 0 is apo-zero-unpaired", async () => {
    close(await lossesOf("kto", {}, labelled, { kl: 0 }), await lossesOf("apo-zero-unpaired", {}, labelled));
    close(await lossesOf("kto", {}, labelled, { kl: -3 }), await lossesOf("kto", {}, labelled, { kl: 0 }));
  });
  test("BCO without a shift, on the two halves of a pair, is bco-pair", async () => {
    const pair = { chosen: completion(3), rejected: completion(4) };
    const halves = [
      { completion: pair.chosen, label: true },
      { completion: pair.rejected, label: false },
    ];
    const [a, b] = await lossesOf("bco", { rewardShift: "none" }, halves);
    close([a + b], await lossesOf("bco-pair", {}, [pair]));
  });
});

describe("unlearning", () => {
  const items = [3, 5].map((n) => ({ forget: completion(n), retain: completion(n + 1), idk: completion(2) }));
  test("NPO is its dpo with a refusal whose ratio is 0; at the start it costs (2/β) log 2 and pulls like gradient ascent on sums", async () => {
    const still = items.map((e) => ({ ...e, idk: { policy: e.idk.reference, reference: e.idk.reference } }));
    const only = { retainWeight: 0 };
    close(await lossesOf("npo", only, still), await lossesOf("npo", { ...only, forgetLoss: "dpo" }, still));
    const start = items.map((e) => ({ forget: { policy: e.forget.policy, reference: e.forget.policy } }));
    const { losses: own, gradients } = await run("npo", only, start);
    close(
      own,
      own.map(() => 20 * Math.LN2),
    );
    (gradients as { forget: { policy: number[] } }[]).forEach((g) =>
      g.forget.policy.forEach((v) => expect(v).toBeCloseTo(1 / 2, 12)),
    );
  });
  test("SimNPO with δ = reference NLL per token is NPO with β/|y|, divided by |y|", async () => {
    const [{ forget }] = items;
    const delta = -forget.reference.reduce((a, b) => a + b, 0) / 3;
    const [sim] = await lossesOf(
      "simnpo",
      { beta: 3, retainWeight: 0, forgetWeight: 1, simNpoDelta: delta },
      [{ forget }],
    );
    const [own] = await lossesOf("npo", { beta: 1, retainWeight: 0 }, [{ forget }]);
    expect(sim).toBeCloseTo(own / 3, 9);
  });
});

describe("methods whose loss is a known one", () => {
  const sums = (w: [number, number], l: [number, number], n: [number, number]) => {
    const spread = (total: number, count: number) => new Array<number>(count).fill(total / count);
    const side = ([policy, reference]: [number, number], count: number) => ({
      policy: spread(policy, count),
      reference: spread(reference, count),
    });
    return { chosen: side(w, n[0]), rejected: side(l, n[1]) };
  };
  test("fusechat-3: length-normalised DPO is sigmoid-norm", async () => {
    const a = sums([-12, -14], [-30, -31], [20, 40]);
    close(await lossesOf("sigmoid-norm", { beta: 10 }, [a]), [0.386871], 6);
    close(await lossesOf("dpo", { beta: 0.01 }, [a]), [0.68816], 6);
    close(await lossesOf("sigmoid-norm", { beta: 10 }, [sums([-8, -7], [-9, -12], [5, 10])]), [5.006715], 6);
    const equal = [sums([-9, -10.3], [-11, -11], [10, 10])];
    close(await lossesOf("sigmoid-norm", { beta: 2 }, equal), [0.571573], 6);
    close(await lossesOf("dpo", { beta: 0.2 }, equal), [0.571573], 6);
  });
  test("fspo: IPO on sums", async () => {
    const ipo = (beta: number, w: number, l: number) =>
      lossesOf("ipo", { beta, ipoAverage: false }, [pairOf([w, 0], [l, 0])]);
    close(await ipo(0.1, -0.8, -2.8), [9]);
    close(await ipo(0.01, -1, -56), [25]);
    close(await ipo(0.05, 0, 0), [100]);
  });
  test("knowpo: DPO", async () => {
    close(
      await lossesOf("dpo", {}, [pairOf([-0.2, -1], [-2.4, -1]), pairOf([-3, -1], [-3.5, -1])]),
      [0.589185, 0.66846],
      6,
    );
  });
  test("accelerated-po: DPO against extrapolated reference log-probabilities", async () => {
    const [w, l] = [1.3 * -20 - 0.3 * -22, 1.3 * -25 - 0.3 * -24];
    close(await lossesOf("dpo", {}, [pairOf([-18, w], [-26, l])]), [0.593649581]);
  });
});
