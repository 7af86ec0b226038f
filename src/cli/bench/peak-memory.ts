/**
 * The most memory that this process held at once. Linux keeps the highest resident size and forgets it on demand, so that a
 * measurement can begin where it should; elsewhere the system's highest since the start of the process counts.
 */
import { readFileSync, writeFileSync } from "node:fs";

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
  return () => {
    const marked = highWaterMark();
    return marked === undefined
      ? {
          peakRssMb: Math.round(process.resourceUsage().maxRSS / 1024),
          peakRssIs: "the system's maxrss since the start of the process",
        }
      : { peakRssMb: Math.round(marked / 1024), peakRssIs: `VmHWM since ${since}` };
  };
}

/** Kilobytes. */
function highWaterMark(): number | undefined {
  try {
    const found = /^VmHWM:\s*(\d+) kB/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
    return found === undefined ? undefined : Number(found);
  } catch {
    return undefined;
  }
}
