/** A folder with an ONNX graph, for transformers.js in Node and browsers, and for ONNX Runtime everywhere. */
import type { ExportFormat } from "./format.ts";
import { openOnnx } from "./onnx/session.ts";
import { writeOnnx } from "./onnx/write.ts";

export const onnx: ExportFormat = {
  id: "onnx",
  summary: "a folder with an ONNX graph, for transformers.js and ONNX Runtime",
  dtypes: ["F32"],
  target: "folder",
  write: writeOnnx,
  open: openOnnx,
};
