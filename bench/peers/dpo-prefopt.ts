/** prefopt's side of dpo.ts: a DPO run on the same weights, pairs and order; an epoch is a round. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { run } from "prefopt";
import { peakMemory } from "../../src/cli/bench/peak-memory.ts";
import { seconds, spread } from "../../src/cli/bench/statistics.ts";
import { productFlops, productProgram } from "../../src/cli/bench/step-program.ts";
import { openBackend } from "../../src/engine/backends/open.ts";
import { type Line, serve } from "./rounds.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "" },
    pairs: { type: "string", default: "" },
    batch: { type: "string", default: "8" },
    micro: { type: "string", default: "auto" },
    epochs: { type: "string", default: "1" },
    rate: { type: "string", default: "" },
    beta: { type: "string", default: "" },
  },
});
const peak = peakMemory();
const records = readFileSync(values.pairs, "utf8")
  .trim()
  .split("\n")
  .map((line) => JSON.parse(line) as object);
const batchSize = Number(values.batch);
const perEpoch = Math.ceil(records.length / batchSize);
const backend = await openBackend();
const product = await productProgram(backend);
process.env.PREFOPT_CACHE = join(values.model, "cache");
const events = run(
  {
    method: "dpo",
    options: { beta: Number(values.beta) },
    model: values.model,
    data: { shuffle: false },
    train: {
      epochs: Number(values.epochs),
      batchSize,
      microBatch: values.micro === "auto" ? "auto" : Number(values.micro),
      learningRate: Number(values.rate),
      schedule: "constant",
      warmup: 0,
    },
    run: { checkpointEvery: 1e6 },
  },
  { records, out: join(values.model, "run") },
)[Symbol.asyncIterator]();

let [losses, microBatch]: [number[], unknown] = [[], undefined];

/** The steps of an epoch. The first epoch scores with the reference and compiles too: it warms up. */
async function epoch(): Promise<Line | undefined> {
  losses = [];
  const start = performance.now();
  while (losses.length < perEpoch) {
    const { value, done } = await events.next();
    if (done) return undefined;
    if (value.type === "prepared") microBatch = value.prepared.recipe.train.microBatch;
    if (value.type === "step") losses.push(value.metrics.loss);
  }
  const elapsed = (performance.now() - start) / 1000;
  const products: number[] = [];
  const { peakRssMb } = peak();
  for (let i = 0; i < 10; i++) products.push(await seconds(() => product.run()));
  return {
    seconds: elapsed,
    losses,
    microBatch,
    peakRssMb,
    gemmGflops: productFlops / spread(products, 15).median / 1e9,
  };
}

await serve({ threads: backend.threads }, epoch);
process.exit(0);
