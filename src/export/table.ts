/** The formats that a model can be exported to, by the names of `--to`. */
import type { ExportFormat } from "./format.ts";
import { adapter } from "./adapter.ts";
import { gguf } from "./gguf.ts";
import { onnx } from "./onnx.ts";
import { safetensors } from "./safetensors.ts";

export const exportFormats: Readonly<Record<string, ExportFormat>> = Object.fromEntries(
  [safetensors, onnx, gguf, adapter].map((format) => [format.id, format]),
);
