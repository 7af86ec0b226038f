/**
 * Whether a back end computes with images in blocks of 16 channels. ONNX Runtime decides by the processor and says nothing: it has blocks of
 * 16 with AVX-512, of 8 with AVX2, and elsewhere others or none. So a few numbers are put in blocks, to see where they come to lie.
 */
import { blockSize } from "../blocked-products.ts";
import { Graph } from "../graph.ts";
import { blockDomain, emit } from "../onnx.ts";
import { dim } from "../tensor.ts";
import type { Backend } from "./backend.ts";

const asked = new WeakMap<Backend, Promise<Backend>>();

/** The same back end, with `blocked` as it is. */
export function withBlocks<B extends Backend>(backend: B): Promise<B & { readonly blocked: boolean }> {
  const found = asked.get(backend) ?? hasBlocks(backend).then((blocked) => ({ ...backend, blocked }));
  asked.set(backend, found);
  return found as Promise<B & { readonly blocked: boolean }>;
}

async function hasBlocks(backend: Backend): Promise<boolean> {
  if (process.arch !== "x64") return false; // elsewhere nobody has measured whether they are faster
  const [one, points, channels] = [dim("one", 1), dim("points", 2), dim("channels", 2 * blockSize)];
  const graph = new Graph();
  const x = graph.input("x", "float", [one, points, one, channels]);
  const y = graph.node(
    "ReorderInput",
    [x],
    { shape: [one, channels, points, one] },
    { channels_last: 1 },
    blockDomain,
  );
  const data = Float32Array.from({ length: points.size * channels.size }, (_, i) => i);
  const result = new Float32Array(data.length);
  try {
    const session = await backend.compile(emit(graph, { y }), { optimize: false, little: true });
    const binding = session.bind(
      { x: { data, sizes: x.sizes, dtype: "float" } },
      { y: { data: result, sizes: y.sizes, dtype: "float" } },
    );
    await binding.run();
    binding.release();
    session.release();
  } catch {
    return false; // no such operator
  }
  // Both points of the first block, then both of the second.
  const place = (block: number, point: number, channel: number) =>
    point * channels.size + block * blockSize + channel;
  return result.every((value, i) => {
    const [block, rest] = [Math.floor(i / (points.size * blockSize)), i % (points.size * blockSize)];
    return value === place(block, Math.floor(rest / blockSize), rest % blockSize);
  });
}
