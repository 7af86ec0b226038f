/**
 * The most memory that this process held at once. Linux keeps the highest resident size and forgets it on demand, so that a
 * measurement can begin where it should; elsewhere the system's highest since the start of the process counts.
 */
import { writeFileSync } from "node:fs";
import { peakResidentBytes } from "../../engine/backends/host-memory.ts";

export interface Peak {
  readonly peakRssMb: number;
  /** How it was measured, in words. */
  readonly peakRssIs: string;
}

/** Begins a measurement; call what it returns at the end. */
export function peakMemory(): () => Peak {
  let since = "the start of the process";
  try {
    writeFileSync("/proc/self/clear_refs", "5"); // forgets the highest resident size
    since = "the start of the measurement";
  } catch {
    // not Linux, or not allowed
  }
  return () => ({
    peakRssMb: Math.round(peakResidentBytes() / 2 ** 20),
    peakRssIs: `${process.platform === "linux" ? "VmHWM" : "maxrss"} since ${since}`,
  });
}
