/**
 * The C API of ONNX Runtime: its functions by their positions in a struct of pointers that only ever grows at its end, and how they are
 * called with koffi.
 */
import koffi from "koffi";
import { WorkError } from "../../errors.ts";

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
export type Api = Record<keyof typeof table, NativeFunction> &
  Record<keyof typeof releases, (pointer: Pointer) => void>;

/** Reads OrtApi out of the library. */
export function loadApi(path: string): Api {
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
export function checker(api: Api): (status: Status) => void {
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
