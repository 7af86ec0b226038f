/**
 * How fast a training step runs here, against the fastest that this machine multiplies matrices: forward and all gradients
 * of a 34M-parameter Llama over 4 rows of 256 tokens, interleaved with MatMul of 1024³ in one process; medians.
 */
import { openBackend } from "../../engine/backends/open.ts";
import { random } from "../../engine/random.ts";
import { gradients } from "../../engine/gradient.ts";
import { Graph } from "../../engine/graph.ts";
import { div, neg } from "../../engine/ops/elementwise.ts";
import { matmul } from "../../engine/ops/matmul.ts";
import { sum } from "../../engine/ops/reduce.ts";
import { compile } from "../../engine/program.ts";
import { type Tensor, dim } from "../../engine/tensor.ts";
import { newLanguageModel } from "../../models/language-model.ts";
import { ParameterArray, declareWeights } from "../../nn/parameters.ts";
import { pack } from "../../scoring/packing.ts";
import { batchArrays, scoreText } from "../../scoring/text-graph.ts";

export interface StepBench {
  /** Model FLOPs a second: 6·(parameters without the embedding)·tokens + 12·layers·rows·T²·hidden for a step. */
  readonly stepGflops: number;
  readonly gemmGflops: number;
  /** stepGflops / gemmGflops */
  readonly fraction: number;
  readonly tokensPerSecond: number;
  readonly peakRssMb: number;
}

const config = {
  model_type: "llama",
  vocab_size: 8192,
  hidden_size: 512,
  intermediate_size: 1408,
  num_hidden_layers: 8,
  num_attention_heads: 8,
  max_position_embeddings: 512,
};
const [rows, time] = [4, 256];

export async function benchStep(repeats = 9): Promise<StepBench> {
  const backend = await openBackend();
  const model = newLanguageModel(config, 1, backend);
  const { architecture, weights } = model;
  const rng = random(1, "bench");
  // One more token than is scored: the first is only given.
  const records = Array.from({ length: rows }, () => {
    const ids = Array.from({ length: time }, () => rng.integer(config.vocab_size));
    const branches = [[{ role: "completion", ids: ids.slice(1) }]];
    return { trees: [{ prompt: ids.slice(0, 1), branches }] };
  });
  const roles = [{ name: "completion", many: false }];
  const batch = pack(records, roles, architecture.rope);
  // All positions count: the last one of each row predicts a token too.
  batch.index.forEach((_, i) => (batch.index[i] = BigInt(i)));
  batch.targets.forEach((_, i) => (batch.targets[i] = BigInt(rng.integer(config.vocab_size))));

  const graph = new Graph();
  const declared = declareWeights(graph, architecture.parameters);
  const scores = scoreText(graph, architecture, declared.weights, batch.shape, roles);
  const loss = neg(div(sum(scores.roles[0].logps), batch.index.length));
  const outputs: Record<string, Tensor> = { loss };
  gradients(loss, declared.tensors).forEach((g, i) => {
    if (g) outputs[`gradient/${declared.tensors[i].id}`] = g;
  });
  const step = (await compile(backend, graph, outputs)).bind(
    { ...weights.named(), ...batchArrays(batch, roles) },
    ParameterArray.allocate(backend, weights.layout).named("gradient/"),
  );

  const n = 1024;
  const product = new Graph();
  const y = matmul(
    product.input("a", "float", [dim("n", n), dim("k", n)]),
    product.input("b", "float", [dim("k", n), dim("m", n)]),
  );
  const square = () => Float32Array.from({ length: n * n }, () => rng.uniform());
  const gemm = (await compile(backend, product, { y })).bind({ a: square(), b: square() });

  const times = { step: [] as number[], gemm: [] as number[] };
  const timed = async (list: number[], work: () => Promise<void>, counts: boolean) => {
    const start = performance.now();
    await work();
    if (counts) list.push((performance.now() - start) / 1000);
  };
  const warmUp = 2;
  for (let i = 0; i < repeats + warmUp; i++) {
    await timed(times.step, () => step.run(), i >= warmUp);
    for (let k = 0; k < 10; k++) await timed(times.gemm, () => gemm.run(), i >= warmUp);
  }
  const tokens = rows * time;
  const embedding = config.vocab_size * config.hidden_size;
  const flops =
    6 * (weights.flat.length - embedding) * tokens +
    12 * config.num_hidden_layers * rows * time ** 2 * config.hidden_size;
  const stepSeconds = median(times.step);
  const stepGflops = flops / stepSeconds / 1e9;
  const gemmGflops = (2 * n ** 3) / median(times.gemm) / 1e9;
  const round = (x: number, digits: number) => Number(x.toFixed(digits));
  return {
    stepGflops: round(stepGflops, 1),
    gemmGflops: round(gemmGflops, 1),
    fraction: round(stepGflops / gemmGflops, 3),
    tokensPerSecond: Math.round(tokens / stepSeconds),
    peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
  };
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}
