/** A language model of prefopt's own as a scorer of rows: the source of an export, and files that prefopt itself reads. */
import type { Backend } from "../engine/backends/backend.ts";
import { type LanguageModel, loadLanguageModel } from "../models/language-model.ts";
import { TextScorer } from "../scoring/text-scorer.ts";
import type { RowScorer } from "./format.ts";

/** Scores through the model in memory, which stays when the scorer is released. */
export function scorerOf(model: LanguageModel): RowScorer {
  const scorer = new TextScorer(model);
  return {
    async score(rows) {
      const trees = rows.map((ids) => ({ prompt: ids.slice(0, 1), completions: [ids.slice(1)] }));
      return (await scorer.score(trees)).map(([logps]) => [...logps]);
    },
    release: () => scorer.release(),
  };
}

/** Loads a folder or GGUF file and scores through it. */
export async function openScorer(place: string, backend: Backend): Promise<RowScorer> {
  const model = await loadLanguageModel(place, backend);
  const scorer = scorerOf(model);
  return {
    score: (rows) => scorer.score(rows),
    async release() {
      await scorer.release();
      freeWeights(model);
    },
  };
}

/** Gives a model's weights back; it must not be used afterwards. */
export function freeWeights({ backend, weights, adapter }: LanguageModel): void {
  backend.free(weights.flat.buffer as ArrayBuffer);
  if (adapter) backend.free(adapter.weights.flat.buffer as ArrayBuffer);
}
