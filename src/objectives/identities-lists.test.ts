/** Identities of lists, as the page of LiPO states them. */
import { describe, expect, test } from "vitest";
import { close, lossesOf, randomCompletions, run } from "./testing.ts";

const completion = randomCompletions("lists");

describe("lists", () => {
  const list = (scores: readonly number[]) => ({
    completions: scores.map((score, i) => ({ ...completion(2 + i), score })),
  });
  const graded = [list([0.9, 0.3, 0.6, 0.1]), list([0.2, 0.8])];
  const types = ["pairLogistic", "pairHinge", "listMle", "lambda", "softmax"] as const;
  test("a list of two is DPO: pairLogistic, listMle, softmax, Plackett-Luce; pairHinge is hinge", async () => {
    const two = [list([1, 0]), list([1, 0])];
    const pairs = two.map(({ completions: [chosen, rejected] }) => ({ chosen, rejected }));
    const sum = { beta: 0.3, lipoReduction: "paperSum" };
    const dpo = await lossesOf("dpo", { beta: 0.3 }, pairs);
    for (const lossType of ["pairLogistic", "listMle", "softmax"])
      close(await lossesOf("lipo", { ...sum, lossType }, two), dpo);
    close(await lossesOf("plackett-luce", { beta: 0.3 }, two), dpo);
    close(
      await lossesOf("lipo", { ...sum, lossType: "pairHinge" }, two),
      await lossesOf("hinge", { beta: 0.3 }, pairs),
    );
    // Δ = |1 - 0| · |1/ln 2 - 1/ln 3|
    const delta = 1 / Math.LN2 - 1 / Math.log(3);
    close(
      await lossesOf("lipo", { ...sum, lossType: "lambda" }, two),
      dpo.map((v) => delta * v),
    );
  });
  test.each(types)(
    "%s: the order of the list and a constant on all scores change nothing; gradients add up to 0",
    async (lossType) => {
      const before = await lossesOf("lipo", { lossType }, graded);
      const turned = graded.map(({ completions }) => ({ completions: [...completions].reverse() }));
      close(await lossesOf("lipo", { lossType }, turned), before);
      const raised = graded.map(({ completions }) => ({
        completions: completions.map((c) => ({
          ...c,
          policy: c.policy.map((p, i) => (i === 0 ? p - 2 : p)),
        })),
      }));
      const after = await run("lipo", { lossType }, raised);
      close(after.losses, before);
      for (const g of after.gradients) {
        const firsts = (g as { completions: { policy: number[] }[] }).completions.map((c) => c.policy[0]);
        expect(firsts.reduce((a, b) => a + b, 0)).toBeCloseTo(0, 12);
      }
    },
  );
  test("λ with constant gain and discount is pairLogistic under either reduction", async () => {
    for (const lipoReduction of ["raxPooled", "paperSum"])
      close(
        await lossesOf(
          "lipo",
          { lossType: "lambda", lambdaGain: "const", lambdaDiscount: "const", lipoReduction },
          graded,
        ),
        await lossesOf("lipo", { lossType: "pairLogistic", lipoReduction }, graded),
      );
  });
  test("a list whose labels are all equal costs nothing and pulls nowhere", async () => {
    const { losses: own, gradients } = await run("lipo", {}, [list([0.5, 0.5, 0.5]), graded[1]]);
    expect(own[0]).toBe(0);
    expect(JSON.stringify(gradients[0])).not.toMatch(/[1-9]/);
  });
});
