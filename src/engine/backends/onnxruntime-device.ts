/**
 * ONNX Runtime on another device than the CPU, through the same library and C API. On WebGPU weights, gradients and moments stay on the
 * device from step to step: they are bound as its own buffers. Other devices take the arrays of the host and give them back with every run.
 */
import { RequestError, WorkError } from "../../errors.ts";
import { Graph } from "../graph.ts";
import { type Lowering, webgpuLowering } from "../lowering.ts";
import { emit, onnxType } from "../onnx.ts";
import { dim } from "../tensor.ts";
import type { Backend, Binding, CompileOptions, Device, Session, TensorValue } from "./backend.ts";
import { type DeviceApi, deviceMemory, loadDeviceApi, providersOf } from "./device-api.ts";
import { type Pointer, type Status, addressOf, cString, finished } from "./c-api.ts";
import { type COptions, type Runtime, openOnnxRuntimeC } from "./onnxruntime-c.ts";
import { Queue } from "./queue.ts";
import { type Piece, ResidentArrays } from "./resident-arrays.ts";
interface DeviceKind {
  /** What the runtime calls it in its list of providers. */
  readonly provider: string;
  /** Adds the provider to the options of a session. */
  readonly append: (api: DeviceApi, runtime: Runtime, options: Pointer) => Status;
  /** The name of the device's memory, where arrays stay there. */
  readonly memory?: string;
  readonly lowering?: Lowering;
}

const byName =
  (provider: string): DeviceKind["append"] =>
  (api, _runtime, options) =>
    api.Append(options, provider, null, null, 0);

const kinds: Readonly<Record<Exclude<Device, "cpu">, DeviceKind>> = {
  webgpu: {
    provider: "WebGpuExecutionProvider",
    append(api, { check }, options) {
      // Without it every sum and comparison of indices would run on the CPU.
      check(api.AddSessionConfigEntry(options, "ep.webgpuexecutionprovider.enableInt64", "1"));
      return api.Append(options, "WebGPU", null, null, 0);
    },
    memory: "WebGPU_Buf",
    lowering: webgpuLowering,
  },
  cuda: {
    provider: "CUDAExecutionProvider",
    append(api, { made }, options) {
      const settings = made(api.CreateCudaSettings);
      const status = api.AppendCuda(options, settings);
      api.ReleaseCudaSettings(settings);
      return status;
    },
  },
  coreml: { provider: "CoreMLExecutionProvider", append: byName("CoreML") },
  dml: { provider: "DmlExecutionProvider", append: byName("DML") },
};

const opened = new Map<Device, Promise<Backend>>();

/** The back end of a device, one for the process. Throws where the runtime has no such device, or the machine none that works. */
export function openOnnxRuntimeDevice(device: Exclude<Device, "cpu">, options: COptions): Promise<Backend> {
  const known = opened.get(device) ?? open(device, options);
  opened.set(device, known);
  known.catch(() => opened.delete(device));
  return known;
}

async function open(device: Exclude<Device, "cpu">, options: COptions): Promise<Backend> {
  const host = openOnnxRuntimeC(options);
  const { runtime } = host;
  const api = loadDeviceApi();
  const kind = kinds[device];
  const present = providersOf(api, runtime);
  if (!present.includes(kind.provider)) {
    const names = devicesAmong(present);
    throw new RequestError({
      code: "no-such-device",
      what: `device: ${device} is not in this ONNX Runtime`,
      why: `it has ${names.join(", ")}`,
      fix: `Use ${names.join(" or ")}`,
    });
  }

  const createSession = async (model: Uint8Array, options: CompileOptions): Promise<Pointer> => {
    const own = runtime.sessionOptions(options);
    try {
      runtime.check(kind.append(api, runtime, own));
      const out: [Pointer | null] = [null];
      await finished(runtime.check, api.CreateSessionFromArray, runtime.env, model, model.length, own, out);
      if (out[0] === null)
        throw new WorkError({ code: "runtime-failed", what: "ONNX Runtime made no session" });
      return out[0];
    } finally {
      api.ReleaseSessionOptions(own);
    }
  };

  // A first session tells whether there is a device that works. It stays, since memory is allocated through it.
  const first = await createSession(smallestModel(), { optimize: false }).catch((error: unknown) => {
    throw new RequestError(
      {
        code: "device-not-usable",
        what: `device: ${device} cannot be used on this machine`,
        why: reasonOf(error),
        fix: "Use device: cpu, or install the device's driver",
      },
      { cause: error },
    );
  });
  const memory = kind.memory === undefined ? undefined : deviceMemory(api, runtime, first, kind.memory);
  const resident = memory && new ResidentArrays(memory.buffers);
  // The device is for one thread at a time.
  const queue = new Queue();

  return {
    id: `onnxruntime-${device}`,
    device,
    blocking: false,
    threads: host.threads,
    host,
    lowering: kind.lowering,
    ...(resident && { resident }),
    allocate(bytes) {
      const own = host.allocate(bytes);
      resident?.add(own);
      return own;
    },
    free(own) {
      resident?.remove(own);
      host.free(own);
    },
    async compile(model: Uint8Array, options: CompileOptions = {}): Promise<Session> {
      const session = await queue.add(() => createSession(model, options));
      const cleanup = new FinalizationRegistry<Pointer[]>((values) =>
        values.forEach((v) => api.ReleaseValue(v)),
      );
      return {
        bind(inputs, outputs): Binding {
          const made: Pointer[] = [];
          const slot = (v: TensorValue) =>
            new Slot(v, { api, runtime, memory: memory?.info, resident, made });
          const [ins, outs] = [Object.values(inputs).map(slot), Object.values(outputs).map(slot)];
          const [inNames, outNames] = [Object.keys(inputs).map(cString), Object.keys(outputs).map(cString)];
          const read = new Set(ins.flatMap((s) => s.piece ?? []));
          const addresses = (names: typeof inNames) => BigUint64Array.from(names, (n) => n.address);
          // Kept alive by this closure: native code knows only their addresses.
          const kept = {
            inputs,
            outputs,
            inNames,
            outNames,
            in: addresses(inNames),
            out: addresses(outNames),
          };
          const run = async () => {
            for (const { piece } of ins) if (piece) resident?.toDevice(piece);
            // What a program both reads and writes it writes elsewhere: a device may not do both to one buffer.
            const targets = outs.map(({ piece }) =>
              piece && read.has(piece) ? resident?.spare(piece.bytes.length) : piece?.buffer,
            );
            const values = {
              in: BigUint64Array.from(ins, (s) => s.value(s.piece?.buffer)),
              out: BigUint64Array.from(outs, (s, i) => s.value(targets[i])),
            };
            await finished(
              runtime.check,
              api.Run,
              session,
              null,
              kept.in,
              values.in,
              ins.length,
              kept.out,
              outs.length,
              values.out,
            ).catch((error: unknown) => {
              outs.forEach(({ piece }, i) => {
                const target = targets[i];
                if (piece && target !== undefined && target !== piece.buffer)
                  resident?.giveBack(piece.bytes.length, target);
              });
              throw error;
            });
            outs.forEach(({ piece }, i) => piece && resident?.written(piece, targets[i]));
          };
          const binding: Binding = {
            run: () => queue.add(run),
            release: () => {
              if (cleanup.unregister(kept)) for (const v of made) api.ReleaseValue(v);
            },
          };
          cleanup.register(binding, made, kept);
          return binding;
        },
        release: () => api.ReleaseSession(session),
      };
    },
  };
}

interface SlotContext {
  readonly api: DeviceApi;
  readonly runtime: Runtime;
  readonly memory: Pointer | undefined;
  readonly resident: ResidentArrays | undefined;
  /** Every value made, to be released with the binding. */
  readonly made: Pointer[];
}

/** An input or output of a binding: an array of the host, or a piece that lives on the device, whose buffer may change from run to run. */
class Slot {
  readonly piece: Piece | undefined;
  readonly #given: TensorValue;
  readonly #context: SlotContext;
  readonly #values = new Map<bigint, Pointer>();

  constructor(given: TensorValue, context: SlotContext) {
    this.#given = given;
    this.#context = context;
    this.piece = context.resident?.pieceOf(given.data);
  }

  /** The runtime's value for a buffer of the device; without one, for the array of the host. */
  value(buffer: bigint | undefined): Pointer {
    const { data, sizes, dtype } = this.#given;
    const { api, runtime, memory, made } = this.#context;
    const address = buffer ?? addressOf(data);
    const known = this.#values.get(address);
    if (known !== undefined) return known;
    const type = onnxType(dtype, data instanceof Float64Array ? "float64" : "float32");
    const value = runtime.made(
      api.CreateTensorWithDataAsOrtValue,
      buffer === undefined ? runtime.hostMemory : memory,
      address,
      data.byteLength,
      BigInt64Array.from(sizes, BigInt),
      sizes.length,
      type,
    );
    this.#values.set(address, value);
    made.push(value);
    return value;
  }
}

/** The devices that a runtime's providers are for. */
function devicesAmong(providers: readonly string[]): string[] {
  const found = Object.entries(kinds).filter(([, { provider }]) => providers.includes(provider));
  return ["cpu", ...found.map(([name]) => name)];
}

/** What the runtime says of a failure, without the place in its sources. */
function reasonOf(error: unknown): string {
  const text = error instanceof WorkError ? (error.report.why ?? error.message) : String(error);
  return text.replace(/^.*was false\. /s, "").trim();
}

/** A model that any device can run. */
function smallestModel(): Uint8Array {
  const graph = new Graph();
  const one = [dim("one", 1)];
  return emit(graph, { y: graph.node("Neg", [graph.input("x", "float", one)], { shape: one }) });
}
