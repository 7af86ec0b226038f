/**
 * Samples of a model on held-out prompts, and what they are worth: reward, length, variety, and how far the policy has moved
 * from its reference (sequence-level KL, estimated on the policy's own samples and summed through the end token).
 */
import { RequestError } from "../errors.ts";
import type { RewardFunction } from "../feedback/reward.ts";
import { type GenerateOptions, generate } from "../generation/generate.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { distinctN, mean, repetition, standardError } from "./text-metrics.ts";

export interface Sample {
  /** Text of the prompt, without special tokens. */
  readonly prompt: string;
  readonly completion: string;
  readonly promptIds: readonly number[];
  /** End token included. */
  readonly ids: readonly number[];
  readonly finish: "end" | "length";
  readonly reward: number;
}

export interface SampleOptions extends Pick<
  GenerateOptions,
  "maxTokens" | "seed" | "signal" | "onProgress" | "endIds"
> {
  readonly reward: RewardFunction;
}

/** One sample of each prompt at temperature 1 without filters, scored by the reward function. */
export async function sampleModel(
  model: LanguageModel,
  tokenizer: Tokenizer,
  prompts: readonly (readonly number[])[],
  { reward, ...options }: SampleOptions,
): Promise<Sample[]> {
  const generated = await generate(model, prompts, { ...options, temperature: 1, n: 1 });
  const text = (ids: readonly number[]) => tokenizer.decode(ids, { skipSpecialTokens: true });
  return Promise.all(
    generated.map(async ([{ ids, finish }], i): Promise<Sample> => {
      const [prompt, completion] = [text(prompts[i]), text(ids)];
      const score = await reward.score(prompt, completion);
      if (!Number.isFinite(score)) {
        throw new RequestError({
          code: "reward-not-finite",
          what: `reward ${reward.id} gave ${score}`,
          where: `sample ${i + 1}: ${prompt}${completion}`,
        });
      }
      return { prompt, completion, promptIds: prompts[i], ids, finish, reward: score };
    }),
  );
}

export interface SampleMetrics {
  /** Mean reward and its standard error. */
  readonly reward: number;
  readonly rewardError: number;
  /** Mean number of tokens, end token included. */
  readonly length: number;
  /** Share that ended before the limit. */
  readonly ended: number;
  readonly repetition: number;
  readonly distinct1: number;
  readonly distinct2: number;
}

export function sampleMetrics(samples: readonly Sample[]): SampleMetrics {
  const rewards = samples.map((s) => s.reward);
  const texts = samples.map((s) => s.completion);
  return {
    reward: mean(rewards),
    rewardError: standardError(rewards),
    length: mean(samples.map((s) => s.ids.length)),
    ended: mean(samples.map((s) => Number(s.finish === "end"))),
    repetition: repetition(texts),
    distinct1: distinctN(texts, 1),
    distinct2: distinctN(texts, 2),
  };
}

export interface KlEstimate {
  /** Nats a sequence. */
  readonly kl: number;
  readonly klError: number;
}

/** KL(policy ‖ reference) of whole sequences: the mean over the policy's samples of Σ_t log π(y_t) - log π_ref(y_t). */
export async function sequenceKl(
  samples: readonly Sample[],
  policy: LanguageModel,
  reference: LanguageModel,
): Promise<KlEstimate> {
  const trees = samples.map((s) => ({ prompt: s.promptIds, completions: [s.ids] }));
  const scoredBy = async (model: LanguageModel) => {
    const scorer = new TextScorer(model);
    return scorer.score(trees).finally(() => scorer.release());
  };
  const [own, other] = [await scoredBy(policy), await scoredBy(reference)];
  const ratios = own.map(([logps], i) => logps.reduce((sum, logp, t) => sum + logp - other[i][0][t], 0));
  return { kl: mean(ratios), klError: standardError(ratios) };
}
