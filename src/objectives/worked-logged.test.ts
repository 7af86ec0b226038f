/** What is logged of a loss, against worked numbers of the papers and plain counts. */
import { describe, expect, test } from "vitest";
import { close, pairOf, run } from "./testing.ts";

describe("what is logged of how losses work", () => {
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
