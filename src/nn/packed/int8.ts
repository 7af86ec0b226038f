/** One byte a weight: each output row in 255 steps between minus and plus its largest value. */
import { after } from "../../engine/ordering.ts";
import { type PackedKind, sidesOf } from "./packed.ts";

const middle = 128;

export const int8: PackedKind = {
  id: "int8",
  fits: () => true,
  parts(spec) {
    const rows = [sidesOf(spec).output];
    return {
      codes: { dtype: "uint8", shape: spec.shape },
      scales: { dtype: "float", shape: rows },
      zeros: { dtype: "uint8", shape: rows },
    };
  },
  pack(values, spec) {
    const { output } = sidesOf(spec);
    const row = rowOf(spec.shape[1].size, spec.linear === "in-out");
    const scales = new Float32Array(output.size);
    for (let i = 0; i < values.length; i++)
      scales[row(i)] = Math.max(scales[row(i)], Math.abs(values[i]) / (middle - 1));
    const codes = new Uint8Array(values.length);
    for (let i = 0; i < values.length; i++) {
      const scale = scales[row(i)];
      codes[i] = middle + (scale === 0 ? 0 : Math.round(values[i] / scale));
    }
    return { codes, scales, zeros: new Uint8Array(output.size).fill(middle) };
  },
  unpack({ codes, scales }, spec) {
    const row = rowOf(spec.shape[1].size, spec.linear === "in-out");
    const [c, s] = [codes as Uint8Array, scales as Float32Array];
    return Float32Array.from(c, (code, i) => (code - middle) * s[row(i)]);
  },
  tensor({ codes, scales, zeros }, spec, dependency) {
    const { graph } = codes;
    const inputs = [codes, dependency ? after(scales, dependency) : scales, zeros];
    const { outputAxis } = sidesOf(spec);
    return graph.node("DequantizeLinear", inputs, { shape: spec.shape }, { axis: outputAxis });
  },
};

/** The output row of element i of a matrix with so many columns. */
const rowOf = (columns: number, inOut: boolean) => (i: number) =>
  inOut ? i % columns : Math.floor(i / columns);
