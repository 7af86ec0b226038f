/** The folder of an adapter alone, as Python's `peft` loads it beside the model that it was trained on. */
import { RequestError } from "../errors.ts";
import { saveAdapter } from "../models/language-model.ts";
import type { ExportFormat } from "./format.ts";
import { openScorer } from "./language-model-scorer.ts";

export const adapter: ExportFormat = {
  id: "adapter",
  summary: "an adapter's folder without the model beneath it, for peft",
  dtypes: ["F32"],
  target: "folder",
  keepsAdapter: true,
  async write(model, place) {
    if (!model.adapter)
      throw new RequestError({
        code: "no-adapter",
        what: "has no adapter",
        where: model.folder ?? "the model",
        why: "all of its weights are its own",
        fix: "Export it with --to safetensors",
      });
    await saveAdapter(model, place);
    return [];
  },
  open: openScorer,
};
