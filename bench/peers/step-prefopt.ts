/** prefopt's side of step.ts: the same model and tokens, a round of several steps and of matrix products. */
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { peakMemory } from "../../src/cli/bench/peak-memory.ts";
import { seconds, spread } from "../../src/cli/bench/statistics.ts";
import { productFlops, productProgram, stepBatch, stepProgram } from "../../src/cli/bench/step-program.ts";
import { openBackend } from "../../src/engine/backends/open.ts";
import { loadLanguageModel } from "../../src/models/language-model.ts";
import { serve } from "./rounds.ts";

const { values } = parseArgs({
  options: {
    model: { type: "string", default: "" },
    rows: { type: "string", default: "4" },
    time: { type: "string", default: "256" },
    ids: { type: "string", default: "" },
    steps: { type: "string", default: "5" },
    threads: { type: "string" },
  },
});
const peak = peakMemory();
const backend = await openBackend({
  threads: values.threads === undefined ? undefined : Number(values.threads),
});
const model = await loadLanguageModel(values.model, backend);
const batch = stepBatch(model, { rows: Number(values.rows), time: Number(values.time) });
const numbers = new BigInt64Array(new Uint8Array(readFileSync(values.ids)).buffer);
// Rows lie one after another; behind them is padding.
const tokens = Number(values.rows) * Number(values.time);
batch.ids.set(numbers.subarray(0, tokens));
batch.targets.set(numbers.subarray(tokens));
const step = await stepProgram(model, batch);
const product = await productProgram(backend);
for (let i = 0; i < 2; i++) await step.run();
const gradients = Object.entries(step.outputs).filter(([name]) => name.startsWith("gradient/"));

await serve({ threads: backend.threads }, async () => {
  const times: number[] = [];
  const cpuTimes: number[] = [];
  for (let i = 0; i < Number(values.steps); i++) {
    const before = process.cpuUsage();
    times.push(await seconds(() => step.run()));
    const { user, system } = process.cpuUsage(before);
    cpuTimes.push((user + system) / 1e6);
  }
  const products: number[] = [];
  for (let i = 0; i < 10; i++) products.push(await seconds(() => product.run()));
  let squares = 0;
  for (const [, g] of gradients) for (const v of g as Float32Array) squares += v * v;
  return {
    seconds: times,
    cpuSeconds: cpuTimes,
    gemmGflops: productFlops / spread(products, 15).median / 1e9,
    loss: step.outputs.loss[0] as number,
    gradNorm: Math.sqrt(squares),
    peakRssMb: peak().peakRssMb,
  };
});
process.exit(0);
