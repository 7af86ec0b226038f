/**
 * How long it takes until a training step can run: building the graph with its gradients, writing it as ONNX, and ONNX
 * Runtime's compilation, optimised and not.
 */
import { openBackend } from "../../engine/backends/open.ts";
import { emit } from "../../engine/onnx.ts";
import { integer } from "../input.ts";
import type { Bench } from "./bench.ts";
import { peakMemory } from "./peak-memory.ts";
import { type ShapeOptions, millions, modelOf, shapeArguments, shapeOf } from "./shape.ts";
import { seconds, shown, spread } from "./statistics.ts";
import { type BatchShape, stepBatch, stepGraph } from "./step-program.ts";

type CompileBenchOptions = ShapeOptions & BatchShape & { readonly repeats: number };

export const compile: Bench<CompileBenchOptions> = {
  describe: "from a model to a program that runs its training step",
  example: "prefopt bench compile --layers 30",
  configure(command) {
    shapeArguments(command)
      .option("--rows <n>", "rows of a step", integer("rows", 1), 4)
      .option("--time <n>", "tokens of a row", integer("time", 2), 256)
      .option("--repeats <n>", "compilations that are timed", integer("repeats", 1), 5);
  },
  async run(options) {
    const peak = peakMemory();
    const backend = await openBackend();
    const shape = shapeOf(options);
    const model = modelOf(shape, backend);
    const batchShape = { rows: options.rows, time: options.time };
    const batch = stepBatch(model, batchShape);
    const times = {
      build: [] as number[],
      emit: [] as number[],
      plain: [] as number[],
      optimized: [] as number[],
    };
    let [nodes, bytes] = [0, 0];
    for (let i = 0; i < options.repeats + 1; i++) {
      const own: Record<keyof typeof times, number> = { build: 0, emit: 0, plain: 0, optimized: 0 };
      let made = stepGraph(model, batch);
      own.build = await seconds(async () => (made = stepGraph(model, batch)));
      let onnx: Uint8Array = new Uint8Array();
      own.emit = await seconds(async () => (onnx = emit(made.graph, made.outputs)));
      for (const [name, optimize] of [
        ["plain", false],
        ["optimized", true],
      ] as const) {
        own[name] = await seconds(async () => (await backend.compile(onnx, { optimize })).release());
      }
      [nodes, bytes] = [made.graph.nodes.length, onnx.length];
      if (i > 0)
        for (const name of Object.keys(times) as (keyof typeof times)[]) times[name].push(own[name] * 1000);
    }
    const found = Object.fromEntries(Object.entries(times).map(([name, list]) => [name, spread(list, 3)]));
    const memory = peak();
    return {
      json: {
        milliseconds: found,
        nodes,
        bytes,
        ...memory,
        shape: { ...shape, ...batchShape },
        repeats: options.repeats,
      },
      rows: [
        ["model", `${millions(model)} parameters, ${nodes} nodes, ${Math.round(bytes / 1024)} kB of ONNX`],
        ["graph and gradients", shown(found.build, " ms")],
        ["written as ONNX", shown(found.emit, " ms")],
        ["compiled as it is", shown(found.plain, " ms")],
        ["compiled, optimised", shown(found.optimized, " ms")],
        ["peak memory", `${memory.peakRssMb} MB (${memory.peakRssIs})`],
      ],
    };
  },
};
