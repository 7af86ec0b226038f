/** `prefopt evaluate`: what a model's samples are worth, and how far it is from a reference. */
import { sampleMetrics, sampleModel, sequenceKl } from "../../evaluation/samples.ts";
import { winRate } from "../../evaluation/win-rate.ts";
import { RequestError } from "../../errors.ts";
import { rewardNamed } from "../../feedback/reward.ts";
import type { CommandModule } from "../command.ts";
import { integer } from "../input.ts";
import { type ModelOptions, modelOptions, openModel, rowBuilder } from "../model.ts";
import { print, printJson, table } from "../output.ts";
import { ProgressLine } from "../progress.ts";
import { promptsOf } from "../prompts.ts";

export interface MeasureOptions extends ModelOptions {
  prompts: string;
  count: number;
  maxTokens: number;
  seed: number;
  reward: string;
  reference?: string;
  json?: boolean;
}

export const command: CommandModule = {
  name: "evaluate",
  summary:
    "Sample a model on prompts and measure reward, length, repetition, variety; with --reference also KL and win rate.",
  example: "prefopt evaluate runs/first --prompts assets/preferences/test.jsonl --reference assets/reviews",
  configure(command) {
    modelOptions(command)
      .argument("<model>", "model or run folder")
      .requiredOption("--prompts <file>", "records whose prompts are sampled")
      .option("--count <n>", "different prompts to take", integer("count", 1), 256)
      .option("--maxTokens <n>", "most new tokens", integer("maxTokens", 1), 32)
      .option("--seed <n>", "seed of the random numbers", integer("seed"), 1)
      .option("--reward <name>", "reward function", "sentiment")
      .option("--reference <model>", "model to measure KL and win rate against")
      .option("--json", "print one line of JSON")
      .action(async (path: string, options: MeasureOptions) => {
        const result = await measure(path, options);
        if (options.json) return printJson(result);
        const rows = Object.entries(result).map(([name, v]) => [
          name,
          typeof v === "number" ? String(Number(v.toFixed(4))) : JSON.stringify(v),
        ]);
        await print(`${table(rows)}\n`);
      });
  },
};

/** All measures of one model. */
export async function measure(path: string, options: MeasureOptions): Promise<Record<string, unknown>> {
  const progress = new ProgressLine(process.stderr);
  const reward = await rewardNamed(options.reward);
  const opened = await openModel(path, options);
  const { tokenizer, model } = opened;
  if (!tokenizer)
    throw new RequestError({
      code: "no-tokenizer",
      what: "the model has no tokenizer",
      where: path,
      fix: "Add tokenizer.json to its folder",
    });
  const prompts = await promptsOf(options.prompts, tokenizer, options.count);
  const sampling = {
    reward,
    maxTokens: options.maxTokens,
    seed: options.seed,
    onProgress: (done: number, total: number) => progress.update(`sampled ${done} of ${total}`),
  };
  const samples = await sampleModel(model, tokenizer, prompts, {
    ...sampling,
    endIds: rowBuilder(opened).endIds,
  });
  const own = { model: path, prompts: prompts.length, rewardFunction: reward.id, ...sampleMetrics(samples) };
  if (options.reference === undefined) {
    progress.clear();
    return own;
  }
  const reference = await openModel(options.reference, options);
  const others = await sampleModel(reference.model, reference.tokenizer ?? tokenizer, prompts, {
    ...sampling,
    endIds: rowBuilder(reference).endIds,
  });
  const kl = await sequenceKl(samples, model, reference.model);
  progress.clear();
  return {
    ...own,
    reference: options.reference,
    referenceReward: sampleMetrics(others).reward,
    ...kl,
    winRate: winRate(
      samples.map((s) => s.reward),
      others.map((s) => s.reward),
    ),
  };
}
