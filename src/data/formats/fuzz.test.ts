/**
 * 500 damaged rows of every data format: each is read as records or given a reason that names a field, whichever format it is taken
 * for, and what is read can be written again or not, in words.
 */
import { describe, expect, test } from "vitest";
import { random } from "../../engine/random.ts";
import { RequestError } from "../../errors.ts";
import { damagedValue } from "../../formats/testing.ts";
import { loadRecords } from "../load-records.ts";
import { Fields } from "./fields.ts";
import { Notes } from "./notes.ts";
import { type DataFormatName, dataFormatNames, dataFormats } from "./table.ts";

const records: readonly object[] = [
  {
    prompt: [{ role: "user", content: "What is the capital of France?" }],
    chosen: [{ role: "assistant", content: "Paris." }],
    rejected: [{ role: "assistant", content: "Rome." }],
  },
  { prompt: "The film is", chosen: " a delight.", rejected: " a mess.", chosenScore: 4, rejectedScore: 1 },
  { prompt: "Name one.", completions: ["a", "b", "c"], scores: [2, 0, 1] },
  { prompt: "Name one.", completion: "a", label: true },
];

/** Rows of a format, as its writer makes them of what it can hold. */
function rowsOf(name: DataFormatName): unknown[] {
  const { writer } = dataFormats[name];
  return records.flatMap((record) => {
    try {
      return [writer.write(new Fields(record as Record<string, unknown>), new Notes())];
    } catch {
      return [];
    }
  });
}

describe.each(dataFormatNames)("%s", (name) => {
  test("500 damaged rows", async () => {
    const rows = rowsOf(name);
    expect(rows.length).toBeGreaterThan(0);
    for (let seed = 0; seed < 500; seed++) {
      const rng = random(seed, "rows", name);
      const row = damagedValue(rows[seed % rows.length], rng);
      for (const options of [{ format: name }, {}, { format: name, invalid: "skip" as const }]) {
        const began = performance.now();
        const error: unknown = await loadRecords([row], options).then(
          () => undefined,
          (e: unknown) => e,
        );
        expect(performance.now() - began).toBeLessThan(2000);
        if (error !== undefined && !(error instanceof RequestError))
          throw new Error(`seed ${seed}: ${JSON.stringify(row).slice(0, 500)}`, { cause: error });
        if (error instanceof RequestError) expect(error.message.length).toBeLessThan(3000);
      }
    }
  });
});
