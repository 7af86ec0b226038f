/**
 * Samples completions of prompts, many at once: prompts wait for a free slot of the decoder, finished ones leave theirs.
 * Every sample has a random stream of its own, named by seed, prompt and number, so results do not depend on
 * which prompts happen to be decoded together.
 */
import { type Rng, random } from "../engine/random.ts";
import { RequestError } from "../errors.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { roundedUp } from "../scoring/pack-shape.ts";
import { Decoder } from "./decoder.ts";
import { type Sampling, draw, samplingSchema } from "./sampling.ts";

export interface GenerateOptions extends Partial<Sampling> {
  /** Most new tokens, the end token included. */
  maxTokens?: number;
  /** Samples of each prompt. */
  n?: number;
  seed?: number;
  /** Go on after end tokens. */
  ignoreEos?: boolean;
  /** Ids that end a completion; default: the model's. */
  endIds?: readonly number[];
  /** Called with every drawn token. */
  onToken?: (prompt: number, sample: number, id: number) => void;
  /** Called when a completion is done, with the number done so far. */
  onProgress?: (done: number, total: number) => void;
  /** Stops between tokens. */
  signal?: AbortSignal;
}

export interface Generated {
  /** New tokens, the end token included. */
  ids: number[];
  /** Log-probability of each under the unfiltered distribution at temperature 1. */
  logps: number[];
  finish: "end" | "length";
}

/** Memory that caches may take. */
const cacheBytes = 512 * 2 ** 20;
const mostSlots = 64;

interface Job extends Generated {
  readonly prompt: number;
  readonly sample: number;
  readonly ids: number[];
  readonly room: number;
  readonly rng: Rng;
}

/** Completions of each prompt: result[prompt][sample]. Throws when a prompt leaves no room in the model's context. */
export async function generate(
  model: LanguageModel,
  prompts: readonly (readonly number[])[],
  options: GenerateOptions = {},
): Promise<Generated[][]> {
  const {
    maxTokens = 128,
    n = 1,
    seed = 1,
    ignoreEos = false,
    endIds = model.endIds,
    onToken,
    onProgress,
    signal,
  } = options;
  const sampling = samplingSchema.parse(pickSampling(options));
  const ends = new Set(ignoreEos ? [] : endIds);
  const jobs = prompts.flatMap((prompt, p) =>
    Array.from({ length: n }, (_, s): Job => ({
      prompt: p,
      sample: s,
      ids: [],
      logps: [],
      finish: "length",
      room: roomFor(model, prompt, p, maxTokens),
      rng: random(seed, "sample", p, s),
    })),
  );
  const results = prompts.map((_, p) =>
    jobs.filter((j) => j.prompt === p).map(({ ids, logps }): Generated => ({ ids, logps, finish: "length" })),
  );
  if (jobs.length === 0) return results;

  const longest = Math.max(...jobs.map((j) => prompts[j.prompt].length + j.room));
  const capacity = roundedUp(longest);
  const { layers, attention } = model.architecture;
  const slotBytes = layers * 2 * attention.kvHeads * capacity * attention.headDim * 4;
  const slots = Math.max(
    1,
    Math.min(roundedUp(jobs.length, 4), mostSlots, Math.floor(cacheBytes / slotBytes)),
  );
  const decoder = new Decoder(model, slots, capacity);
  const vocabulary = model.architecture.vocabularySize;
  const active: (Job | undefined)[] = new Array<Job | undefined>(slots).fill(undefined);
  const waiting = [...jobs];
  let done = 0;

  /** Draws the next token of a job; true while the job goes on. */
  const advance = (job: Job, logits: Float32Array): boolean => {
    const { id, logp } = draw(logits, sampling, job.rng.uniform());
    job.ids.push(id);
    job.logps.push(logp);
    onToken?.(job.prompt, job.sample, id);
    const ended = ends.has(id);
    if (!ended && job.ids.length < job.room) return true;
    results[job.prompt][job.sample].finish = ended ? "end" : "length";
    onProgress?.(++done, jobs.length);
    return false;
  };

  try {
    while (waiting.length > 0 || active.some(Boolean)) {
      signal?.throwIfAborted();
      const free = active.flatMap((job, slot) => (job ? [] : [slot]));
      const enough = Math.min(waiting.length, Math.max(1, slots / 4));
      if (waiting.length > 0 && free.length >= enough) {
        const taken = free
          .slice(0, waiting.length)
          .map((slot) => ({ slot, job: waiting.shift() }))
          .filter(hasJob);
        const logits = await decoder.read(taken.map(({ slot, job }) => ({ slot, ids: prompts[job.prompt] })));
        taken.forEach(({ slot, job }, i) => {
          const goesOn = advance(job, logits[i]);
          if (goesOn) active[slot] = job;
          else decoder.clear(slot);
        });
        continue;
      }
      const crossing = active.flatMap((job, slot) =>
        job && changesRegime(model, prompts[job.prompt], job) ? [{ slot, job }] : [],
      );
      if (crossing.length > 0) {
        // Cached keys do not fit the longer row any more: it is read anew, which also gives its next logits.
        const fresh = await decoder.read(
          crossing.map(({ slot, job }) => ({ slot, ids: [...prompts[job.prompt], ...job.ids] })),
        );
        crossing.forEach(({ slot, job }, i) => {
          if (advance(job, fresh[i])) return;
          active[slot] = undefined;
          decoder.clear(slot);
        });
        continue;
      }
      const logits = await decoder.step(active.map((job) => job?.ids.at(-1) ?? 0));
      active.forEach((job, slot) => {
        if (job && advance(job, logits.subarray(slot * vocabulary, (slot + 1) * vocabulary))) return;
        active[slot] = undefined;
        decoder.clear(slot);
      });
    }
  } finally {
    await decoder.release();
  }
  return results;
}

/** Whether a job's last token takes its row across a change of rotary frequencies. */
function changesRegime(
  { architecture: { rope } }: LanguageModel,
  prompt: readonly number[],
  { ids }: Job,
): boolean {
  const length = prompt.length + ids.length;
  return rope.regime(length) !== rope.regime(length - 1);
}

function hasJob(x: { slot: number; job: Job | undefined }): x is { slot: number; job: Job } {
  return x.job !== undefined;
}

function pickSampling({ temperature, topK, topP, minP }: GenerateOptions): Partial<Sampling> {
  return { temperature, topK, topP, minP };
}

/** New tokens that fit after a prompt. */
function roomFor(model: LanguageModel, prompt: readonly number[], index: number, maxTokens: number): number {
  const { context } = model.architecture;
  const where = `prompt ${index + 1}`;
  if (prompt.length === 0) {
    throw new RequestError({
      code: "empty-prompt",
      what: "the prompt has no tokens",
      where,
      fix: "Give at least one token, for example the model's begin token",
    });
  }
  if (prompt.length >= context) {
    throw new RequestError({
      code: "prompt-too-long",
      what: `the prompt has ${prompt.length} tokens`,
      where,
      why: `the model's context is ${context} and leaves no room for a completion`,
      fix: "Shorten the prompt",
    });
  }
  return Math.min(maxTokens, context - prompt.length);
}
