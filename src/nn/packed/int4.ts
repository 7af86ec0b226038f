/** Half a byte a weight and 4.5 bytes a block: 32 inputs of an output row in 16 steps between their least and their largest. */
import { after } from "../../engine/ordering.ts";
import { dim } from "../../engine/tensor.ts";
import { type PackedKind, sidesOf } from "./packed.ts";
import type { ParameterSpec } from "../parameters.ts";

const block = 32;
const steps = 15;

export const int4: PackedKind = {
  id: "int4",
  fits: (spec) => sidesOf(spec).input.size % block === 0,
  parts(spec) {
    const blocks = blocksShape(spec);
    return {
      codes: { dtype: "uint4", shape: spec.shape },
      scales: { dtype: "float", shape: blocks },
      zeros: { dtype: "uint4", shape: blocks },
    };
  },
  pack(values, spec) {
    const at = blockOf(spec);
    const count = values.length / block;
    const [low, high] = [new Float32Array(count), new Float32Array(count)]; // 0 is always among the values
    for (let i = 0; i < values.length; i++) {
      const b = at(i);
      low[b] = Math.min(low[b], values[i]);
      high[b] = Math.max(high[b], values[i]);
    }
    const scales = low.map((v, b) => (high[b] - v) / steps || 1);
    const zeros = low.map((v, b) => Math.round(-v / scales[b]));
    const codes = values.map((v, i) => {
      const b = at(i);
      return Math.min(steps, Math.max(0, Math.round(v / scales[b]) + zeros[b]));
    });
    return { codes: nibbles(codes), scales, zeros: nibbles(zeros) };
  },
  unpack({ codes, scales, zeros }, spec) {
    const at = blockOf(spec);
    const elements = spec.shape[0].size * spec.shape[1].size;
    const [c, z, s] = [codes as Uint8Array, zeros as Uint8Array, scales as Float32Array];
    return Float32Array.from({ length: elements }, (_, i) => (nibble(c, i) - nibble(z, at(i))) * s[at(i)]);
  },
  tensor({ codes, scales, zeros }, spec, dependency) {
    const { graph } = codes;
    const inputs = [codes, dependency ? after(scales, dependency) : scales, zeros];
    const axis = sidesOf(spec).inputAxis;
    return graph.node("DequantizeLinear", inputs, { shape: spec.shape }, { axis, block_size: block });
  },
};

function blocksShape(spec: ParameterSpec) {
  const { output, input } = sidesOf(spec);
  const blocks = dim("blocks", input.size / block);
  return spec.linear === "in-out" ? [blocks, output] : [output, blocks];
}

/** The block of element i. */
function blockOf(spec: ParameterSpec): (i: number) => number {
  const columns = spec.shape[1].size;
  if (spec.linear === "in-out") return (i) => Math.floor(i / (columns * block)) * columns + (i % columns);
  return (i) => Math.floor(i / block);
}

/** Two numbers a byte, the first in its lower half. */
function nibbles(values: Float32Array): Uint8Array {
  const bytes = new Uint8Array(Math.ceil(values.length / 2));
  values.forEach((v, i) => (bytes[i >> 1] |= v << (4 * (i & 1))));
  return bytes;
}

const nibble = (bytes: Uint8Array, i: number) => (bytes[i >> 1] >> (4 * (i & 1))) & 15;
