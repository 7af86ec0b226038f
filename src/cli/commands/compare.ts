/** `prefopt compare`: how often one model's sample is preferred to another's on the same prompts. */
import type { CommandModule } from "../command.ts";
import { integer } from "../input.ts";
import { modelOptions } from "../model.ts";
import { print, printJson } from "../output.ts";
import { type MeasureOptions, measure } from "./evaluate.ts";

export const command: CommandModule = {
  name: "compare",
  summary:
    "Win rate of model A against model B on the same prompts under a reward function, with a bootstrap interval.",
  example: "prefopt compare runs/first assets/reviews --prompts assets/preferences/test.jsonl",
  configure(command) {
    modelOptions(command)
      .argument("<a>", "model or run folder")
      .argument("<b>", "model or run folder")
      .requiredOption("--prompts <file>", "records whose prompts are sampled")
      .option("--count <n>", "different prompts to take", integer("count", 1), 256)
      .option("--maxTokens <n>", "most new tokens", integer("maxTokens", 1), 32)
      .option("--seed <n>", "seed of the random numbers", integer("seed"), 1)
      .option("--reward <name>", "reward function", "sentiment")
      .option("--json", "print one line of JSON")
      .action(async (a: string, b: string, options: MeasureOptions) => {
        const result = (await measure(a, { ...options, reference: b })) as {
          winRate: { mean: number; low: number; high: number };
          reward: number;
          referenceReward: number;
          prompts: number;
          kl: number;
        };
        const { winRate, reward, referenceReward, prompts, kl } = result;
        if (options.json)
          return printJson({ a, b, prompts, rewardA: reward, rewardB: referenceReward, winRate, kl });
        const percent = (x: number) => `${(100 * x).toFixed(1)} %`;
        await print(
          `${a} is preferred to ${b} on ${percent(winRate.mean)} of ${prompts} prompts (95 %: ${percent(winRate.low)} to ${percent(winRate.high)}; ties count half)\n` +
            `mean ${options.reward}: ${reward.toFixed(3)} against ${referenceReward.toFixed(3)}; KL ${kl.toFixed(2)} nats a sequence\n`,
        );
      });
  },
};
