/**
 * ONNX Runtime through its C API: the shared library inside `onnxruntime-node`, called with koffi. No output is copied,
 * runs happen on another thread, outputs may be written over inputs, and all programs share one thread pool and one arena.
 */
import koffi from "koffi";
import { usableCores } from "./cores.ts";
import { flushDenormals } from "./denormals.ts";
import { WorkError } from "../../errors.ts";
import { onnxType } from "../onnx.ts";
import type { Backend, Binding, CompileOptions, Session, TensorValue } from "./backend.ts";
import {
  type NativeFunction,
  type Pointer,
  type Status,
  addressOf,
  cString,
  checker,
  finished,
  loadApi,
} from "./c-api.ts";
import { trimHeaps } from "./heap-trim.ts";
import { libraryPath } from "./runtime-library.ts";

export interface COptions {
  /** Threads of the pool; default: physical cores within the limits of the process. */
  threads?: number;
  /** Keep waiting threads busy: fastest on quiet cores, wasteful on shared ones. `PREFOPT_SPIN=0` turns it off. */
  spin?: boolean;
}

/** The arena's first region: enough for small models and for scoring. */
const firstRegion = process.platform === "win32" ? 2 ** 28 : 2 ** 30; // there memory counts before it is used
/** The same where it is known how much will be needed: scoring beside it wants its share. */
const leastRegion = 2 ** 27;

const externalDataKey = "session.model_external_initializers_file_folder_path";

let opened: (Backend & { readonly runtime: Runtime }) | undefined;

/** What back ends on other devices share with this one. */
export interface Runtime {
  readonly env: Pointer;
  readonly check: (status: Status) => void;
  readonly made: (fn: NativeFunction, ...args: unknown[]) => Pointer;
  /** Memory info of arrays of the host. */
  readonly hostMemory: Pointer;
  readonly sessionOptions: (options: CompileOptions) => Pointer;
}

/** The C API back end; one environment serves the process, so the first caller's options hold. */
export function openOnnxRuntimeC(options: COptions = {}): Backend & { readonly runtime: Runtime } {
  opened ??= open(options);
  return opened;
}

function open({
  threads = usableCores(),
  spin = process.env.PREFOPT_SPIN !== "0",
}: COptions): Backend & { readonly runtime: Runtime } {
  const api = loadApi(libraryPath());
  const check = checker(api);
  const made = (fn: NativeFunction, ...args: unknown[]): Pointer => {
    const out: [Pointer | null] = [null];
    check(fn(...args, out));
    if (out[0] === null)
      throw new WorkError({ code: "runtime-failed", what: "ONNX Runtime returned nothing" });
    return out[0];
  };

  const threading = made(api.CreateThreadingOptions);
  check(api.SetGlobalIntraOpNumThreads(threading, threads));
  check(api.SetGlobalInterOpNumThreads(threading, 1)); // no thread beside the caller's
  check(api.SetGlobalSpinControl(threading, spin ? 1 : 0));
  check(api.SetGlobalDenormalAsZero(threading));
  const fatalOnly = 4; // errors are thrown, they need not be printed too
  const env = made(api.CreateEnvWithGlobalThreadPools, fatalOnly, "prefopt", threading);
  const [arenaMemory, deviceMemory] = [
    made(api.CreateCpuMemoryInfo, 1, 0),
    made(api.CreateCpuMemoryInfo, 0, 0),
  ];
  // Grow the shared arena by what is asked for, not by powers of two.
  const key = cString("arena_extend_strategy");
  const arena = made(api.CreateArenaCfgV2, BigUint64Array.of(key.address), BigUint64Array.of(1n), 1);
  check(api.CreateAndRegisterAllocator(env, arenaMemory, arena));

  // ONNX Runtime has one environment a process: whoever made it first decided whether it has a pool for all sessions.
  let sharedPool = true;
  const sessionOptions = ({ optimize = true, externalData }: CompileOptions): Pointer => {
    const o = made(api.CreateSessionOptions);
    if (sharedPool) check(api.DisablePerSessionThreads(o));
    else {
      check(api.SetIntraOpNumThreads(o, threads));
      check(api.SetInterOpNumThreads(o, 1));
    }
    check(api.DisableMemPattern(o));
    check(api.SetSessionGraphOptimizationLevel(o, optimize ? 99 : 0));
    check(api.AddSessionConfigEntry(o, "session.use_env_allocators", "1"));
    check(api.AddSessionConfigEntry(o, "session.set_denormal_as_zero", "1"));
    // A transpose that stands before a product is wanted there: see `productOnto`.
    check(api.AddSessionConfigEntry(o, "optimization.disable_specified_optimizers", "GemmTransposeFusion"));
    if (externalData !== undefined) check(api.AddSessionConfigEntry(o, externalDataKey, externalData));
    return o;
  };

  let allocator: Pointer | undefined;
  let wantedBytes = 0;
  let regionBytes = 0;
  /**
   * Gives the arena one large region. It would otherwise grow by a region for each tensor that fits nowhere, and programs of another
   * shape could not use what lies in pieces: 12 shapes of a 135M step took 4.2 GB, and take 2.9 GB in one region. Pages that are never
   * written to cost nothing, but the arena's own notes are 3 % of a region.
   */
  const reserve = (bytes: number) => {
    if (allocator === undefined || bytes <= regionBytes) return;
    const out: [Pointer | null] = [null];
    const status = (api.AllocatorAlloc as NativeFunction)(allocator, Math.ceil(bytes), out);
    if (status !== null)
      api.ReleaseStatus(status); // so much may be forbidden: then the arena grows as it must
    else if (out[0] !== null) check(api.AllocatorFree(allocator, out[0]));
    regionBytes = bytes;
  };

  return {
    id: "onnxruntime-c",
    device: "cpu",
    runtime: { env, check, made, hostMemory: deviceMemory, sessionOptions },
    blocking: false,
    threads,
    allocate(bytes) {
      const memory = koffi.view(koffi.alloc("uint8_t", Math.max(bytes, 1)), Math.max(bytes, 1));
      new Uint8Array(memory).fill(0);
      return memory;
    },
    free(memory) {
      koffi.free(koffi.address(memory));
    },
    reserve(bytes) {
      wantedBytes = Math.max(wantedBytes, bytes);
      reserve(bytes);
    },
    async compile(model: Uint8Array, wanted: CompileOptions = {}): Promise<Session> {
      await flushDenormals();
      const out: [Pointer | null] = [null];
      const create = async () => {
        const options = sessionOptions(wanted);
        // In sequence a dead buffer is kept until the last of those of its shape that come after, so that of each shape the most that are
        // ever alive stay for the whole backward. "In parallel", with one thread to run nodes, they are freed; the order is the same.
        if (wanted.frugal) check(api.SetSessionExecutionMode(options, 1));
        await finished(check, api.CreateSessionFromArray, env, model, model.length, options, out).finally(
          () => api.ReleaseSessionOptions(options),
        );
      };
      await create().catch((error: Error) => {
        if (!sharedPool || !error.message.includes("GlobalThreadPools")) throw error;
        sharedPool = false;
        return create();
      });
      await trimHeaps();
      const session = out[0];
      if (session === null)
        throw new WorkError({ code: "runtime-failed", what: "ONNX Runtime made no session" });
      if (allocator === undefined && !wanted.little) {
        allocator = made(api.CreateAllocator, session, arenaMemory);
        reserve(wantedBytes > 0 ? Math.max(leastRegion, wantedBytes) : firstRegion);
      }
      const cleanup = new FinalizationRegistry<Pointer[]>((values) =>
        values.forEach((v) => api.ReleaseValue(v)),
      );
      // Names of a program are the same in all its bindings.
      const names = new Map<string, { bytes: Uint8Array; address: bigint }>();
      const nameOf = (text: string) => {
        const known = names.get(text) ?? cString(text);
        names.set(text, known);
        return known;
      };
      return {
        bind(inputs, outputs): Binding {
          const value = (v: TensorValue) => {
            const type = onnxType(v.dtype, v.data instanceof Float64Array ? "float64" : "float32");
            const sizes = BigInt64Array.from(v.sizes, BigInt);
            return made(
              api.CreateTensorWithDataAsOrtValue,
              deviceMemory,
              addressOf(v.data),
              v.data.byteLength,
              sizes,
              v.sizes.length,
              type,
            );
          };
          const [ins, outs] = [Object.values(inputs).map(value), Object.values(outputs).map(value)];
          const [inNames, outNames] = [Object.keys(inputs).map(nameOf), Object.keys(outputs).map(nameOf)];
          // Kept alive by this closure: native code knows only their addresses.
          const kept = {
            inputs,
            outputs,
            inNames,
            outNames,
            ins: BigUint64Array.from(ins),
            outs: BigUint64Array.from(outs),
            inNameList: BigUint64Array.from(inNames, (n) => n.address),
            outNameList: BigUint64Array.from(outNames, (n) => n.address),
          };
          const values = [...ins, ...outs];
          const binding: Binding = {
            release: () => {
              if (cleanup.unregister(kept)) for (const v of values) api.ReleaseValue(v);
            },
            run: () =>
              finished(
                check,
                api.Run,
                session,
                null,
                kept.inNameList,
                kept.ins,
                ins.length,
                kept.outNameList,
                outs.length,
                kept.outs,
              ),
          };
          cleanup.register(binding, values, kept);
          return binding;
        },
        release: () => api.ReleaseSession(session),
      };
    },
  };
}
