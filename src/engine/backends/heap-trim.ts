/** Gives memory back that compiling leaves behind: glibc keeps what was freed in the heaps of its threads. */
import koffi from "koffi";

let trim: (() => void) | undefined;

/** Returns freed memory to the system where the C library knows how (glibc); elsewhere it does nothing. */
export function trimHeaps(): void {
  trim ??= trimmer(); // not before it is wanted: koffi cannot be configured once it has loaded something
  trim();
}

function trimmer(): () => void {
  if (process.platform !== "linux") return () => undefined;
  try {
    const own = koffi.load("libc.so.6").func("int malloc_trim(size_t)") as (pad: number) => number;
    return () => void own(0);
  } catch {
    return () => undefined; // another C library
  }
}
