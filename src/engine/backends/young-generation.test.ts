import { Session } from "node:inspector/promises";
import { getHeapSpaceStatistics } from "node:v8";
import { expect, test } from "vitest";
import { holdYoungGeneration } from "./young-generation.ts";

const size = () => getHeapSpaceStatistics().find((s) => s.space_name === "new_space")?.space_size ?? 0;

/** Bytes of the young generation, made small by a full collection, after much has survived in it. */
async function grown(): Promise<number> {
  const session = new Session();
  session.connect();
  await session.post("HeapProfiler.collectGarbage");
  session.disconnect();
  let kept: object[] = [];
  for (let i = 0; i < 3e6; i++) {
    kept.push({ i });
    if (kept.length > 2e5) kept = [];
  }
  return size();
}

test("held, it does not grow; released by all who held it, it does", async () => {
  const large = 8 * 2 ** 20;
  expect(await grown()).toBeGreaterThan(large);
  const [first, second] = [holdYoungGeneration(), holdYoungGeneration()];
  first();
  first(); // counts once
  expect(await grown()).toBeLessThan(large / 2);
  second();
  expect(await grown()).toBeGreaterThan(large);
});
