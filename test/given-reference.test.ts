/** Records that bring the reference's log-probabilities train as those for which they are computed, without a reference. */
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonLines, prefopt, root } from "./command.ts";

interface Scored {
  readonly chosen: { readonly sum: number };
  readonly rejected: { readonly sum: number };
}

let folder: string;
let pairs: Record<string, unknown>[];
let given: Record<string, unknown>[];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "prefopt-"));
  process.env.PREFOPT_CACHE = join(folder, "cache");
  pairs = jsonLines(await readFile(join(root, "assets/records/pairs.jsonl"), "utf8")).slice(0, 8);
  const lines = pairs.map((p) => JSON.stringify(p)).join("\n");
  const { stdout } = await prefopt(["score", "assets/reviews"], { input: lines });
  given = jsonLines(stdout).map((scored, i) => {
    const { chosen, rejected } = scored as unknown as Scored;
    return { ...pairs[i], refChosenLogps: chosen.sum, refRejectedLogps: rejected.sum };
  });
});
afterAll(() => rm(folder, { recursive: true }));

let count = 0;
async function train(records: readonly object[], changes: Record<string, unknown> = {}) {
  const name = join(folder, `run-${count++}`);
  await writeFile(`${name}.jsonl`, records.map((r) => JSON.stringify(r)).join("\n"));
  const recipe = {
    objective: "dpo",
    model: join(root, "assets/reviews"),
    data: { train: `${name}.jsonl` },
    train: { steps: 3, batchSize: 4, learningRate: 1e-4 },
    ...changes,
  };
  await writeFile(`${name}.yaml`, JSON.stringify(recipe));
  const call = await prefopt(["train", `${name}.yaml`, "--out", name]);
  const metrics = await readFile(join(name, "metrics.jsonl"), "utf8").catch(() => "");
  return { ...call, losses: jsonLines(metrics).map((m) => Number(m.loss)) };
}

describe("refChosenLogps and refRejectedLogps", () => {
  test.each([["dpo"], ["sigmoid-norm"]])("%s: the same losses, and reference: none will do", async (id) => {
    const [computed, brought] = [
      await train(pairs, { objective: id }),
      await train(given, { objective: id, reference: "none" }),
    ];
    expect(brought.status, brought.stderr).toBe(0);
    expect(brought.stdout).not.toContain("scoring with the reference");
    expect(computed.losses).toHaveLength(3);
    computed.losses.forEach((loss, i) => expect(brought.losses[i]).toBeCloseTo(loss, 4));
  });
  test("they are believed: another reference is another loss", async () => {
    const other = given.map((r) => ({ ...r, refChosenLogps: Number(r.refChosenLogps) - 10 }));
    const { losses } = await train(other);
    expect(losses[0]).toBeCloseTo(Math.log(1 + Math.exp(-1)), 4); // Δ = 10, β = 0.1
  });
  test.each([
    ["a record without them", {}, (r: Record<string, unknown>[]) => [r[0], pairs[1]], [":2: ", "is missing"]],
    [
      "tokens weighed by place",
      { options: { ldAlpha: 0.5 } },
      (r: Record<string, unknown>[]) => r,
      [":1: ", "ldAlpha"],
    ],
    [
      "whole distributions",
      { objective: "tdpo" },
      (r: Record<string, unknown>[]) => r,
      ["whole distributions"],
    ],
    [
      "a reference that follows the policy",
      { options: { syncRefModel: true } },
      (r: Record<string, unknown>[]) => r,
      ["syncRefModel"],
    ],
    [
      "an answer that was cut",
      { data: { train: "", maxLength: 12, truncation: "keep-end" } },
      (r: Record<string, unknown>[]) => r,
      ["truncated"],
    ],
  ])("%s is an error", async (_, changes, change, parts) => {
    const data = "data" in changes ? { ...changes.data, train: `run-${count}.jsonl` } : undefined;
    const { status, stderr } = await train(change(given), { ...changes, ...(data && { data }) });
    expect(status).toBe(2);
    for (const part of [...parts, "Leave them out of all records"]) expect(stderr).toContain(part);
  });
});
