/** What a measurement was made on: the machine, and the versions that decide about speed. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import type { Backend } from "../../engine/backends/backend.ts";
import { joinPath, packageFolder } from "../../formats/files.ts";

export interface Machine {
  readonly cpu: string;
  /** Processors that this process may use. */
  readonly processors: number;
  /** Threads that the back end computes with. */
  readonly threads: number;
  /** Whether the processor has AVX-512; null where the system does not tell. */
  readonly avx512: boolean | null;
  readonly memoryGb: number;
  readonly os: string;
}

export interface Versions {
  readonly prefopt: string;
  readonly onnxruntime: string;
  readonly node: string;
}

export function machine({ threads }: Backend): Machine {
  return {
    cpu: os.cpus()[0]?.model.trim() ?? "unknown",
    processors: os.availableParallelism(),
    threads,
    avx512: hasAvx512(),
    memoryGb: Math.round(os.totalmem() / 2 ** 30),
    os: `${os.platform()} ${os.arch()}`,
  };
}

export function versions(): Versions {
  return {
    prefopt: versionIn(joinPath(packageFolder(), "package.json")),
    onnxruntime: versionIn(createRequire(import.meta.url).resolve("onnxruntime-node/package.json")),
    node: process.versions.node,
  };
}

const versionIn = (path: string) => (JSON.parse(readFileSync(path, "utf8")) as { version: string }).version;

function hasAvx512(): boolean | null {
  try {
    return /^flags\s*:.*\bavx512f\b/m.test(readFileSync("/proc/cpuinfo", "utf8"));
  } catch {
    return null;
  }
}
