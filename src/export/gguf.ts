/** One GGUF file with the tokenizer in it, for llama.cpp and its relatives. */
import { baseName } from "../formats/files.ts";
import { saveGguf } from "../models/save-gguf.ts";
import type { ExportFormat } from "./format.ts";
import { openScorer } from "./language-model-scorer.ts";

const extension = ".gguf";

export const gguf: ExportFormat = {
  id: "gguf",
  summary: "one file, for llama.cpp and its relatives",
  dtypes: ["F32", "F16", "BF16", "Q8_0", "Q4_0"],
  target: { file: extension },
  write: (model, place, { dtype }) =>
    saveGguf(model, place, { dtype, name: baseName(place).slice(0, -extension.length) }),
  open: openScorer,
};
