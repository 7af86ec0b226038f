/** Two bytes a weight: the upper half of a float32, rounded to the nearest. Exact for models that were stored so. */
import { after } from "../../engine/ordering.ts";
import type { PackedKind } from "./packed.ts";

export const bfloat16: PackedKind = {
  id: "bfloat16",
  fits: () => true,
  parts: ({ shape }) => ({ values: { dtype: "bfloat16", shape } }),
  pack(values) {
    const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
    // Ties go to the even one; a carry goes into the exponent, as it should.
    return { values: Uint16Array.from(bits, (b) => (b + 0x7fff + ((b >>> 16) & 1)) >>> 16) };
  },
  unpack({ values }) {
    const bits = Uint32Array.from(values as Uint16Array, (b) => b << 16);
    return new Float32Array(bits.buffer);
  },
  tensor({ values }, { shape }, dependency) {
    const { graph } = values;
    const wide = graph.node("Cast", [values], { shape }, { to: 1 });
    return dependency ? after(wide, dependency) : wide;
  },
};
