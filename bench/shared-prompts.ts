/**
 * What sharing prompts saves: a step of DPO's graph on pairs whose prompt stands once for both completions, against the same pairs with a
 * prompt each, in turns in one process. `node scripts/run.js bench/shared-prompts.ts`; with `--placements split` or `joined` in that layout.
 */
import { parseArgs } from "node:util";
import { machine, versions } from "../src/cli/bench/machine.ts";
import { millions, modelOf, shapeOf } from "../src/cli/bench/shape.ts";
import { seconds, significant, spread } from "../src/cli/bench/statistics.ts";
import { table } from "../src/cli/output.ts";
import { openBackend } from "../src/engine/backends/open.ts";
import { gradients } from "../src/engine/gradient.ts";
import { Graph } from "../src/engine/graph.ts";
import { neg, sub } from "../src/engine/ops/elementwise.ts";
import { sum } from "../src/engine/ops/reduce.ts";
import { compile } from "../src/engine/program.ts";
import { random } from "../src/engine/random.ts";
import type { Tensor } from "../src/engine/tensor.ts";
import { declareModel, modelArrays } from "../src/models/declare.ts";
import { ParameterArray } from "../src/nn/parameters.ts";
import { pack } from "../src/scoring/packing.ts";
import { type Placements, allPlacements } from "../src/scoring/placements.ts";
import { batchArrays, scoreText } from "../src/scoring/text-graph.ts";

const { values } = parseArgs({
  options: {
    hidden: { type: "string", default: "512" },
    layers: { type: "string", default: "8" },
    vocabulary: { type: "string", default: "8192" },
    pairs: { type: "string", default: "4" },
    row: { type: "string", default: "256" },
    repeats: { type: "string", default: "5" },
    placements: { type: "string", default: allPlacements.join(",") },
    json: { type: "boolean", default: false },
  },
});
const [row, pairs, repeats] = [values.row, values.pairs, values.repeats].map(Number);
const wanted = new Set(values.placements.split(","));
const [first, ...others] = allPlacements.filter((p) => wanted.delete(p));
if (!first || wanted.size > 0) throw new Error(`--placements: some of ${allPlacements.join(", ")}`);
const placements: Placements = [first, ...others];
const backend = await openBackend();
const shape = shapeOf({
  hidden: Number(values.hidden),
  layers: Number(values.layers),
  vocabulary: Number(values.vocabulary),
});
const model = modelOf(shape, backend);
const into = ParameterArray.allocate(backend, model.weights.layout);
const roles = [
  { name: "chosen", many: false },
  { name: "rejected", many: false },
];
const rng = random(1, "pairs");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(shape.vocabulary));

/** The step of one layout: margin and log-probabilities out, gradients into the common array. */
async function stepOf(records: Parameters<typeof pack>[0], placements: Placements) {
  // Laid out as in a run on the CPU.
  const batch = pack(records, roles, model.architecture.rope, {
    hidden: shape.hidden,
    placements,
    rounding: "none",
  });
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const scores = scoreText(graph, model.architecture, declared.weights, batch.shape, roles);
  const [chosen, rejected] = scores.roles.map((r) => sum(r.logps));
  const outputs: Record<string, Tensor> = { loss: neg(sub(chosen, rejected)) };
  scores.roles.forEach((r, k) => (outputs[`logps/${k}`] = r.logps));
  gradients(outputs.loss, declared.trained).forEach((g, i) => {
    if (g) outputs[`gradient/${declared.trained[i].id}`] = g;
  });
  const program = await compile(backend, graph, outputs);
  const bound = program.bind(
    { ...modelArrays(model), ...batchArrays(batch, roles) },
    into.named("gradient/"),
  );
  const logps = () => [0, 1].flatMap((k) => [...(bound.outputs[`logps/${k}`] as Float32Array)]);
  return {
    run: () => bound.run(),
    release: () => program.release(),
    logps,
    tokens: batch.tokens,
    placement: batch.placement,
  };
}

const results = [];
for (const share of [0.25, 0.5, 0.75]) {
  const prompt = Math.round(row * share);
  const records = Array.from({ length: pairs }, () => ({
    trees: [
      {
        prompt: ids(prompt),
        branches: roles.map(({ name }) => [{ role: name, ids: ids(row - prompt) }]),
      },
    ],
  }));
  const [shared, apart] = [await stepOf(records, placements), await stepOf(records, ["apart"])];
  const ratios: number[] = [];
  for (let i = 0; i < repeats + 1; i++) {
    const [a, b] = [await seconds(() => shared.run()), await seconds(() => apart.run())];
    if (i > 0) ratios.push(b / a);
  }
  const [x, y] = [shared.logps(), apart.logps()];
  const difference = Math.max(...x.map((v, i) => Math.abs(v - y[i])));
  results.push({
    promptShare: share,
    tokenRatio: significant(apart.tokens / shared.tokens, 3),
    speedUp: spread(ratios, 3),
    difference,
    placement: shared.placement,
  });
  shared.release();
  apart.release();
}
if (values.json)
  console.log(JSON.stringify({ results, shape, machine: machine(backend), versions: versions() }));
else {
  const lines = results.map((r) => [
    `${100 * r.promptShare} %`,
    String(r.tokenRatio),
    `${r.speedUp.median} (${r.speedUp.min} to ${r.speedUp.max})`,
    r.difference.toExponential(1),
    r.placement,
  ]);
  const head = ["prompt", "tokens", "times faster", "largest Δ log p", "layout chosen"];
  console.log(`${millions(model)} parameters, ${pairs} pairs of ${row} tokens\n${table([head, ...lines])}`);
}
