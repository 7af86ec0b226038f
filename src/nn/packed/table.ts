/** The ways to hold frozen matrices, by name. */
import { bfloat16 } from "./bfloat16.ts";
import { int4 } from "./int4.ts";
import { int8 } from "./int8.ts";
import type { PackedKind, PackedMatrix } from "./packed.ts";
import type { ParameterSpec } from "../parameters.ts";

export const packedKinds = { bfloat16, int8, int4 } satisfies Record<string, PackedKind>;

export type PackedId = keyof typeof packedKinds;

/** Packs a matrix; one whose shape does not fit the kind, in 8 bits. */
export function packed(id: PackedId, values: Float32Array, spec: ParameterSpec): PackedMatrix {
  const kind: PackedKind = packedKinds[id].fits(spec) ? packedKinds[id] : int8;
  return { kind, spec, arrays: kind.pack(values, spec) };
}
