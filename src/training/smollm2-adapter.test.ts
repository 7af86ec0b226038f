/** A real chat model: an adapter beside its 8-bit matrices, two steps of DPO on real sentences, within a small budget of memory. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sharedFile, smolLm2 } from "../../test/shared.ts";
import { loadLanguageModel } from "../models/language-model.ts";
import { dpo } from "../objectives/dpo.ts";
import { parseRecipe } from "./recipe.ts";
import { type TrainEvent, train } from "./train.ts";

const file = sharedFile(smolLm2) ?? "";
const pair = (chosen: string, rejected: string) => ({
  prompt: [{ role: "user", content: "Write one sentence of a product review." }],
  chosen: [{ role: "assistant", content: chosen }],
  rejected: [{ role: "assistant", content: rejected }],
});
const pairs = [
  pair("The lens is sharp and the battery lasts all day.", "It broke after a week."),
  pair("I would buy it again at once.", "A waste of money, and loud."),
];

describe.skipIf(file === "")("SmolLM2-135M-Instruct", () => {
  let folder: string;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "prefopt-smollm2-"));
    process.env.PREFOPT_CACHE = join(folder, "cache");
  });
  afterAll(() => rm(folder, { recursive: true }));

  test("learns two pairs by an adapter on 8 bits, and layers are computed twice where memory asks for it", async () => {
    const recipe = parseRecipe(
      {
        objective: "dpo",
        model: file,
        adapter: { rank: 4, base: "int8" },
        data: { train: "given" },
        train: {
          steps: 2,
          batchSize: 2,
          learningRate: 1e-3,
          schedule: "constant",
          warmup: 0,
          recompute: true,
        },
      },
      "test",
    );
    const events: TrainEvent[] = [];
    const out = join(folder, "run");
    const given = { recipe, out, records: pairs, terms: [{ objective: dpo.with({}), weight: 1 }] };
    for await (const event of train(given)) events.push(event);
    const losses = events.flatMap((e) => (e.type === "step" ? [e.metrics.loss] : []));
    expect(losses[0]).toBeCloseTo(Math.log(2), 4);
    expect(losses[1]).toBeLessThan(0.6);
    const [prepared] = events.flatMap((e) => (e.type === "prepared" ? [e.prepared] : []));
    const saved = await loadLanguageModel(join(out, "model"), prepared.backend);
    expect(saved.adapter?.modules).toHaveLength(30 * 7);
    expect(saved.folder).toBe(file);
  });
});
