/** Threads are physical cores within what the process and its container may use. */
import { expect, test } from "vitest";
import { usableCores } from "./cores.ts";

const cpuinfo = (pairs: [number, number][]) =>
  pairs.map(([s, c], i) => `processor\t: ${i}\nphysical id\t: ${s}\ncore id\t\t: ${c}\n`).join("\n");
const fourCoresOfTwoThreads = cpuinfo([
  [0, 0],
  [0, 1],
  [0, 2],
  [0, 3],
  [0, 0],
  [0, 1],
  [0, 2],
  [0, 3],
]);

test.each([
  ["hardware threads count once", { available: 8, cpuinfo: fourCoresOfTwoThreads }, 4],
  [
    "two packages have cores of their own",
    {
      available: 4,
      cpuinfo: cpuinfo([
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
      ]),
    },
    4,
  ],
  ["an affinity of two processors", { available: 2, cpuinfo: fourCoresOfTwoThreads }, 2],
  [
    "a container's share of one and a half",
    { available: 8, cpuinfo: fourCoresOfTwoThreads, cpuMax: "150000 100000\n" },
    2,
  ],
  ["a tiny share", { available: 8, cpuMax: "5000 100000" }, 1],
  ["no limit", { available: 8, cpuinfo: fourCoresOfTwoThreads, cpuMax: "max 100000\n" }, 4],
  ["an old control group without a limit", { available: 2, cpuMax: "-1\n 100000\n" }, 2],
  ["a system that tells nothing", { available: 6 }, 6],
  ["ARM, which names no cores", { available: 4, cpuinfo: "processor\t: 0\nBogoMIPS\t: 50.00\n" }, 4],
])("%s", (_, facts, cores) => expect(usableCores(facts)).toBe(cores));
