/**
 * Finds ONNX Runtime's shared library inside the npm package `onnxruntime-node`, and says clearly when this platform
 * has none (Alpine and other musl systems, Intel Macs, 32-bit machines) or when the package is not installed.
 */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { RequestError } from "../../errors.ts";

/** Platforms for which onnxruntime-node 1.30 carries a CPU library, and the library's file name. */
const libraries: Readonly<Record<string, string>> = {
  "linux-x64": "libonnxruntime.so.1",
  "linux-arm64": "libonnxruntime.so.1",
  "darwin-arm64": "libonnxruntime.1.dylib",
  "win32-x64": "onnxruntime.dll",
  "win32-arm64": "onnxruntime.dll",
};

/** What decides whether a library exists. */
export interface Platform {
  os: string;
  arch: string;
  /** C library is glibc; of interest on Linux only. */
  glibc: boolean;
}

export function thisPlatform(): Platform {
  // `process.report` names the glibc version; musl systems have none.
  const header =
    process.platform === "linux"
      ? (process.report?.getReport() as ReportWithHeader | undefined)?.header
      : undefined;
  return { os: process.platform, arch: process.arch, glibc: Boolean(header?.glibcVersionRuntime) };
}

interface ReportWithHeader {
  header?: { glibcVersionRuntime?: string };
}

/** The library's file name on this platform. Throws where there is none. */
export function libraryName({ os, arch, glibc }: Platform): string {
  const name = libraries[`${os}-${arch}`];
  if (name && (os !== "linux" || glibc)) return name;
  const here = os === "linux" && name ? `${os} ${arch} with musl` : `${os} ${arch}`;
  throw new RequestError({
    code: "no-runtime-library",
    what: `there is no ONNX Runtime library for ${here}`,
    why: "onnxruntime-node carries libraries for Linux (x64, arm64, glibc), Windows (x64, arm64) and macOS (arm64) only",
    fix:
      os === "linux"
        ? "Use a glibc-based system, for example a Debian or Ubuntu image"
        : "Run prefopt on one of these platforms, for example in a Linux container",
  });
}

/** Absolute path of the library. Throws when the package is missing or was installed without its files. */
export function libraryPath(platform: Platform = thisPlatform()): string {
  const name = libraryName(platform);
  const folder = join(packageRoot(), "bin", "napi-v6", platform.os, platform.arch);
  const path = join(folder, name);
  if (!existsSync(path)) throw missing(`${path} is not there`);
  return path;
}

function packageRoot(): string {
  try {
    return dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  } catch (cause) {
    throw missing("its package cannot be found", cause);
  }
}

function missing(why: string, cause?: unknown): RequestError {
  return new RequestError(
    {
      code: "runtime-not-installed",
      what: "onnxruntime-node is not installed",
      why,
      fix: "Run: npm install onnxruntime-node --ignore-scripts",
    },
    { cause },
  );
}
