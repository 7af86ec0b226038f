/**
 * Memory over a long run whose rows are of random lengths: resident size after every step of a real training run, its last hundred steps
 * against its second hundred. `node scripts/run.js bench/varying-lengths.ts`
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { run } from "prefopt";
import { modelOf, shapeOf } from "../src/cli/bench/shape.ts";
import { spread } from "../src/cli/bench/statistics.ts";
import { residentBytes } from "../src/engine/backends/host-memory.ts";
import { openBackend } from "../src/engine/backends/open.ts";
import { random } from "../src/engine/random.ts";
import { saveLanguageModel } from "../src/models/language-model.ts";

const { values } = parseArgs({
  options: {
    steps: { type: "string", default: "1000" },
    hidden: { type: "string", default: "128" },
    layers: { type: "string", default: "4" },
    json: { type: "boolean", default: false },
  },
});
const steps = Number(values.steps);
const folder = mkdtempSync(join(tmpdir(), "prefopt-lengths-"));
process.on("exit", () => rmSync(folder, { recursive: true, force: true }));
process.env.PREFOPT_CACHE = join(folder, "cache");
const shape = shapeOf({ hidden: Number(values.hidden), layers: Number(values.layers), vocabulary: 8192 });
const model = join(folder, "model");
const { mkdir } = await import("node:fs/promises");
await mkdir(model);
await saveLanguageModel(modelOf(shape, await openBackend()), model);
const rng = random(1, "lengths");
const ids = (most: number) => Array.from({ length: 1 + rng.integer(most) }, () => 2 + rng.integer(8000));
const records = Array.from({ length: 4 * steps }, () => ({
  promptIds: ids(200),
  chosenIds: ids(150),
  rejectedIds: ids(150),
}));
const sizes: number[] = [];
const training = run(
  {
    method: "dpo",
    model,
    train: { batchSize: 4, epochs: 1, learningRate: 1e-5 },
    run: { checkpointEvery: steps },
  },
  { records, out: join(folder, "run") },
);
for await (const event of training) {
  if (event.type !== "step") continue;
  sizes.push(residentBytes() / 2 ** 20);
  if (!values.json && event.step % 100 === 0)
    console.log(`step ${event.step}: ${Math.round(sizes.at(-1) ?? 0)} MB`);
}
const [second, last] = [spread(sizes.slice(100, 200)), spread(sizes.slice(-100))];
const ratio = last.median / second.median;
if (values.json) console.log(JSON.stringify({ second, last, ratio, steps, shape }));
else
  console.log(
    `steps 101 to 200: ${second.median} MB (${second.min} to ${second.max}); the last 100: ${last.median} (${last.min} to ${last.max}); ratio ${ratio.toFixed(3)}`,
  );
