/** Every objective against published and recomputed values, through the calculator that `prefopt loss` runs. */
import { describe, expect, test } from "vitest";
import { openBackend } from "../engine/backends/open.ts";
import { calculate } from "./calculator.ts";
import { objectiveNamed, objectives } from "./table.ts";
import { expectClose, fixturesOf } from "./testing.ts";

const fixtures = await fixturesOf(objectives());
const backend = await openBackend();

describe.each(fixtures)("$objective", ({ objective, cases }) => {
  test.each(cases)("$name", async ({ options, input, expect: expected }) => {
    expectClose(
      await calculate(backend, objectiveNamed(objective).with(options), input),
      expected,
      objective,
    );
  });
});

test("every objective has cases", () => {
  expect(fixtures.length).toBe(objectives().length);
  for (const { objective, cases } of fixtures) expect(cases.length, objective).toBeGreaterThan(0);
});
