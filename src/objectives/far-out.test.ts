/** Far from the reference, in either direction, no objective overflows: neither in its losses nor in a gradient. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed, objectives } from "./table.ts";
import { exampleOf, neededOptions } from "./testing-examples.ts";

const backend = await openBackend();
const ids = objectives().map((o) => o.id);

/** Log-probabilities by which one side leads the other by `margin` nats. */
const leading = (margin: number) => (place: string) =>
  (/^(chosen|w|completion|gold)/.test(place) ? Math.min(0, margin) : Math.min(0, -margin)) - 1;

describe("margins of ±800 nats", () => {
  test.each(ids)("%s", async (id) => {
    const objective = objectiveNamed(id).with(neededOptions[id]);
    const examples = [-800, -40, 0, 40, 800].map((m) => exampleOf[objective.record](leading(m)));
    const { losses, gradients } = await calculate(backend, objective, { examples });
    expect(losses.every(Number.isFinite), String(losses)).toBe(true);
    expect(JSON.stringify(gradients)).not.toContain("null");
  });
});

describe("every option in turn", () => {
  const named = (id: string, options: Record<string, unknown>) =>
    [`${id} ${JSON.stringify(options)}`, id, options] as const;
  test.each([
    ...["tdpo1", "tdpo2"].map((tdpoVariant) => named("tdpo", { tdpoVariant, averageLogProb: true })),
    ...["npo", "simNpo", "ga", "idk", "dpo", "kto"].map((forgetLoss) =>
      named("npo", { forgetLoss, retainKlWeight: 1, forgetKlWeight: 1 }),
    ),
    ...["sigmoid", "ipo", "reward"].flatMap((base) =>
      ["alpha", "alphaBeta"].map((bonusScale) => named("xpo", { base, bonusScale, alpha: [0.01, 0.001] })),
    ),
    ...["soft", "hard"].map((variant) => named("sppo", { variant, normalized: true })),
    ...["dpo", "orpo", "simpo"].flatMap((base) =>
      ["nll", "logsigmoid"].map((rationaleLoss) => named("rationale-po", { base, rationaleLoss })),
    ),
    ...["dpo", "simpo"].flatMap((base) =>
      ["dynamic", "static"].map((gate) => named("t-reg", { base, gate })),
    ),
    ...["scaled", "off", "literal", "meanProb"].map((alphaMode) =>
      named("upo", { alphaMode, nllNorm: "reward" }),
    ),
    ...["pairLogistic", "pairHinge", "listMle", "lambda", "pointMse", "pointSigmoid", "softmax"].flatMap(
      (lossType) =>
        ["raxPooled", "paperSum"].map((lipoReduction) => named("lipo", { lossType, lipoReduction })),
    ),
    ...["ipo", "hinge", "simpo", "aot"].map((base) => named("self-supervised-po", { base })),
    named("dpo", { useWeighting: true }),
    named("dpo", { useWeighting: true, wpoClamp: false }),
    named("bco", { rewardShift: "none" }),
    named("bco-pair", { rewardShift: "running" }),
    named("ofs-dpo", { marginClamp: 10 }),
    named("preflexor", { stage: 1 }),
    named("vpo", { mode: "online", alpha: 0.1 }),
    named("dove", { jointDistribution: false }),
  ])("%s", async (_, id, options) => {
    const objective = objectiveNamed(id).with(options);
    const examples = [-800, 0.5, 800].map((m) => exampleOf[objective.record](leading(m)));
    const { losses, gradients } = await calculate(backend, objective, { examples });
    expect(losses.every(Number.isFinite), String(losses)).toBe(true);
    expect(JSON.stringify(gradients)).not.toContain("null");
  });
});
