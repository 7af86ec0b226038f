/** A Hugging Face folder: what `transformers`, and everything that reads its models, loads as it is. */
import { saveLanguageModel } from "../models/language-model.ts";
import type { ExportFormat } from "./format.ts";
import { openScorer } from "./language-model-scorer.ts";

const dtypes = ["F32", "F16", "BF16"] as const;

export const safetensors: ExportFormat = {
  id: "safetensors",
  summary: "a Hugging Face folder, for transformers and whatever reads its models",
  dtypes,
  target: "folder",
  async write(model, place, { dtype }) {
    await saveLanguageModel(model, place, { dtype: dtypes.find((d) => d === dtype) });
    return [];
  },
  open: openScorer,
};
