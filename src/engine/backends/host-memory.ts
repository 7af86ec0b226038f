/** Memory of this process and of what it may still have: the system's, within its container's limit. */
import { readFileSync } from "node:fs";
import { freemem } from "node:os";

/** Bytes that this process holds. */
export const residentBytes = (): number => process.memoryUsage.rss();

/** Bytes that it may have beside those: what the system calls available, within the limit of its control group. */
export function availableBytes(): number {
  const limit =
    numberIn("/sys/fs/cgroup/memory.max") ?? numberIn("/sys/fs/cgroup/memory/memory.limit_in_bytes");
  const used =
    numberIn("/sys/fs/cgroup/memory.current") ?? numberIn("/sys/fs/cgroup/memory/memory.usage_in_bytes");
  const system = systemAvailable() ?? freemem();
  return limit === undefined || used === undefined ? system : Math.max(0, Math.min(system, limit - used));
}

/** The most bytes that this process has held so far. */
export function peakResidentBytes(): number {
  const found = /^VmHWM:\s*(\d+) kB/m.exec(textOf("/proc/self/status") ?? "")?.[1];
  return (found === undefined ? process.resourceUsage().maxRSS : Number(found)) * 1024;
}

function systemAvailable(): number | undefined {
  const found = /^MemAvailable:\s*(\d+) kB/m.exec(textOf("/proc/meminfo") ?? "")?.[1];
  return found === undefined ? undefined : Number(found) * 1024;
}

/** The number in a file; undefined where there is none ("max"), or one that limits nothing. */
function numberIn(path: string): number | undefined {
  const value = Number(textOf(path)?.trim() ?? NaN);
  return Number.isFinite(value) && value < 2 ** 60 ? value : undefined;
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
