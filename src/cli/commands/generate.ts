/** `prefopt generate`: samples, one JSON object a line in and out. */
import { RequestError } from "../../errors.ts";
import { promptIds } from "../../data/rows.ts";
import { generate } from "../../generation/generate.ts";
import { samplingSchema } from "../../generation/sampling.ts";
import { z } from "zod";
import type { CommandModule } from "../command.ts";
import { inputLines, integer, number } from "../input.ts";
import { type ModelOptions, type OpenedModel, modelOptions, openModel, rowBuilder } from "../model.ts";
import { print } from "../output.ts";

interface Options extends ModelOptions {
  temperature: number;
  topK: number;
  topP: number;
  minP: number;
  maxTokens: number;
  n: number;
  seed: number;
  ignoreEos?: boolean;
  prompt?: string;
}

const inputSchema = z.union([
  z.object({ promptIds: z.array(z.number().int().min(0)).min(1) }),
  z.object({ prompt: z.string() }),
  z.object({ messages: z.array(z.object({ role: z.string(), content: z.string() })).min(1) }),
]);

export const command: CommandModule = {
  name: "generate",
  summary:
    "Sample completions: one JSON object a line in (prompt, messages or promptIds), n lines out for each.",
  example: `prefopt generate assets/reviews --prompt "The film is" --n 3 --maxTokens 24`,
  configure(command) {
    modelOptions(command)
      .argument("<model>", "model folder or GGUF file")
      .option("--prompt <text>", "a prompt instead of standard input")
      .option("--temperature <t>", "0 is greedy", number("temperature"), 1)
      .option("--topK <k>", "keep the k likeliest tokens; 0 is off", integer("topK"), 0)
      .option("--topP <p>", "keep the likeliest tokens up to this mass; 1 is off", number("topP"), 1)
      .option("--minP <p>", "drop tokens below this share of the likeliest; 0 is off", number("minP"), 0)
      .option("--maxTokens <n>", "most new tokens", integer("maxTokens", 1), 128)
      .option("--n <n>", "samples of each prompt", integer("n", 1), 1)
      .option("--seed <n>", "seed of the random numbers", integer("seed"), 1)
      .option("--ignoreEos", "go on after end tokens")
      .option("--json", "the output is JSON in any case")
      .action(async (path: string, options: Options) => {
        checkSampling(options);
        const opened = await openModel(path, options);
        const prompts: number[][] = [];
        if (options.prompt !== undefined) prompts.push(idsOf({ prompt: options.prompt }, "--prompt", opened));
        else
          for await (const { line, value } of inputLines())
            prompts.push(idsOf(value, `standard input:${line}`, opened));
        const { endIds } = rowBuilder(opened);
        for (const samples of await generate(opened.model, prompts, { ...options, endIds })) {
          for (const { ids, logps, finish } of samples) {
            const text = opened.tokenizer?.decode(ids, { skipSpecialTokens: true }) ?? null;
            await print(`${JSON.stringify({ text, ids, logps, finish })}\n`);
          }
        }
      });
  },
};

function checkSampling({ temperature, topK, topP, minP }: Options): void {
  const result = samplingSchema.safeParse({ temperature, topK, topP, minP });
  if (result.success) return;
  const { path, message } = result.error.issues[0];
  throw new RequestError({
    code: "option-invalid",
    what: `--${path.join(".")} is out of range`,
    why: message,
  });
}

function idsOf(value: unknown, where: string, { model, tokenizer }: OpenedModel): number[] {
  const result = inputSchema.safeParse(value);
  if (!result.success) {
    throw new RequestError({
      code: "prompt-invalid",
      what: "is not a prompt",
      where,
      why: "it has none of prompt, messages and promptIds",
      fix: 'Write for example {"prompt": "The film is"}',
    });
  }
  const given = result.data;
  if ("promptIds" in given) {
    const bad = given.promptIds.find((id) => id >= model.architecture.vocabularySize);
    if (bad === undefined) return given.promptIds;
    throw new RequestError({
      code: "prompt-invalid",
      what: `token id ${bad} does not exist`,
      where,
      why: `the model's vocabulary has ${model.architecture.vocabularySize} tokens`,
    });
  }
  if (!tokenizer)
    throw new RequestError({
      code: "no-tokenizer",
      what: "the prompt is text and the model has no tokenizer",
      where,
      fix: "Give promptIds, or add tokenizer.json to the model's folder",
    });
  return promptIds("prompt" in given ? given.prompt : given.messages, tokenizer);
}
