/**
 * How many threads to compute with: physical cores (two hardware threads of a core share its arithmetic units, and more threads
 * than cores fight), within the processors this process may use and its container's share of time.
 */
import { readFileSync } from "node:fs";
import { availableParallelism } from "node:os";

export interface CpuFacts {
  /** Processors that this process may run on. */
  readonly available: number;
  /** Text of /proc/cpuinfo, where there is one. */
  readonly cpuinfo?: string;
  /** Text of the control group's cpu.max: microseconds of quota and period, or "max". */
  readonly cpuMax?: string;
}

/** The cores of this machine for this process, at least 1. */
export function usableCores(facts: CpuFacts = readFacts()): number {
  const physical = facts.cpuinfo === undefined ? undefined : physicalCores(facts.cpuinfo);
  const quota = facts.cpuMax === undefined ? undefined : quotaOf(facts.cpuMax);
  return Math.max(1, Math.min(facts.available, physical ?? Infinity, quota ?? Infinity));
}

/** Different pairs of package and core; undefined where the system does not tell. */
function physicalCores(cpuinfo: string): number | undefined {
  const cores = new Set<string>();
  for (const block of cpuinfo.split(/\n\s*\n/)) {
    const value = (key: string) => new RegExp(`^${key}\\s*:\\s*(\\d+)`, "m").exec(block)?.[1];
    const [socket, core] = [value("physical id"), value("core id")];
    if (core !== undefined) cores.add(`${socket ?? 0}/${core}`);
  }
  return cores.size > 0 ? cores.size : undefined;
}

/** Whole processors of time, rounded up; undefined where there is no limit. */
function quotaOf(cpuMax: string): number | undefined {
  const [quota, period] = cpuMax.trim().split(/\s+/).map(Number);
  return quota > 0 && period > 0 ? Math.ceil(quota / period) : undefined;
}

function readFacts(): CpuFacts {
  const text = (path: string) => {
    try {
      return readFileSync(path, "utf8");
    } catch {
      return undefined;
    }
  };
  const v1 = [text("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"), text("/sys/fs/cgroup/cpu/cpu.cfs_period_us")];
  const cpuMax = text("/sys/fs/cgroup/cpu.max") ?? (v1[0] && v1[1] ? v1.join(" ") : undefined);
  return { available: availableParallelism(), cpuinfo: text("/proc/cpuinfo"), cpuMax };
}
