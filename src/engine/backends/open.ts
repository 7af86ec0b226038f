/**
 * The table of back ends, and the choice among them: the C API by default, the JavaScript binding where koffi
 * cannot load. `PREFOPT_BACKEND` names one. Other devices than the CPU have a back end of their own.
 */
import { RequestError, nearest } from "../../errors.ts";
import { type Backend, type Device, devices } from "./backend.ts";
import { withBlocks } from "./blocks.ts";

export interface BackendOptions {
  /** A name of the table below; absent: the first that works. */
  id?: string;
  /** Threads; absent: the cores this process may use. */
  threads?: number;
  /** Where to compute; default: cpu. */
  device?: string;
}

const backends: Readonly<Record<string, (options: BackendOptions) => Promise<Backend>>> = {
  "onnxruntime-c": async (o) => withBlocks((await import("./onnxruntime-c.ts")).openOnnxRuntimeC(o)),
  "onnxruntime-binding": async (o) => (await import("./onnxruntime-binding.ts")).openOnnxRuntimeBinding(o),
};

export async function openBackend(options: BackendOptions = {}): Promise<Backend> {
  const device = deviceNamed(options.device ?? "cpu");
  if (device !== "cpu")
    return (await import("./onnxruntime-device.ts")).openOnnxRuntimeDevice(device, options);
  const id = options.id ?? process.env.PREFOPT_BACKEND;
  if (id !== undefined) {
    const open = backends[id];
    if (open) return open(options);
    const names = Object.keys(backends);
    const guess = nearest(id, names);
    throw new RequestError({
      code: "unknown-backend",
      what: `there is no back end "${id}"`,
      fix: guess ? `Did you mean ${guess}?` : `Known: ${names.join(", ")}`,
    });
  }
  try {
    return await backends["onnxruntime-c"](options);
  } catch (error) {
    // A platform without a library has no fallback either; a koffi that does not load has one.
    if (error instanceof RequestError) throw error;
    return backends["onnxruntime-binding"](options);
  }
}

function deviceNamed(name: string): Device {
  const device = devices.find((d) => d === name);
  if (device) return device;
  const guess = nearest(name, devices);
  throw new RequestError({
    code: "unknown-device",
    what: `there is no device "${name}"`,
    fix: guess ? `Did you mean ${guess}?` : `Known: ${devices.join(", ")}`,
  });
}
