/**
 * The part of JavaScript's heap that new objects are made in. V8 doubles it whenever much of it survives a collection, to 32 MB in the end,
 * also where, as in training, next to nothing is made in JavaScript; it shrinks at full collections alone.
 */
import { setFlagsFromString } from "node:v8";

/** V8's flag for how many times as large it becomes, and its default. */
const [flag, usual] = ["--semi-space-growth-factor", 2];

let holders = 0;

/** Keeps it from growing until what this returns is called. Where the process was started with sizes of its own, they stay. */
export function holdYoungGeneration(): () => void {
  if ([...process.execArgv, process.env.NODE_OPTIONS ?? ""].some((o) => /semi[-_]space/.test(o)))
    return () => undefined;
  if (holders++ === 0) setFlagsFromString(`${flag}=1`);
  let held = true;
  return () => {
    if (held && --holders === 0) setFlagsFromString(`${flag}=${usual}`);
    held = false;
  };
}
