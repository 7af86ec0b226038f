/** Whether this machine has a WebGPU adapter: asked in a process of its own, since a driver that does not work may take its process along. */
import { spawnSync } from "node:child_process";
import { emit } from "../src/engine/onnx.ts";
import { Graph } from "../src/engine/graph.ts";
import { dim } from "../src/engine/tensor.ts";
import { root } from "./command.ts";

const program = `
  const ort = require("onnxruntime-node");
  const model = Buffer.from(process.argv[1], "base64");
  const options = { executionProviders: ["webgpu"], logSeverityLevel: 4 };
  ort.InferenceSession.create(model, options).then(
    (session) => session.run({ x: new ort.Tensor("float32", [1], [1]) }),
  ).then((result) => {
    if (result.y.data[0] !== -1) throw new Error("the adapter does not compute");
    process.exit(0);
  }).catch((error) => {
    console.log(String(error.message).replace(/\\s+/g, " ").trim());
    process.exit(1);
  });
`;

/** Undefined where there is an adapter that computes; else why there is none, which is printed too. */
export function noAdapter(): string | undefined {
  const graph = new Graph();
  const one = [dim("one", 1)];
  const model = emit(graph, { y: graph.node("Neg", [graph.input("x", "float", one)], { shape: one }) });
  const child = spawnSync(process.execPath, ["-e", program, Buffer.from(model).toString("base64")], {
    cwd: root,
    encoding: "utf8",
    timeout: 60_000,
  });
  if (child.status === 0) return undefined;
  const said = child.stdout.trim().split("\n").at(-1) ?? "";
  const why = said.replace(/^.*was false\. /, "") || `the driver ended with ${child.signal ?? child.status}`;
  console.log(
    `skipped: there is no WebGPU adapter (${why}); VK_ICD_FILENAMES may name a Vulkan driver, such as SwiftShader's`,
  );
  return why;
}
