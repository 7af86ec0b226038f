/**
 * What can stand in a GGUF file (ggml-org/ggml, docs/gguf.md): the types of metadata values and of tensors, by the numbers
 * that the format gives them. Reader and writer both go by these tables.
 */
import { bf16Values, encodeBf16, encodeF16, f16Values } from "./half.ts";
import { decodeQ2K, decodeQ3K, decodeQ4K, decodeQ5K, decodeQ6K } from "./gguf-k-blocks.ts";
import {
  decodeQ4_0,
  decodeQ4_1,
  decodeQ5_0,
  decodeQ5_1,
  decodeQ8_0,
  encodeQ4_0,
  encodeQ8_0,
} from "./gguf-blocks.ts";

export interface TensorType {
  /** The number of the type in a file. */
  readonly id: number;
  /** Elements of a block; blocks run along the last dimension of a shape, the input of a weight. */
  readonly elements: number;
  /** Bytes of a block. */
  readonly bytes: number;
  /** Whole blocks to float32: `bytes` of n blocks into `out` of n · elements. */
  readonly decode: (bytes: Uint8Array, out: Float32Array) => void;
  /** Float32 to whole blocks, for the types that are written. */
  readonly encode?: (data: Float32Array) => Uint8Array;
}

/** All tensor types that are read, by name. */
export const tensorTypes = {
  F32: { id: 0, elements: 1, bytes: 4, decode: copyBytes, encode: bytesOf },
  F16: { id: 1, elements: 1, bytes: 2, decode: lookUp(f16Values), encode: encodeF16 },
  Q4_0: { id: 2, elements: 32, bytes: 18, decode: decodeQ4_0, encode: encodeQ4_0 },
  Q4_1: { id: 3, elements: 32, bytes: 20, decode: decodeQ4_1 },
  Q5_0: { id: 6, elements: 32, bytes: 22, decode: decodeQ5_0 },
  Q5_1: { id: 7, elements: 32, bytes: 24, decode: decodeQ5_1 },
  Q8_0: { id: 8, elements: 32, bytes: 34, decode: decodeQ8_0, encode: encodeQ8_0 },
  Q2_K: { id: 10, elements: 256, bytes: 84, decode: decodeQ2K },
  Q3_K: { id: 11, elements: 256, bytes: 110, decode: decodeQ3K },
  Q4_K: { id: 12, elements: 256, bytes: 144, decode: decodeQ4K },
  Q5_K: { id: 13, elements: 256, bytes: 176, decode: decodeQ5K },
  Q6_K: { id: 14, elements: 256, bytes: 210, decode: decodeQ6K },
  I8: { id: 24, elements: 1, bytes: 1, decode: from((b, at, n) => new Int8Array(b, at, n)) },
  I16: { id: 25, elements: 1, bytes: 2, decode: from((b, at, n) => new Int16Array(b, at, n)) },
  I32: { id: 26, elements: 1, bytes: 4, decode: from((b, at, n) => new Int32Array(b, at, n)) },
  I64: { id: 27, elements: 1, bytes: 8, decode: decodeI64 },
  F64: { id: 28, elements: 1, bytes: 8, decode: from((b, at, n) => new Float64Array(b, at, n)) },
  BF16: { id: 30, elements: 1, bytes: 2, decode: lookUp(bf16Values), encode: encodeBf16 },
} satisfies Readonly<Record<string, TensorType>>;

export type TensorTypeName = keyof typeof tensorTypes;

/** The types that are written. */
export const writtenTypes = ["F32", "F16", "BF16", "Q8_0", "Q4_0"] as const;
export type WrittenType = (typeof writtenTypes)[number];

/** `general.file_type` of a file whose matrices mostly have a type. */
export const fileTypes: Readonly<Record<WrittenType, number>> = {
  F32: 0,
  F16: 1,
  Q4_0: 2,
  Q8_0: 7,
  BF16: 32,
};

/** Names of tensor types that exist elsewhere and are not read here, for errors. */
export const otherTensorTypes: Readonly<Record<number, string>> = {
  9: "Q8_1",
  15: "Q8_K",
  16: "IQ2_XXS",
  17: "IQ2_XS",
  18: "IQ3_XXS",
  19: "IQ1_S",
  20: "IQ4_NL",
  21: "IQ3_S",
  22: "IQ2_S",
  23: "IQ4_XS",
  29: "IQ1_M",
  34: "TQ1_0",
  35: "TQ2_0",
  39: "MXFP4",
};

export type NumberArray =
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
  | Int32Array
  | Float32Array
  | Float64Array
  | BigUint64Array
  | BigInt64Array;

export interface NumberType {
  readonly id: number;
  /** Arrays of such numbers; a single one is an array of one. */
  readonly array: { new (bytes: ArrayBuffer): NumberArray; readonly BYTES_PER_ELEMENT: number };
}

/** The numbers of metadata, little-endian; bool is one byte, 0 or 1. */
export const numberTypes = {
  u8: { id: 0, array: Uint8Array },
  i8: { id: 1, array: Int8Array },
  u16: { id: 2, array: Uint16Array },
  i16: { id: 3, array: Int16Array },
  u32: { id: 4, array: Uint32Array },
  i32: { id: 5, array: Int32Array },
  f32: { id: 6, array: Float32Array },
  bool: { id: 7, array: Uint8Array },
  u64: { id: 10, array: BigUint64Array },
  i64: { id: 11, array: BigInt64Array },
  f64: { id: 12, array: Float64Array },
} satisfies Readonly<Record<string, NumberType>>;

export type NumberTypeName = keyof typeof numberTypes;
/** Numbers of the two value types that are not numbers. */
export const stringTypeId = 8;
export const arrayTypeId = 9;

function copyBytes(bytes: Uint8Array, out: Float32Array): void {
  bytesOf(out).set(bytes);
}

function bytesOf(data: Float32Array): Uint8Array {
  return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
}

function lookUp(values: () => Float32Array): (bytes: Uint8Array, out: Float32Array) => void {
  return (bytes, out) => {
    const table = values();
    const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, out.length);
    for (let i = 0; i < out.length; i++) out[i] = table[bits[i]];
  };
}

function from(
  view: (buffer: ArrayBufferLike, at: number, length: number) => ArrayLike<number>,
): (bytes: Uint8Array, out: Float32Array) => void {
  return (bytes, out) => out.set(view(bytes.buffer, bytes.byteOffset, out.length));
}

function decodeI64(bytes: Uint8Array, out: Float32Array): void {
  const values = new BigInt64Array(bytes.buffer, bytes.byteOffset, out.length);
  for (let i = 0; i < out.length; i++) out[i] = Number(values[i]);
}
