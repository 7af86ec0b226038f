/**
 * What runs compiled graphs. Three verbs: compile a model into a session, bind arrays to its inputs and outputs, run.
 * Arrays are views into memory that the caller owns; a back end that can will read and write them in place.
 */
import type { Lowering } from "../lowering.ts";
import type { DType } from "../tensor.ts";

export type TensorArray = Float32Array | Float64Array | BigInt64Array | Int32Array | Uint16Array | Uint8Array;

/** Memory bound to one input or output. */
export interface TensorValue {
  readonly data: TensorArray;
  readonly sizes: readonly number[];
  readonly dtype: DType;
}

export interface CompileOptions {
  /** Optimise the graph (true, the default), or compile fast and run it as it is (false). */
  optimize?: boolean;
  /** Folder of the files that hold the model's weights, where they stand outside of it. */
  externalData?: string;
  /** It needs next to no memory between inputs and outputs: no region is set apart for it. */
  little?: boolean;
  /**
   * Memory before time: dead buffers are given back at once, and no product is in blocks. Worth it where layers are computed twice;
   * elsewhere pieces cost more.
   * Back ends that have no such choice ignore it.
   */
  frugal?: boolean;
}

/** One way of running a session: fixed arrays for every input and output. */
export interface Binding {
  /** Computes the outputs from the inputs. The event loop stays free on back ends that can (`blocking` false). */
  run(): Promise<void>;
  /** Frees what the binding holds beside the arrays; it must not be run afterwards. What nobody holds any more is freed too, but later. */
  release(): void;
}

export interface Session {
  /** An output may be the same array as an input where the operation allows it (elementwise updates). */
  bind(
    inputs: Readonly<Record<string, TensorValue>>,
    outputs: Readonly<Record<string, TensorValue>>,
  ): Binding;
  /** Frees the compiled program. Bindings of it must not be run afterwards. */
  release(): void;
}

/** What `device` may name. */
export const devices = ["cpu", "webgpu", "cuda", "coreml", "dml"] as const;
export type Device = (typeof devices)[number];

/**
 * Arrays that live on a device, with memory of the host behind them. A program's inputs travel there when the host has written them since,
 * and nothing travels back until the host asks. Not to be called while a program runs.
 */
export interface ResidentMemory {
  /** Before the host reads an array, or a part of one: brings what programs have written there. */
  beforeRead(array: TensorArray): void;
  /** Before the host writes one; `whole` where every element is written. Afterwards programs take it from the host. */
  beforeWrite(array: TensorArray, whole?: boolean): void;
  /** Makes an array zero, here and there. */
  clear(array: TensorArray): void;
  /** Bytes that have travelled so far: for tests and measurements. */
  readonly travelled: { readonly toDevice: number; readonly toHost: number };
}

export interface Backend {
  readonly id: string;
  /** Where programs compute. */
  readonly device: Device;
  /** Whether a run holds up the event loop. */
  readonly blocking: boolean;
  readonly threads: number;
  /** Zeroed memory for tensors, 64-byte aligned where the back end cares. Freed when the process ends or by `free`. */
  allocate(bytes: number): ArrayBuffer;
  free(memory: ArrayBuffer): void;
  /** Tells how much programs will need between their inputs and outputs, so that memory can be had in one piece. */
  reserve?(bytes: number): void;
  /** Memory of `allocate` that programs compute with on the device itself; absent where they compute with it as it is. */
  readonly resident?: ResidentMemory;
  /** How operations are written that the device lacks or gets wrong; absent where there are none. */
  readonly lowering?: Lowering;
  /** Whether large products are faster as convolutions on blocks of 16 channels (`blocked-products.ts`); default: no. */
  readonly blocked?: boolean;
  /** The CPU back end beside this one, for what the device cannot do: it binds the same arrays, once they are read. */
  readonly host?: Backend;
  compile(model: Uint8Array, options?: CompileOptions): Promise<Session>;
}
