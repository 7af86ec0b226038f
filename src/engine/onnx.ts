/**
 * Writes a graph as an ONNX ModelProto (onnx/onnx.proto3, IR version 10, opset 21, plus com.microsoft and its nchwc 1).
 * Field numbers stand beside the calls; the protobuf encoding itself is @bufbuild/protobuf's.
 */
import { BinaryWriter } from "@bufbuild/protobuf/wire";
import type { TensorArray } from "./backends/backend.ts";
import type { Attribute, Constant, FloatType, Graph, GraphNode } from "./graph.ts";
import type { DType, Tensor } from "./tensor.ts";

/** TensorProto.DataType */
const elementType = {
  float32: 1,
  uint8: 2,
  int32: 6,
  int64: 7,
  bool: 9,
  float64: 11,
  bfloat16: 16,
  uint4: 21,
} as const;

/** The number ONNX gives an element type. */
export function onnxType(dtype: DType, float: FloatType): number {
  return elementType[dtype === "float" ? float : dtype];
}

/** Where the numbers of an input stand: bytes of a file beside the model's. */
export interface ExternalData {
  readonly location: string;
  readonly offset: number;
  readonly length: number;
}

/**
 * The model's bytes. `outputs` maps names to tensors of the graph. Nodes that no output needs are left out. Inputs named in
 * `external` are no inputs of the model but its weights, in files beside it.
 */
export function emit(
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  external: ReadonlyMap<string, ExternalData> = new Map(),
): Uint8Array {
  const nodes = needed(graph.nodes, Object.values(outputs));
  const used = new Set(nodes.flatMap((n) => n.inputs).concat(Object.values(outputs).map((t) => t.id)));
  const { renamed, copied } = outputNames(nodes, outputs);
  const name = (id: string) => renamed.get(id) ?? id;
  const writer = new BinaryWriter();
  writer.uint32(tag(1, varint)).int64(10); // ir_version
  message(writer, 7, (g) => {
    for (const node of nodes) {
      const named = { ...node, inputs: node.inputs.map(name), outputs: node.outputs.map(name) };
      message(g, 1, (w) => writeNode(w, named));
    }
    for (const [output, t] of copied) {
      const identity = {
        type: "Identity",
        domain: "",
        inputs: [name(t.id)],
        outputs: [output],
        attributes: {},
      };
      message(g, 1, (w) => writeNode(w, identity));
    }
    g.uint32(tag(2, bytes)).string("prefopt"); // name
    for (const c of graph.constants)
      if (used.has(c.id)) message(g, 5, (w) => writeConstant(w, c, graph.float));
    for (const t of graph.inputs) {
      if (!used.has(t.id)) continue;
      const place = external.get(t.id);
      if (place) message(g, 5, (w) => writeExternal(w, t, place, graph.float));
      else message(g, 11, (w) => writeValue(w, t.id, t, graph.float));
    }
    for (const [output, t] of Object.entries(outputs))
      message(g, 12, (w) => writeValue(w, output, t, graph.float));
    // Memory is planned by shapes. Sizes that only the run knows cannot be inferred through reshapes, and need not be for images in blocks.
    for (const { outputs: made, domain } of nodes) {
      for (const id of made) {
        const t = graph.values.get(id);
        const known = domain !== blockDomain && !t?.shape.some((d) => d.free);
        if (t && !known && !renamed.has(id)) message(g, 13, (w) => writeValue(w, id, t, graph.float)); // value_info
      }
    }
  });
  for (const [domain, version] of versions) {
    if (domain !== "" && !nodes.some((node) => node.domain === domain)) continue;
    message(writer, 8, (w) => w.uint32(tag(1, bytes)).string(domain).uint32(tag(2, varint)).int64(version));
  }
  return writer.finish();
}

/** Operators on images in blocks of channels (`blocked-writer.ts`). */
export const blockDomain = "com.microsoft.nchwc";

/** Operator sets by domain. */
const versions = [
  ["", 21],
  ["com.microsoft", 1],
  [blockDomain, 1],
] as const;

/**
 * How outputs get their names: a value that a node makes carries the name of its first output, so that it is written where
 * it is wanted; inputs, constants and second names of one value are copied.
 */
function outputNames(nodes: readonly GraphNode[], outputs: Readonly<Record<string, Tensor>>) {
  const made = new Set(nodes.flatMap((n) => n.outputs));
  const renamed = new Map<string, string>();
  const copied: [string, Tensor][] = [];
  for (const [output, t] of Object.entries(outputs)) {
    if (made.has(t.id) && !renamed.has(t.id)) renamed.set(t.id, output);
    else copied.push([output, t]);
  }
  return { renamed, copied };
}

/** The inputs that the emitted model declares: those that an output needs. `nodes` are the needed ones, where they are known. */
export function inputsOf(
  graph: Graph,
  outputs: Readonly<Record<string, Tensor>>,
  nodes: readonly GraphNode[] = needed(graph.nodes, Object.values(outputs)),
): Tensor[] {
  const targets = Object.values(outputs);
  const used = new Set(nodes.flatMap((n) => n.inputs).concat(targets.map((t) => t.id)));
  return graph.inputs.filter((t) => used.has(t.id));
}

/** The nodes that lead to `targets`, in order. */
export function needed(nodes: readonly GraphNode[], targets: readonly Tensor[]): GraphNode[] {
  const wanted = new Set(targets.map((t) => t.id));
  const kept: GraphNode[] = [];
  for (let i = nodes.length - 1; i >= 0; i--) {
    const node = nodes[i];
    if (!node.outputs.some((id) => wanted.has(id))) continue;
    kept.push(node);
    for (const id of node.inputs) wanted.add(id);
  }
  return kept.reverse();
}

const varint = 0;
const bytes = 2;
const fixed32 = 5;
const tag = (field: number, wire: number) => (field << 3) | wire;

function message(writer: BinaryWriter, field: number, write: (w: BinaryWriter) => void): void {
  writer.uint32(tag(field, bytes)).fork();
  write(writer);
  writer.join();
}

/** NodeProto */
function writeNode(w: BinaryWriter, node: Omit<GraphNode, "bytes">): void {
  for (const id of node.inputs) w.uint32(tag(1, bytes)).string(id);
  for (const id of node.outputs) w.uint32(tag(2, bytes)).string(id);
  w.uint32(tag(4, bytes)).string(node.type);
  for (const [name, value] of Object.entries(node.attributes))
    message(w, 5, (a) => writeAttribute(a, name, value));
  if (node.domain) w.uint32(tag(7, bytes)).string(node.domain);
}

/** AttributeProto: f = 2, i = 3, s = 4, ints = 8; type = 20 (FLOAT 1, INT 2, STRING 3, INTS 7) */
function writeAttribute(w: BinaryWriter, name: string, value: Attribute): void {
  w.uint32(tag(1, bytes)).string(name);
  let type: number;
  if (typeof value === "string") {
    w.uint32(tag(4, bytes)).bytes(new TextEncoder().encode(value));
    type = 3;
  } else if (typeof value === "number") {
    w.uint32(tag(3, varint)).int64(value);
    type = 2;
  } else if (Array.isArray(value)) {
    for (const v of value) w.uint32(tag(8, varint)).int64(v);
    type = 7;
  } else {
    w.uint32(tag(2, fixed32)).float(value.float);
    type = 1;
  }
  w.uint32(tag(20, varint)).int32(type);
}

/** TensorProto with raw_data = 9 */
function writeConstant(w: BinaryWriter, c: Constant, float: FloatType): void {
  for (const size of c.sizes) w.uint32(tag(1, varint)).int64(size);
  w.uint32(tag(2, varint)).int32(onnxType(c.dtype, float));
  w.uint32(tag(8, bytes)).string(c.id);
  w.uint32(tag(9, bytes)).bytes(rawData(c, float));
}

/** TensorProto whose data stand elsewhere: external_data = 13 (key = 1, value = 2), data_location = 14 (EXTERNAL 1) */
function writeExternal(w: BinaryWriter, t: Tensor, place: ExternalData, float: FloatType): void {
  for (const size of t.sizes) w.uint32(tag(1, varint)).int64(size);
  w.uint32(tag(2, varint)).int32(onnxType(t.dtype, float));
  w.uint32(tag(8, bytes)).string(t.id);
  for (const [key, value] of Object.entries(place))
    message(w, 13, (entry) =>
      entry.uint32(tag(1, bytes)).string(key).uint32(tag(2, bytes)).string(String(value)),
    );
  w.uint32(tag(14, varint)).int32(1);
}

function rawData(c: Constant, float: FloatType): Uint8Array {
  const view = constantArray(c, float);
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}

/** The numbers of a constant as an array. */
export function constantArray(c: Constant, float: FloatType): TensorArray {
  const makers: Record<FloatType | Exclude<DType, "float">, () => TensorArray> = {
    float32: () => Float32Array.from(c.values),
    float64: () => Float64Array.from(c.values),
    int64: () => BigInt64Array.from(c.values, BigInt),
    int32: () => Int32Array.from(c.values),
    bool: () => Uint8Array.from(c.values),
    uint8: () => Uint8Array.from(c.values),
    uint4: () => notConstant("uint4"),
    bfloat16: () => notConstant("bfloat16"),
  };
  return makers[c.dtype === "float" ? float : c.dtype]();
}

/** Types that only inputs have. */
function notConstant(type: string): never {
  throw new TypeError(`constants of type ${type} are not written`);
}

/** ValueInfoProto: name = 1, type = 2 { tensor_type = 1 { elem_type = 1, shape = 2 { dim = 1 { dim_value = 1 | dim_param = 2 } } } } */
function writeValue(w: BinaryWriter, name: string, t: Tensor, float: FloatType): void {
  w.uint32(tag(1, bytes)).string(name);
  message(w, 2, (type) =>
    message(type, 1, (tensor) => {
      tensor.uint32(tag(1, varint)).int32(onnxType(t.dtype, float));
      message(tensor, 2, (shape) => {
        for (const d of t.shape) {
          message(shape, 1, (x) =>
            d.free ? x.uint32(tag(2, bytes)).string(d.name) : x.uint32(tag(1, varint)).int64(d.size),
          );
        }
      });
    }),
  );
}
