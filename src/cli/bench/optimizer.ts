/**
 * What an update costs: every optimizer, and the norm of gradients, over the parameters of a Llama; nanoseconds a
 * parameter, interleaved with a plain copy of memory in one process.
 */
import { openBackend } from "../../engine/backends/open.ts";
import { ParameterArray } from "../../nn/parameters.ts";
import { gradientNorm } from "../../optim/gradient-norm.ts";
import { groupsOf } from "../../optim/groups.ts";
import { optimizerNames, optimizerNamed } from "../../optim/table.ts";
import { integer } from "../input.ts";
import type { Bench } from "./bench.ts";
import { peakMemory } from "./peak-memory.ts";
import { type ShapeOptions, millions, modelOf, shapeArguments, shapeOf } from "./shape.ts";
import { type Spread, seconds, shown, spread } from "./statistics.ts";

type OptimizerBenchOptions = ShapeOptions & { readonly repeats: number; readonly optimizer?: string };

interface Measured {
  readonly run: () => Promise<unknown>;
  readonly release: () => void;
}

export const optimizer: Bench<OptimizerBenchOptions> = {
  describe: "an update of all parameters, for every optimizer",
  example: "prefopt bench optimizer --optimizer adamw",
  configure(command) {
    shapeArguments(command)
      .option("--optimizer <name>", `only this one of ${optimizerNames.join(", ")}`)
      .option("--repeats <n>", "updates that are timed", integer("repeats", 1), 9);
  },
  async run(options) {
    const peak = peakMemory();
    const names = options.optimizer === undefined ? optimizerNames : [options.optimizer];
    names.forEach((name) => optimizerNamed(name, "--optimizer"));
    const backend = await openBackend();
    const shape = shapeOf(options);
    const model = modelOf(shape, backend);
    const { weights } = model;
    const { layout } = weights;
    const gradients = ParameterArray.allocate(backend, layout);
    gradients.flat.forEach((_, i) => (gradients.flat[i] = ((i * 7919) % 1000) / 1e6 - 5e-4));
    const scratch = ParameterArray.allocate(backend, layout);
    const [groups] = groupsOf([{ layout, prefix: "" }], { learningRate: 1, weightDecay: 0, groups: [] });
    const makers: Record<string, () => Promise<Measured>> = {
      norm: async () => {
        const { measure, release } = await gradientNorm(backend, gradients);
        return { run: measure, release };
      },
      ...Object.fromEntries(
        names.map((name) => [
          name,
          async () => {
            const made = await optimizerNamed(name).create({ backend, weights, gradients, groups }, {});
            let count = 0;
            return { run: () => made.update(++count, 1e-6, 1), release: () => made.release() };
          },
        ]),
      ),
    };
    const copy = async () => void scratch.flat.set(gradients.flat);
    const perParameter = (s: number) => (s * 1e9) / layout.elements;
    const found: Record<string, Spread> = {};
    const copies: number[] = [];
    // One after another, as moments of all at once would need much memory; a copy beside each.
    for (const [name, make] of Object.entries(makers)) {
      const { run, release } = await make();
      const times: number[] = [];
      for (let i = 0; i < options.repeats + 1; i++) {
        const [own, copied] = [await seconds(run), await seconds(copy)];
        if (i === 0) continue;
        times.push(perParameter(own));
        copies.push(perParameter(copied));
      }
      found[name] = spread(times, 3);
      release();
    }
    const copied = spread(copies, 3);
    const memory = peak();
    return {
      json: {
        nanosecondsPerParameter: { ...found, copy: copied },
        parameters: layout.elements,
        ...memory,
        shape,
        repeats: options.repeats,
      },
      rows: [
        ["parameters", millions(model)],
        ...Object.entries(found).map(([name, s]) => [name, shown(s, " ns a parameter")]),
        ["copy of memory", shown(copied, " ns a parameter")],
        ["peak memory", `${memory.peakRssMb} MB (${memory.peakRssIs})`],
      ],
    };
  },
};
