/**
 * What of ONNX Runtime's C API back ends on devices need beside `c-api.ts`: sessions with a provider, and memory of a device, whose
 * buffers are allocated, described and copied here.
 */
import koffi from "koffi";
import { type NativeFunction, type Pointer, addressOf, apiOf } from "./c-api.ts";
import type { Runtime } from "./onnxruntime-c.ts";
import type { DeviceBuffers } from "./resident-arrays.ts";
import { libraryPath } from "./runtime-library.ts";

/** The version of the C API that brought CopyTensors. */
const apiVersion = 23;

/** Position in OrtApi and argument types, as in `c-api.ts`. */
const table = {
  CreateSessionFromArray: [8, "void *env, void *model, size_t bytes, void *options, _Out_ void **session"],
  Run: [
    9,
    "void *session, void *options, void *inNames, void *ins, size_t nIn, void *outNames, size_t nOut, void *outs",
  ],
  CreateTensorWithDataAsOrtValue: [
    49,
    "void *memory, void *data, size_t bytes, void *sizes, size_t rank, int type, _Out_ void **value",
  ],
  CreateMemoryInfo: [68, "const char *name, int allocator, int device, int memory, _Out_ void **info"],
  AllocatorAlloc: [75, "void *allocator, size_t bytes, _Out_ void **memory"],
  AllocatorFree: [76, "void *allocator, void *memory"],
  GetAvailableProviders: [125, "_Out_ void **names, _Out_ int *count"],
  AddSessionConfigEntry: [130, "void *options, const char *key, const char *value"],
  CreateAllocator: [131, "void *session, void *memory, _Out_ void **allocator"],
  AppendCuda: [204, "void *options, void *settings"],
  CreateCudaSettings: [205, "_Out_ void **settings"],
  Append: [216, "void *options, const char *provider, void *keys, void *values, size_t n"],
  CopyTensors: [386, "void *env, void *from, void *to, void *stream, size_t n"],
} as const satisfies Record<string, readonly [number, string]>;

export type DeviceApi = Record<keyof typeof table, NativeFunction> & {
  ReleaseSession(session: Pointer): void;
  ReleaseValue(value: Pointer): void;
  ReleaseSessionOptions(options: Pointer): void;
  ReleaseCudaSettings(settings: Pointer): void;
};

export function loadDeviceApi(): DeviceApi {
  const at = apiOf(libraryPath(), apiVersion);
  const functions = Object.entries(table).map(([name, [index, args]]) => [
    name,
    at(index, `void *(${args})`),
  ]);
  const free = (index: number) => at(index, "void (void *)");
  return {
    ...Object.fromEntries(functions),
    ReleaseSession: free(95),
    ReleaseValue: free(96),
    ReleaseSessionOptions: free(100),
    ReleaseCudaSettings: free(208),
  } as DeviceApi;
}

/** The providers that the runtime has. */
export function providersOf(api: DeviceApi, { check }: Runtime): string[] {
  const [names, count]: [[Pointer | null], [number]] = [[null], [0]];
  check(api.GetAvailableProviders(names, count));
  return names[0] === null ? [] : (koffi.decode(names[0], "const char *", count[0]) as string[]);
}

/** Buffers of a device, and the runtime's description of its memory. */
export function deviceMemory(
  api: DeviceApi,
  runtime: Runtime,
  session: Pointer,
  name: string,
): { readonly info: Pointer; readonly buffers: DeviceBuffers } {
  const { env, check, made, hostMemory } = runtime;
  const info = made(api.CreateMemoryInfo, name, 0, 0, 0);
  const allocator = made(api.CreateAllocator, session, info);
  const [uint8, multiple] = [2, 16];
  const value = (memory: Pointer, address: bigint, bytes: number) =>
    made(
      api.CreateTensorWithDataAsOrtValue,
      memory,
      address,
      bytes,
      BigInt64Array.of(BigInt(bytes)),
      1,
      uint8,
    );
  const copy = (bytes: number, from: [Pointer, bigint], to: [Pointer, bigint]) => {
    const [a, b] = [value(...from, bytes), value(...to, bytes)];
    try {
      check(api.CopyTensors(env, BigUint64Array.of(a), BigUint64Array.of(b), null, 1));
    } finally {
      api.ReleaseValue(a);
      api.ReleaseValue(b);
    }
  };
  const buffers: DeviceBuffers = {
    allocate: (bytes) => made(api.AllocatorAlloc, allocator, Math.ceil(bytes / multiple) * multiple),
    free: (buffer) => check(api.AllocatorFree(allocator, buffer)),
    copyIn: (from, buffer) => copy(from.length, [hostMemory, addressOf(from)], [info, buffer]),
    copyWithin: (from, to, bytes) => copy(bytes, [info, from], [info, to]),
    copyOut: (buffer, into) => copy(into.length, [info, buffer], [hostMemory, addressOf(into)]),
  };
  return { info, buffers };
}
