/** How fast a Llama samples: reading prompts, and decoding one token a sequence at a time, at several numbers of sequences. */
import { openBackend } from "../../engine/backends/open.ts";
import { random } from "../../engine/random.ts";
import { Decoder } from "../../generation/decoder.ts";
import { integer } from "../input.ts";
import type { Bench } from "./bench.ts";
import { peakMemory } from "./peak-memory.ts";
import { type ShapeOptions, millions, modelOf, shapeArguments, shapeOf } from "./shape.ts";
import { type Spread, seconds, shown, significant, spread } from "./statistics.ts";

interface GenerateBenchOptions extends ShapeOptions {
  readonly batch: readonly number[];
  readonly prompt: number;
  readonly tokens: number;
  readonly repeats: number;
}

interface Decoding {
  readonly sequences: number;
  readonly promptTokensPerSecond: Spread;
  readonly stepMs: Spread;
  readonly tokensPerSecond: number;
  /** Weights read a second by decoding, every step once. */
  readonly weightGbPerSecond: number;
}

export const generate: Bench<GenerateBenchOptions> = {
  describe: "sampling: reading prompts and decoding",
  example: "prefopt bench generate --batch 1,16",
  configure(command) {
    const batch = (value: string) => value.split(",").map(integer("batch", 1));
    shapeArguments(command)
      .option("--batch <list>", "sequences decoded together, several separated by commas", batch, [1, 16])
      .option("--prompt <n>", "tokens of a prompt", integer("prompt", 1), 64)
      .option("--tokens <n>", "tokens that are decoded", integer("tokens", 1), 32)
      .option("--repeats <n>", "prompts and decodings that are timed", integer("repeats", 1), 5);
  },
  async run(options) {
    const peak = peakMemory();
    const backend = await openBackend();
    const shape = shapeOf(options);
    const model = modelOf(shape, backend);
    const rng = random(1, "prompts");
    const capacity = options.prompt + options.tokens;
    const found: Decoding[] = [];
    for (const sequences of options.batch) {
      const decoder = new Decoder(model, sequences, capacity);
      const prompts = Array.from({ length: sequences }, (_, slot) => ({
        slot,
        ids: Array.from({ length: options.prompt }, () => rng.integer(shape.vocabulary)),
      }));
      const [read, step]: number[][] = [[], []];
      for (let i = 0; i < options.repeats + 1; i++) {
        const reading = await seconds(() => decoder.read(prompts));
        if (i > 0) read.push((sequences * options.prompt) / reading);
        for (let t = 0; t < options.tokens; t++) {
          const own = await seconds(() => decoder.step(prompts.map(() => rng.integer(shape.vocabulary))));
          if (i > 0) step.push(own * 1000);
        }
      }
      await decoder.release();
      const stepMs = spread(step, 3);
      const embedding = shape.vocabulary * shape.hidden; // only looked up
      found.push({
        sequences,
        promptTokensPerSecond: spread(read, 3),
        stepMs,
        tokensPerSecond: significant((sequences * 1000) / stepMs.median, 3),
        weightGbPerSecond: significant(
          ((model.weights.flat.length - embedding) * 4) / stepMs.median / 1e6,
          3,
        ),
      });
    }
    const memory = peak();
    const { prompt, tokens, repeats } = options;
    return {
      json: { decoding: found, ...memory, shape, prompt, tokens, repeats },
      rows: [
        ["model", `${millions(model)} parameters, prompts of ${prompt} tokens, ${tokens} decoded`],
        ...found.flatMap((d) => [
          [`${d.sequences} at a time: reading`, shown(d.promptTokensPerSecond, " tokens/s")],
          [`${d.sequences} at a time: a step`, shown(d.stepMs, " ms")],
          [
            `${d.sequences} at a time: decoding`,
            `${d.tokensPerSecond} tokens/s, ${d.weightGbPerSecond} GB/s of weights`,
          ],
        ]),
        ["peak memory", `${memory.peakRssMb} MB (${memory.peakRssIs})`],
      ],
    };
  },
};
