/**
 * How fast a training step runs here, against the fastest that this machine multiplies matrices: forward and all gradients
 * of a Llama over full rows, interleaved with MatMul of 1024³ in one process; medians.
 */
import { Option } from "commander";
import { openBackend } from "../../engine/backends/open.ts";
import { adapterSchema } from "../../models/adapter/config.ts";
import { packModel } from "../../models/pack.ts";
import { type PackedId, packedKinds } from "../../nn/packed/table.ts";
import { adaptedModel } from "../../training/adapted-model.ts";
import { integer } from "../input.ts";
import type { Bench } from "./bench.ts";
import { peakMemory } from "./peak-memory.ts";
import { type ShapeOptions, millions, modelOf, shapeArguments, shapeOf } from "./shape.ts";
import { type Spread, seconds, shown, significant, spread } from "./statistics.ts";
import {
  type BatchShape,
  type StepGraphOptions,
  productFlops,
  productProgram,
  stepBatch,
  stepFlops,
  stepProgram,
} from "./step-program.ts";

export interface StepBench {
  /** Model FLOPs a second, in billions. */
  readonly stepGflops: number;
  readonly gemmGflops: number;
  /** stepGflops / gemmGflops */
  readonly fraction: number;
  readonly tokensPerSecond: number;
  readonly peakRssMb: number;
  readonly peakRssIs: string;
  readonly spread: Readonly<Record<"stepMs" | "gemmGflops" | "fraction", Spread>>;
}

interface StepOptions extends ShapeOptions, BatchShape, StepGraphOptions {
  readonly repeats: number;
  /** Rank of an adapter that trains instead of the weights. */
  readonly lora?: number;
  /** How its frozen weights are held. */
  readonly base?: PackedId;
}

/** Products that are timed beside each step. */
const productsPerStep = 10;
const warmUp = 2;

export const step: Bench<StepOptions> = {
  describe: "a training step of a Llama, forward and all gradients, against matrix multiplication",
  example: "prefopt bench step --hidden 768 --layers 4",
  configure(command) {
    shapeArguments(command)
      .option("--rows <n>", "rows of a step", integer("rows", 1), 4)
      .option("--time <n>", "tokens of a row", integer("time", 2), 256)
      .option("--lora <rank>", "train an adapter of this rank instead of the weights", integer("lora", 1))
      .addOption(
        new Option("--base <type>", "how the frozen weights beneath an adapter are held")
          .choices(Object.keys(packedKinds))
          .implies({ lora: 16 }),
      )
      .option("--recompute", "compute layers a second time for their gradients: less memory")
      .option("--repeats <n>", "steps that are timed", integer("repeats", 1), 9);
  },
  async run(options) {
    const backend = await openBackend();
    const shape = shapeOf(options);
    const full = modelOf(shape, backend);
    const plain = options.base ? packModel(full, options.base) : full;
    if (plain !== full) backend.free(full.weights.flat.buffer as ArrayBuffer);
    const peak = peakMemory();
    const setting = options.lora && adapterSchema.parse({ rank: options.lora, alpha: options.lora });
    const model = setting ? await adaptedModel(plain, setting, 1) : plain;
    const batchShape = { rows: options.rows, time: options.time };
    const stepRun = await stepProgram(model, stepBatch(model, batchShape), options);
    const product = await productProgram(backend);
    const times: { step: number; product: number }[] = [];
    for (let i = 0; i < options.repeats + warmUp; i++) {
      const own = await seconds(() => stepRun.run());
      const products: number[] = [];
      for (let k = 0; k < productsPerStep; k++) products.push(await seconds(() => product.run()));
      if (i >= warmUp) times.push({ step: own, product: spread(products, 15).median });
    }
    const flops = stepFlops(model, shape, batchShape);
    const rates = {
      step: spread(times.map((t) => flops / t.step / 1e9)),
      gemm: spread(times.map((t) => productFlops / t.product / 1e9)),
      fraction: spread(times.map((t) => flops / t.step / (productFlops / t.product))),
    };
    const stepMs = spread(times.map((t) => t.step * 1000));
    const result: StepBench = {
      stepGflops: rates.step.median,
      gemmGflops: rates.gemm.median,
      fraction: significant(rates.step.median / rates.gemm.median, 3),
      tokensPerSecond: Math.round((options.rows * options.time * 1000) / stepMs.median),
      ...peak(),
      spread: { stepMs, gemmGflops: rates.gemm, fraction: rates.fraction },
    };
    return {
      json: {
        ...result,
        shape: { ...shape, ...batchShape },
        lora: options.lora,
        base: options.base ?? "float32",
        recompute: options.recompute ?? false,
        repeats: options.repeats,
      },
      rows: [
        ["model", `${millions(model)} parameters, ${options.rows} rows of ${options.time} tokens`],
        ...(options.lora ? [["trains", `an adapter of rank ${options.lora}`] as [string, string]] : []),
        ["step", shown(stepMs, " ms")],
        ["step rate", shown(rates.step, " GFLOP/s")],
        ["MatMul of 1024³", shown(rates.gemm, " GFLOP/s")],
        ["fraction", `${result.fraction} (${rates.fraction.min} to ${rates.fraction.max})`],
        ["tokens/s", String(result.tokensPerSecond)],
        ["peak memory", `${result.peakRssMb} MB (${result.peakRssIs})`],
      ],
    };
  },
};
