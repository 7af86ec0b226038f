/**
 * Reads GGUF files (ggml-org/ggml, docs/gguf.md), versions 2 and 3: metadata, then a list of tensors, then their data.
 * Every length that the file claims is checked against the bytes it has before anything of that length is made, and
 * tensors are decoded piece by piece, so that a broken file ends in an error and a large one never stands in memory twice.
 */
import { RequestError, quoted } from "../errors.ts";
import { fileSize, readRange } from "./files.ts";
import { type Fail, HeaderBytes } from "./gguf-header.ts";
import type { GgufMetadata, GgufValue } from "./gguf-metadata.ts";
import {
  type NumberArray,
  type NumberType,
  type NumberTypeName,
  type TensorType,
  type TensorTypeName,
  arrayTypeId,
  numberTypes,
  otherTensorTypes,
  stringTypeId,
  tensorTypes,
} from "./gguf-types.ts";

export interface GgufTensor {
  readonly type: TensorTypeName;
  /** Rows first, as in PyTorch: the file's list reversed. */
  readonly shape: readonly number[];
  readonly elements: number;
  /** Bytes [begin, end) of the file. */
  readonly begin: number;
  readonly end: number;
}

export interface GgufFile {
  readonly path: string;
  readonly version: number;
  readonly alignment: number;
  readonly metadata: GgufMetadata;
  /** In the file's order. */
  readonly tensors: ReadonlyMap<string, GgufTensor>;
  /** A tensor as float32, whatever its type. */
  readFloat32(name: string, into?: Float32Array): Promise<Float32Array>;
  /** Whether two tensors have the same type, shape and bytes. */
  sameBytes(name: string, other: string): Promise<boolean>;
}

const magic = 0x46554747; // "GGUF"
/** Tensor names are shorter than this, in bytes. */
const nameLimit = 64;
const mostDimensions = 4;
const defaultAlignment = 32;
/** Bytes of a tensor that are read at once. */
const pieceBytes = 1 << 22;

/** Whether a path names a GGUF file. */
export const isGgufPath = (path: string): boolean => /\.gguf$/i.test(path);

/** Opens a file and checks its header. Throws a RequestError that names the file and the key or tensor. */
export async function openGguf(path: string): Promise<GgufFile> {
  const size = await fileSize(path);
  const fail: Fail = (why, subject, fix = "Copy or download the file again") =>
    new RequestError({
      code: "gguf-invalid",
      what: subject === undefined ? "is not a valid GGUF file" : `${subject} is not valid`,
      where: path,
      why,
      fix,
    });
  const header = new HeaderBytes(path, size, fail);
  const { version, tensorCount, keyCount } = await readStart(header, fail);
  const metadata = await readMetadata(header, keyCount, fail);
  const alignment = alignmentOf(metadata, fail);
  const tensors = await readTensorInfos(header, tensorCount, alignment, size, fail);
  const find = (name: string): GgufTensor => {
    const tensor = tensors.get(name);
    if (!tensor) throw fail("there is no such tensor", `tensor ${quoted(name)}`);
    return tensor;
  };
  return {
    path,
    version,
    alignment,
    metadata,
    tensors,
    async readFloat32(name, into) {
      const tensor = find(name);
      const out = into ?? new Float32Array(tensor.elements);
      if (out.length !== tensor.elements)
        throw fail(
          `it has ${tensor.elements} elements, ${out.length} were expected`,
          `tensor ${quoted(name)}`,
        );
      await decodeTensor(path, tensor, out);
      return out;
    },
    async sameBytes(name, other) {
      const [a, b] = [find(name), find(other)];
      if (a.type !== b.type || a.shape.join() !== b.shape.join()) return false;
      for (let at = 0; at < a.end - a.begin; at += pieceBytes) {
        const length = Math.min(pieceBytes, a.end - a.begin - at);
        const [x, y] = await Promise.all(
          [a, b].map((t) => readRange(path, t.begin + at, t.begin + at + length)),
        );
        if (x.some((byte, i) => byte !== y[i])) return false;
      }
      return true;
    },
  };
}

/** Decodes a tensor piece by piece; plain float32 goes straight to its place. */
async function decodeTensor(path: string, tensor: GgufTensor, out: Float32Array): Promise<void> {
  const { type, begin, end } = tensor;
  if (type === "F32") {
    await readRange(path, begin, end, new Uint8Array(out.buffer, out.byteOffset, out.byteLength));
    return;
  }
  const { decode, bytes, elements }: TensorType = tensorTypes[type];
  const blocks = Math.floor(pieceBytes / bytes);
  const piece = new Uint8Array(Math.min(blocks * bytes, end - begin));
  for (let at = begin, y = 0; at < end; at += piece.length, y += blocks * elements) {
    const part = piece.subarray(0, Math.min(piece.length, end - at));
    await readRange(path, at, at + part.length, part);
    decode(part, out.subarray(y, y + (part.length / bytes) * elements));
  }
}

async function readStart(header: HeaderBytes, fail: Fail) {
  await header.need(4, "the first four bytes");
  if (header.u32() !== magic) throw fail('it does not begin with "GGUF"', undefined, "Name a GGUF file");
  await header.need(20, "the header");
  const version = header.u32();
  if (version === 1)
    throw fail("it has version 1 of the format, which is not read", undefined, "Convert the model again");
  if (version !== 2 && version !== 3) {
    const bigEndian = version === 0x02000000 || version === 0x03000000;
    throw fail(
      bigEndian ? "it is big-endian" : `it has version ${version} of the format`,
      undefined,
      "Use a little-endian file of version 2 or 3",
    );
  }
  const tensorCount = header.length("tensors", 4 + 4 + 16);
  const keyCount = header.length("metadata keys", 8 + 4 + 1);
  return { version, tensorCount, keyCount };
}

async function readMetadata(header: HeaderBytes, count: number, fail: Fail): Promise<GgufMetadata> {
  const metadata = new Map<string, GgufValue>();
  for (let i = 0; i < count; i++) {
    const key = await header.string(`metadata key ${i + 1} of ${count}`);
    const subject = `metadata key ${quoted(key)}`;
    if (metadata.has(key)) throw fail("it stands there twice", subject);
    await header.need(4, subject);
    metadata.set(key, await readValue(header, header.u32(), subject, fail));
  }
  return metadata;
}

const numberTypeNames = new Map<number, NumberTypeName>(
  Object.entries(numberTypes).map(([name, { id }]) => [id, name as NumberTypeName]),
);

async function readValue(
  header: HeaderBytes,
  typeId: number,
  subject: string,
  fail: Fail,
): Promise<GgufValue> {
  if (typeId === stringTypeId) return { type: "string", value: await header.string(subject) };
  if (typeId === arrayTypeId) return readArray(header, subject, fail);
  const type = numberTypeNames.get(typeId);
  if (!type) throw fail(`its type ${typeId} is not known`, subject);
  const [value] = await readNumbers(header, type, 1, subject);
  if (type === "bool") {
    if (value > 1) throw fail(`${value} is neither true nor false`, subject);
    return { type, value: value === 1 };
  }
  const exact =
    typeof value === "bigint" && BigInt(Number(value)) === value && Number.isSafeInteger(Number(value));
  return { type, value: exact ? Number(value) : value };
}

async function readArray(header: HeaderBytes, subject: string, fail: Fail): Promise<GgufValue> {
  await header.need(12, subject);
  const typeId = header.u32();
  if (typeId === arrayTypeId)
    throw fail("it is a list of lists, which the format's readers do not accept", subject);
  if (typeId === stringTypeId) {
    const value = new Array<string>(header.length(`${subject}, whose list`, 8));
    for (let i = 0; i < value.length; i++) value[i] = await header.string(subject);
    return { type: "array", of: "string", value };
  }
  const of = numberTypeNames.get(typeId);
  if (!of) throw fail(`its element type ${typeId} is not known`, subject);
  const count = header.length(`${subject}, whose list`, numberTypes[of].array.BYTES_PER_ELEMENT);
  const value = await readNumbers(header, of, count, subject);
  if (of === "bool" && value.some((v: number | bigint) => v > 1))
    throw fail("one of its values is neither true nor false", subject);
  return { type: "array", of, value };
}

async function readNumbers(
  header: HeaderBytes,
  type: NumberTypeName,
  count: number,
  subject: string,
): Promise<NumberArray> {
  const { array }: NumberType = numberTypes[type];
  const bytes = count * array.BYTES_PER_ELEMENT;
  await header.need(bytes, subject);
  return new array(Uint8Array.from(header.take(bytes)).buffer);
}

function alignmentOf(metadata: GgufMetadata, fail: Fail): number {
  const given = metadata.get("general.alignment");
  if (!given) return defaultAlignment;
  const { type, value } = given;
  if (type !== "u32" || typeof value !== "number" || value === 0 || !Number.isInteger(Math.log2(value)))
    throw fail("it is not a power of two", 'metadata key "general.alignment"');
  return value;
}

const tensorTypeNames = new Map<number, TensorTypeName>(
  Object.entries(tensorTypes).map(([name, { id }]) => [id, name as TensorTypeName]),
);

/** Name, sizes, type and place of every tensor. Each begins where the one before it ends, rounded up to the alignment. */
async function readTensorInfos(
  header: HeaderBytes,
  count: number,
  alignment: number,
  size: number,
  fail: Fail,
): Promise<ReadonlyMap<string, GgufTensor>> {
  const padded = (n: number) => Math.ceil(n / alignment) * alignment;
  const infos = new Map<string, GgufTensor>();
  let at = 0; // from the start of the data
  for (let i = 0; i < count; i++) {
    const name = await header.string(`tensor ${i + 1} of ${count}`, nameLimit);
    const subject = `tensor ${quoted(name)}`;
    if (infos.has(name)) throw fail("it stands there twice", subject);
    await header.need(4, subject);
    const dimensions = header.u32();
    if (dimensions > mostDimensions)
      throw fail(`it has ${dimensions} dimensions, more than ${mostDimensions}`, subject);
    await header.need(8 * dimensions + 12, subject);
    const sizes = Array.from({ length: dimensions }, () => header.u64());
    const elements = sizes.reduce((a, b) => a * b, 1);
    if (!Number.isSafeInteger(elements)) throw fail(`its sizes ${sizes.join(" × ")} are too large`, subject);
    const typeId = header.u32();
    const type = tensorTypeNames.get(typeId);
    if (!type) {
      const other = otherTensorTypes[typeId];
      throw fail(
        other ? `its type ${other} is not read` : `its type ${typeId} is not known`,
        subject,
        other ? `Use a file of another type: ${Object.keys(tensorTypes).join(", ")} are read` : undefined,
      );
    }
    const block: TensorType = tensorTypes[type];
    const row = sizes[0] ?? 1;
    if (row % block.elements !== 0)
      throw fail(`its rows of ${row} elements are not whole ${type} blocks of ${block.elements}`, subject);
    const bytes = (elements / block.elements) * block.bytes;
    const offset = header.u64();
    if (offset !== at) throw fail(`its data begins at ${offset} and should begin at ${at}`, subject);
    if (offset + bytes > size)
      throw fail(`it takes ${bytes} bytes and the file has only ${size}: it is cut short`, subject);
    infos.set(name, { type, shape: sizes.reverse(), elements, begin: at, end: at + bytes });
    at = padded(at + bytes);
  }
  const data = padded(header.at);
  const tensors = new Map<string, GgufTensor>();
  for (const [name, info] of infos) {
    const [begin, end] = [data + info.begin, data + info.end];
    if (end > size)
      throw fail(
        `its data ends at ${end} and the file at ${size}: it is cut short`,
        `tensor ${quoted(name)}`,
      );
    tensors.set(name, { ...info, begin, end });
  }
  return tensors;
}
