/** 500 damaged inputs of the calculator, over all objectives: numbers, or one error that names the example or the field. */
import { expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { random } from "../engine/random.ts";
import { PrefoptError } from "../errors.ts";
import { damagedValue } from "../formats/testing.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed, objectives } from "./table.ts";
import { exampleOf, neededOptions } from "./testing-examples.ts";

test("500 damaged inputs", { timeout: 120_000 }, async () => {
  const backend = await openBackend();
  const all = objectives();
  const kinds = Object.values(exampleOf);
  let refused = 0;
  for (let seed = 0; seed < 500; seed++) {
    const rng = random(seed, "loss");
    const { id } = all[seed % all.length];
    const objective = objectiveNamed(id).with(neededOptions[id] ?? {}, "a test");
    const example = kinds[rng.integer(kinds.length)](() => -1.2);
    const input = damagedValue({ examples: [example, example] }, rng);
    const began = performance.now();
    const error: unknown = await calculate(backend, objective, input).then(
      ({ losses }) => (losses.length > 0 ? undefined : "no losses"),
      (e: unknown) => e,
    );
    expect(performance.now() - began, `seed ${seed}: ${id}`).toBeLessThan(5000);
    if (error === undefined) continue;
    refused++;
    if (!(error instanceof PrefoptError)) throw new Error(`seed ${seed}: ${id}`, { cause: error });
    expect(error.message.split("\n")).toHaveLength(1);
    expect(error.message.length).toBeLessThan(3000);
  }
  expect(refused).toBeGreaterThan(250);
  expect(refused).toBeLessThan(500);
});
