/**
 * ONNX Runtime through the JavaScript binding of `onnxruntime-node`: the fallback where koffi cannot load.
 * Same library and same numbers; outputs are copied once more and runs hold up the event loop.
 */
import { usableCores } from "./cores.ts";
import type * as Ort from "onnxruntime-node";
import { WorkError } from "../../errors.ts";
import type { Backend, Session, TensorValue } from "./backend.ts";
import { libraryPath } from "./runtime-library.ts";

export interface BindingOptions {
  /** Threads of every session; default: physical cores within the limits of the process. */
  threads?: number;
}

export async function openOnnxRuntimeBinding({
  threads = usableCores(),
}: BindingOptions = {}): Promise<Backend> {
  libraryPath(); // says clearly when the platform has no library
  const ort = await import("onnxruntime-node");
  const tensor = ({ data, sizes, dtype }: TensorValue): Ort.Tensor => {
    const type = dtype === "float" ? (data instanceof Float64Array ? "float64" : "float32") : dtype;
    return new ort.Tensor(type as "float32", data as Float32Array, sizes);
  };
  return {
    id: "onnxruntime-binding",
    device: "cpu",
    blocking: true,
    threads,
    allocate: (bytes) => new ArrayBuffer(Math.max(bytes, 1)),
    free: () => undefined,
    async compile(model, { optimize = true, externalData } = {}): Promise<Session> {
      const session = await attempt(() =>
        ort.InferenceSession.create(model, {
          intraOpNumThreads: threads,
          enableMemPattern: false,
          graphOptimizationLevel: optimize ? "all" : "disabled",
          logSeverityLevel: 4,
          extra: {
            session: {
              set_denormal_as_zero: "1",
              intra_op: { allow_spinning: "0" },
              ...(externalData !== undefined && {
                model_external_initializers_file_folder_path: externalData,
              }),
            },
          },
        }),
      );
      return {
        bind(inputs, outputs) {
          const tensors = (values: Readonly<Record<string, TensorValue>>) =>
            Object.fromEntries(Object.entries(values).map(([name, v]) => [name, tensor(v)]));
          const [feeds, fetches] = [tensors(inputs), tensors(outputs)];
          // The kernel writes into the arrays given here; the copies that the binding returns are not used.
          return {
            run: () => attempt(() => session.run(feeds, fetches)).then(() => undefined),
            release: () => undefined, // its tensors are JavaScript's
          };
        },
        release: () => void session.release(),
      };
    },
  };
}

async function attempt<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new WorkError({ code: "runtime-failed", what: "ONNX Runtime failed", why }, { cause });
  }
}
