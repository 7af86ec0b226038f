/** Measures of samples: worked numbers, and an interval that covers as often as it says. */
import { describe, expect, test } from "vitest";
import { random } from "../engine/random.ts";
import { rewardNamed } from "../feedback/reward.ts";
import { distinctN, mean, repetition, standardError } from "./text-metrics.ts";
import { bootstrapMean, winRate } from "./win-rate.ts";

describe("text", () => {
  test("distinct-n pools the n-grams of all completions", () => {
    // bigrams: "a b", "b a", "a b" | "a b": one of three different twice → 2 different of 4
    expect(distinctN(["a b a b", "a b"], 2)).toBe(2 / 4);
    expect(distinctN(["a b a b", "a b"], 1)).toBe(2 / 6);
    expect(distinctN(["a", ""], 2)).toBe(0);
  });
  test("repetition counts 4-grams that the completion has had before", () => {
    // 4-grams of "x y z w x y z w": xyzw yzwx zwxy wxyz xyzw: one of five again
    expect(repetition(["x y z w x y z w"])).toBeCloseTo(1 / 5, 12);
    expect(repetition(["a b c d", "too short"])).toBe(0);
  });
  test("mean and standard error", () => {
    expect([mean([1, 2, 6]), mean([])]).toEqual([3, 0]);
    expect(standardError([1, 3])).toBeCloseTo(1, 12);
  });
});

describe("win rate", () => {
  test("a tie counts half; order matters, a constant shift does not", () => {
    expect(winRate([1, 2, 3, 0], [0, 2, 4, -1]).mean).toBe((1 + 0.5 + 0 + 1) / 4);
    expect(winRate([1, 2], [0, 3])).toEqual(winRate([11, 12], [10, 13]));
    expect(() => winRate([1], [1, 2])).toThrow("1 scores against 2");
    expect(() => bootstrapMean([])).toThrow("nothing to take a mean of");
  });
  test("the 95 % interval covers the truth in 95 % of experiments (400 of them, allowed 91 to 98 %: error rate below 0.1 %)", () => {
    const rng = random(11, "coverage");
    let covered = 0;
    for (let i = 0; i < 400; i++) {
      const values = Array.from({ length: 120 }, () => Number(rng.uniform() < 0.7));
      const { low, high } = bootstrapMean(values, { seed: i, resamples: 400 });
      covered += Number(low <= 0.7 && 0.7 <= high);
    }
    expect(covered / 400).toBeGreaterThan(0.91);
    expect(covered / 400).toBeLessThan(0.98);
  });
});

describe("rewards", () => {
  test("sentiment reads prefix and completion together", async () => {
    const { score } = await rewardNamed("sentiment");
    expect(score("The film is not", " good.")).toBeLessThan(0);
    expect(score("The film is", " good.")).toBeGreaterThan(0.3);
    expect(score("", "")).toBe(0);
  });
  test("length counts words of the completion", async () => {
    expect((await rewardNamed("length")).score("one two", " three  four five ")).toBe(3);
  });
  test("an unknown one is told its nearest name", () => {
    expect(() => rewardNamed("sentimental")).toThrow("Did you mean sentiment?");
  });
});
