/**
 * ONNX Runtime through its C API: the shared library inside `onnxruntime-node`, called with koffi. No output is copied,
 * runs happen on another thread, outputs may be written over inputs, and all programs share one thread pool and one arena.
 * The function table is a C struct of pointers that only ever grows at its end, so the positions below are stable.
 */
import koffi from "koffi";
import { usableCores } from "./cores.ts";
import { flushDenormals } from "./denormals.ts";
import { WorkError } from "../../errors.ts";
import { onnxType } from "../onnx.ts";
import type { Backend, Binding, CompileOptions, Session, TensorValue } from "./backend.ts";
import { trimHeaps } from "./heap-trim.ts";
import { libraryPath } from "./runtime-library.ts";
import { cutIntoShares } from "./work-shares.ts";

// Shaders are compiled within calls, by code that recurses deeper than koffi's 128 kB for calls on other threads.
koffi.config({ async_stack_size: 4 * 2 ** 20 });

/** Version of the C API that the positions belong to; any newer library serves it too. */
const apiVersion = 22;

/** Position in OrtApi and argument types. Every function returns a status pointer, null when all is well. */
const table = {
  CreateSessionFromArray: [8, "void *env, void *model, size_t bytes, void *options, _Out_ void **session"],
  Run: [
    9,
    "void *session, void *options, void *inNames, void *ins, size_t nIn, void *outNames, size_t nOut, void *outs",
  ],
  CreateSessionOptions: [10, "_Out_ void **options"],
  SetSessionExecutionMode: [13, "void *options, int mode"],
  DisableMemPattern: [17, "void *options"],
  SetIntraOpNumThreads: [24, "void *options, int threads"],
  SetInterOpNumThreads: [25, "void *options, int threads"],
  SetSessionGraphOptimizationLevel: [23, "void *options, int level"],
  CreateTensorWithDataAsOrtValue: [
    49,
    "void *memory, void *data, size_t bytes, void *sizes, size_t rank, int type, _Out_ void **value",
  ],
  AllocatorAlloc: [75, "void *allocator, size_t bytes, _Out_ void **memory"],
  AllocatorFree: [76, "void *allocator, void *memory"],
  CreateAllocator: [131, "void *session, void *memory, _Out_ void **allocator"],
  CreateCpuMemoryInfo: [69, "int allocator, int memory, _Out_ void **info"],
  CreateEnvWithGlobalThreadPools: [119, "int level, const char *id, void *threading, _Out_ void **env"],
  DisablePerSessionThreads: [120, "void *options"],
  CreateThreadingOptions: [121, "_Out_ void **options"],
  AddSessionConfigEntry: [130, "void *options, const char *key, const char *value"],
  CreateAndRegisterAllocator: [144, "void *env, void *memory, void *arena"],
  SetGlobalIntraOpNumThreads: [147, "void *options, int threads"],
  SetGlobalInterOpNumThreads: [148, "void *options, int threads"],
  SetGlobalSpinControl: [149, "void *options, int spin"],
  SetGlobalDenormalAsZero: [155, "void *options"],
  SetGlobalCustomCreateThreadFn: [199, "void *options, void *create"],
  SetGlobalCustomJoinThreadFn: [201, "void *options, void *join"],
  CreateArenaCfgV2: [164, "void *keys, void *values, size_t n, _Out_ void **arena"],
} as const satisfies Record<string, readonly [number, string]>;

/** Functions that return nothing. */
const releases = {
  ReleaseStatus: 93,
  ReleaseSession: 95,
  ReleaseValue: 96,
  ReleaseSessionOptions: 100,
} as const;

export type Pointer = bigint;
export type Status = Pointer | null;
export interface NativeFunction {
  (...args: unknown[]): Status;
  async(...args: unknown[]): void;
}
type Api = Record<keyof typeof table, NativeFunction> &
  Record<keyof typeof releases, (pointer: Pointer) => void>;

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
  const poolIsThere = cutIntoShares(threads, {
    setThreads: (count) => check(api.SetGlobalIntraOpNumThreads(threading, count)),
    setThreadFunctions: (create, join) => {
      check(api.SetGlobalCustomCreateThreadFn(threading, create));
      check(api.SetGlobalCustomJoinThreadFn(threading, join));
    },
  });
  check(api.SetGlobalInterOpNumThreads(threading, 1)); // no thread beside the caller's
  check(api.SetGlobalSpinControl(threading, spin ? 1 : 0));
  check(api.SetGlobalDenormalAsZero(threading));
  const fatalOnly = 4; // errors are thrown, they need not be printed too
  const env = made(api.CreateEnvWithGlobalThreadPools, fatalOnly, "prefopt", threading);
  poolIsThere();
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

/** Reads OrtApi out of the library. */
function loadApi(path: string): Api {
  const at = apiOf(path, apiVersion);
  const functions = Object.entries(table).map(([name, [index, args]]) => [
    name,
    at(index, `void *(${args})`),
  ]);
  const frees = Object.entries(releases).map(([name, index]) => [name, at(index, "void (void *)")]);
  const message = at(2, "const char *(void *)");
  return { ...Object.fromEntries([...functions, ...frees]), message } as Api & { message: unknown };
}

/** What finds a function of OrtApi by its position: OrtGetApiBase() → { GetApi, GetVersionString }, GetApi(version) → the table. */
export function apiOf(path: string, version: number): (index: number, prototype: string) => unknown {
  const library = koffi.load(path);
  const base = library.func("void *OrtGetApiBase()")() as Pointer;
  const [getApi] = koffi.decode(base, "uintptr_t", 2) as (number | bigint)[];
  const api = koffi.call(BigInt(getApi), koffi.proto("void *(uint32_t)"), version) as Pointer | null;
  if (api === null) {
    throw new WorkError({
      code: "runtime-too-old",
      what: `ONNX Runtime does not speak version ${version} of its C API`,
      where: path,
      fix: `Install onnxruntime-node 1.${version} or newer`,
    });
  }
  return (index, prototype) => {
    const [address] = koffi.decode(BigInt(api) + BigInt(8 * index), "uintptr_t", 1) as (number | bigint)[];
    return koffi.decode(BigInt(address), koffi.proto(prototype));
  };
}

/** Turns a returned status into a thrown error. */
function checker(api: Api): (status: Status) => void {
  const { message } = api as Api & { message: (status: Pointer) => string };
  return (status) => {
    if (status === null) return;
    const why = message(status);
    api.ReleaseStatus(status);
    throw new WorkError({ code: "runtime-failed", what: "ONNX Runtime failed", why });
  };
}

/** Calls a native function on another thread. */
export function finished(
  check: (status: Status) => void,
  fn: NativeFunction,
  ...args: unknown[]
): Promise<void> {
  return new Promise((resolve, reject) => {
    fn.async(...args, (error: Error | null, status: Status) => {
      try {
        if (error) throw error;
        check(status);
        resolve();
      } catch (e) {
        reject(e as Error);
      }
    });
  });
}

/** Zero-terminated bytes in memory that stays where it is as long as the object lives. */
export function cString(text: string): { bytes: Uint8Array; address: bigint } {
  const bytes = new TextEncoder().encode(`${text}\0`);
  return { bytes, address: addressOf(bytes) };
}

/** The native address of a typed array's first element. */
export function addressOf(array: ArrayBufferView): bigint {
  return BigInt(koffi.address(array.buffer)) + BigInt(array.byteOffset);
}
