/**
 * Writes GGUF files, version 3, whole or not at all. Tensors are encoded piece by piece while they are written, so that
 * nothing of the model's size is made beside the model.
 */
import { WorkError } from "../errors.ts";
import { writeFileAtomic } from "./files.ts";
import type { GgufMetadata, GgufValue } from "./gguf-metadata.ts";
import {
  type NumberArray,
  type TensorType,
  type WrittenType,
  arrayTypeId,
  numberTypes,
  stringTypeId,
  tensorTypes,
} from "./gguf-types.ts";

export interface GgufTensorData {
  /** Shorter than 64 bytes. */
  readonly name: string;
  /** Rows first, as in PyTorch. */
  readonly shape: readonly number[];
  readonly type: WrittenType;
  /** The values, made when their turn comes. */
  readonly data: () => Float32Array;
}

const alignment = 32;
/** Elements that are encoded at once; a multiple of every block. */
const pieceElements = 1 << 20;

/** Whether rows of this many elements can be written in a type. */
export const fits = (type: WrittenType, row: number): boolean => row % tensorTypes[type].elements === 0;

/** Writes metadata and tensors in their order. Throws a WorkError for a tensor that the type cannot hold. */
export async function writeGguf(
  path: string,
  metadata: GgufMetadata,
  tensors: readonly GgufTensorData[],
): Promise<void> {
  for (const tensor of tensors) check(tensor, path);
  await writeFileAtomic(path, parts());

  function* parts(): Generator<Uint8Array> {
    const header = new ByteWriter();
    header.bytes(new TextEncoder().encode("GGUF"));
    header.u32(3);
    header.u64(tensors.length);
    header.u64(metadata.size);
    for (const [key, value] of metadata) {
      header.string(key);
      writeValue(header, value);
    }
    let at = 0;
    for (const tensor of tensors) {
      const { name, shape, type } = tensor;
      header.string(name);
      header.u32(shape.length);
      for (const size of shape.toReversed()) header.u64(size);
      header.u32(tensorTypes[type].id);
      header.u64(at);
      at += padded(bytesOf(tensor));
    }
    header.bytes(padding(header.length));
    yield header.done();
    for (const tensor of tensors) {
      yield* encoded(tensor, path);
      yield padding(bytesOf(tensor));
    }
  }
}

const elementsOf = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const padded = (n: number) => Math.ceil(n / alignment) * alignment;
const padding = (n: number) => new Uint8Array(padded(n) - n);

function bytesOf({ shape, type }: GgufTensorData): number {
  return (elementsOf(shape) / tensorTypes[type].elements) * tensorTypes[type].bytes;
}

function* encoded(tensor: GgufTensorData, path: string): Generator<Uint8Array> {
  const data = tensor.data();
  if (data.length !== elementsOf(tensor.shape))
    throw new RangeError(`${tensor.name}: ${data.length} values for shape [${tensor.shape.join(", ")}]`);
  const { encode, elements }: TensorType = tensorTypes[tensor.type];
  for (let at = 0; at < data.length; at += pieceElements) {
    const piece = data.subarray(at, at + pieceElements);
    // A block's scale is made from its largest value: one that is not finite would spoil its neighbours without a trace.
    if (elements > 1 && !piece.every(Number.isFinite))
      throw cannotHold(tensor, path, "it has values that are not finite", "Write F32, F16 or BF16");
    if (encode) yield encode(piece);
  }
}

function check(tensor: GgufTensorData, path: string): void {
  const { name, shape, type } = tensor;
  const row = shape.at(-1) ?? 1;
  if (!fits(type, row)) {
    const why = `its rows of ${row} elements are not whole blocks of ${tensorTypes[type].elements}`;
    throw cannotHold(tensor, path, why, "Write it as F32, F16 or BF16");
  }
  if (new TextEncoder().encode(name).length >= 64)
    throw cannotHold(tensor, path, "the format allows names of 63 bytes", "Shorten the name");
  if (shape.length > 4) throw cannotHold(tensor, path, "the format allows four dimensions", "Reshape it");
}

function cannotHold({ name, type }: GgufTensorData, path: string, why: string, fix: string): WorkError {
  return new WorkError({
    code: "gguf-cannot-hold",
    what: `tensor "${name}" cannot be written as ${type}`,
    where: path,
    why,
    fix,
  });
}

function writeValue(out: ByteWriter, entry: GgufValue): void {
  if (entry.type === "string") {
    out.u32(stringTypeId);
    out.string(entry.value);
  } else if (entry.type !== "array") {
    const { id, array } = numberTypes[entry.type];
    out.u32(id);
    const big = array === BigUint64Array || array === BigInt64Array;
    out.array(big ? array.of(BigInt(entry.value)) : (array as typeof Uint8Array).of(Number(entry.value)));
  } else if (entry.of === "string") {
    out.u32(arrayTypeId);
    out.u32(stringTypeId);
    out.u64(entry.value.length);
    for (const text of entry.value) out.string(text);
  } else {
    out.u32(arrayTypeId);
    out.u32(numberTypes[entry.of].id);
    out.u64(entry.value.length);
    out.array(entry.value);
  }
}

/** Bytes that grow. */
class ByteWriter {
  length = 0;
  #bytes = new Uint8Array(1 << 16);
  readonly #text = new TextEncoder();

  done(): Uint8Array {
    return this.#bytes.subarray(0, this.length);
  }

  bytes(bytes: Uint8Array): void {
    if (this.length + bytes.length > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.length + bytes.length));
      larger.set(this.#bytes.subarray(0, this.length));
      this.#bytes = larger;
    }
    this.#bytes.set(bytes, this.length);
    this.length += bytes.length;
  }

  array({ buffer, byteOffset, byteLength }: NumberArray): void {
    this.bytes(new Uint8Array(buffer, byteOffset, byteLength));
  }

  u32(value: number): void {
    this.array(Uint32Array.of(value));
  }

  u64(value: number): void {
    this.array(BigUint64Array.of(BigInt(value)));
  }

  string(value: string): void {
    const encoded = this.#text.encode(value);
    this.u64(encoded.length);
    this.bytes(encoded);
  }
}
