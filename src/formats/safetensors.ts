/**
 * The safetensors format: eight bytes N, N bytes of JSON that name every tensor's type, shape and place, then the data
 * (huggingface/safetensors, README). The header is checked with the rules of the reference reader before anything is read.
 */
import { RequestError, quoted } from "../errors.ts";
import { fileSize, readRange, writeFileAtomic } from "./files.ts";
import { bf16Values, encodeBf16, encodeF16, f16Values } from "./half.ts";

export interface TensorInfo {
  readonly dtype: string;
  readonly shape: readonly number[];
  /** Bytes [begin, end) after the header. */
  readonly begin: number;
  readonly end: number;
}

export interface SafetensorsFile {
  readonly path: string;
  readonly tensors: ReadonlyMap<string, TensorInfo>;
  readonly metadata: Readonly<Record<string, string>>;
  /** A tensor as float32; F32, F16, BF16 and F64 are read. */
  readFloat32(name: string, into?: Float32Array): Promise<Float32Array>;
}

/** Bytes of an element; names in the reference writer's order, which is from the end of its list to the start. */
const elementBytes: Readonly<Record<string, number>> = {
  U64: 8,
  I64: 8,
  F64: 8,
  F32: 4,
  U32: 4,
  I32: 4,
  BF16: 2,
  F16: 2,
  U16: 2,
  I16: 2,
  F8_E4M3: 1,
  F8_E5M2: 1,
  I8: 1,
  U8: 1,
  BOOL: 1,
};
const writerOrder = ["U64", "I64", "F64", "F32", "U32", "I32", "BF16", "F16", "U16", "I16"];
const headerLimit = 100_000_000;

/** Opens a file and checks its header. Throws a RequestError that names the file and the tensor. */
export async function openSafetensors(path: string): Promise<SafetensorsFile> {
  const size = await fileSize(path);
  const broken = (why: string, tensor?: string) =>
    new RequestError({
      code: "safetensors-invalid",
      what:
        tensor === undefined ? "is not a valid safetensors file" : `tensor ${quoted(tensor)} is not valid`,
      where: path,
      why,
      fix: "Copy or download the file again",
    });
  if (size < 8) throw broken(`it has ${size} bytes and the header's length alone takes 8`);
  const length = Number(new DataView((await readRange(path, 0, 8)).buffer).getBigUint64(0, true));
  if (length > headerLimit)
    throw broken(`its header claims ${length} bytes, more than the format's limit of ${headerLimit}`);
  if (8 + length > size) throw broken(`its header claims ${length} bytes and the file has only ${size}`);
  const text = new TextDecoder().decode(await readRange(path, 8, 8 + length));
  const entries = parseHeader(text, broken);
  const { tensors, metadata } = readEntries(entries, size - 8 - length, broken);
  const dataStart = 8 + length;
  return {
    path,
    tensors,
    metadata,
    async readFloat32(name, into) {
      const info = tensors.get(name);
      if (!info) throw broken("there is no such tensor", name);
      const decode = decoders[info.dtype];
      if (!decode)
        throw broken(
          `its type ${info.dtype} cannot be read as numbers here (${Object.keys(decoders).join(", ")} can)`,
          name,
        );
      const elements = info.shape.reduce((a, b) => a * b, 1);
      const out = into ?? new Float32Array(elements);
      if (out.length !== elements)
        throw broken(`it has ${elements} elements, ${out.length} were expected`, name);
      const bytes = await readRange(path, dataStart + info.begin, dataStart + info.end);
      decode(bytes, out);
      return out;
    },
  };
}

type Fail = (why: string, tensor?: string) => RequestError;

function parseHeader(text: string, broken: Fail): Record<string, unknown> {
  const seen = new Set<string>();
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw broken(`its header is not JSON (${(cause as Error).message})`);
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed))
    throw broken("its header is not a JSON object");
  // JSON.parse keeps the last of two equal names; the format has each once.
  for (const [, name] of text.matchAll(/"((?:[^"\\]|\\.)*)"\s*:\s*\{/g)) {
    const unescaped = JSON.parse(`"${name}"`) as string;
    if (seen.has(unescaped)) throw broken("its header names it twice", unescaped);
    seen.add(unescaped);
  }
  return parsed as Record<string, unknown>;
}

function readEntries(entries: Record<string, unknown>, dataBytes: number, broken: Fail) {
  const tensors = new Map<string, TensorInfo>();
  let metadata: Record<string, string> = {};
  const isCount = (v: unknown): v is number => typeof v === "number" && Number.isSafeInteger(v) && v >= 0;
  for (const [name, entry] of Object.entries(entries)) {
    if (name === "__metadata__") {
      if (!isTexts(entry)) throw broken('its "__metadata__" is not an object of strings');
      metadata = entry;
      continue;
    }
    const { dtype, shape, data_offsets: offsets } = (entry ?? {}) as Record<string, unknown>;
    if (typeof dtype !== "string" || !Object.hasOwn(elementBytes, dtype))
      throw broken(`its type ${JSON.stringify(dtype)} is not known`, name);
    if (!Array.isArray(shape) || !shape.every(isCount))
      throw broken("its shape is not a list of sizes", name);
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isCount))
      throw broken("its offsets are not two positions", name);
    const [begin, end] = offsets as [number, number];
    const wanted = shape.reduce((a, b) => a * b, elementBytes[dtype]);
    if (end - begin !== wanted)
      throw broken(`its shape and type take ${wanted} bytes, its offsets span ${end - begin}`, name);
    tensors.set(name, { dtype, shape, begin, end });
  }
  let at = 0;
  for (const [name, { begin, end }] of [...tensors].sort(
    ([, a], [, b]) => a.begin - b.begin || a.end - b.end,
  )) {
    if (begin !== at) throw broken(`it begins at ${begin} and the tensor before it ends at ${at}`, name);
    at = end;
  }
  if (at !== dataBytes)
    throw broken(
      `its tensors take ${at} bytes and the file holds ${dataBytes}: it is ${at > dataBytes ? "cut short" : "too long"}`,
    );
  return { tensors, metadata };
}

function isTexts(value: unknown): value is Record<string, string> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return false;
  return Object.values(value).every((v) => typeof v === "string");
}

const decoders: Readonly<Record<string, (bytes: Uint8Array, out: Float32Array) => void>> = {
  F32: (bytes, out) => new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(bytes),
  F64: (bytes, out) => out.set(new Float64Array(bytes.buffer, bytes.byteOffset, out.length)),
  F16: halves(f16Values),
  BF16: halves(bf16Values),
};

function halves(values: () => Float32Array): (bytes: Uint8Array, out: Float32Array) => void {
  return (bytes, out) => {
    const table = values();
    const bits = new Uint16Array(bytes.buffer, bytes.byteOffset, out.length);
    for (let i = 0; i < out.length; i++) out[i] = table[bits[i]];
  };
}

export type FloatDtype = "F32" | "F16" | "BF16";

export interface TensorData {
  readonly name: string;
  readonly shape: readonly number[];
  readonly data: Float32Array;
  /** Type in the file; default F32. */
  readonly dtype?: FloatDtype;
}

const encoders: Readonly<Record<FloatDtype, (data: Float32Array) => Uint8Array>> = {
  F32: (data) => new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  F16: encodeF16,
  BF16: encodeBf16,
};

/** Writes tensors in the reference writer's order (widest type first, then by name), whole or not at all. */
export async function writeSafetensors(
  path: string,
  tensors: Iterable<TensorData>,
  metadata: Record<string, string> = { format: "pt" },
): Promise<void> {
  const rank = (t: TensorData) => writerOrder.indexOf(t.dtype ?? "F32");
  const sorted = [...tensors].sort((a, b) => rank(a) - rank(b) || (a.name < b.name ? -1 : 1));
  let at = 0;
  const header: Record<string, unknown> = Object.keys(metadata).length > 0 ? { __metadata__: metadata } : {};
  for (const { name, shape, data, dtype = "F32" } of sorted) {
    const begin = at;
    at += data.length * elementBytes[dtype];
    header[name] = { dtype, shape, data_offsets: [begin, at] };
  }
  const json = new TextEncoder().encode(JSON.stringify(header));
  const padded = new Uint8Array(Math.ceil(json.length / 8) * 8).fill(0x20);
  padded.set(json);
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(padded.length), true);
  await writeFileAtomic(path, parts());

  function* parts(): Generator<Uint8Array> {
    yield length;
    yield padded;
    for (const { data, dtype = "F32" } of sorted) yield encoders[dtype](data);
  }
}
