/** What a record lacks for an objective is said by the field's own name. */
import { expect, test } from "vitest";
import { parseRecord } from "../data/records.ts";
import { buildRows } from "../data/rows.ts";
import { RequestError } from "../errors.ts";
import { objectiveNamed } from "../objectives/table.ts";
import { touchedBy } from "../objectives/touched.ts";
import { missingIn, rowKindFor } from "./requirements.ts";

const builder = {
  endIds: [2],
  vocabularySize: 100,
  limits: { maxLength: 32, truncation: "error" as const },
};
const pair = { promptIds: [1, 5], chosenIds: [7, 2], rejectedIds: [9, 2] };

/** The first field that a record lacks. */
function lacks(id: string, options: object, value: object): string | undefined {
  const objective = objectiveNamed(id).with({ ...options });
  const parsed = parseRecord(value);
  if ("problem" in parsed) throw new RequestError({ code: "record", what: parsed.problem.why });
  const terms = [{ objective, weight: 1 }];
  const kind = rowKindFor(terms, "pair");
  const [row] = buildRows(parsed.record, { file: "here", line: 1 }, builder, kind);
  return missingIn(row, touchedBy(terms, row.kind, { fields: new Set(Object.keys(row.fields)) }));
}

test.each([
  ["dpo", {}, pair, undefined],
  ["vpo", { mode: "offline" }, pair, undefined],
  ["vpo", { mode: "online" }, pair, "calibration"],
  ["vpo", { mode: "online", alpha: 0 }, pair, undefined],
  ["vpo", { mode: "online" }, { ...pair, calibrationIds: [[8, 2]] }, undefined],
  ["sppo", {}, pair, "chosenWinRate"],
  ["sppo", { variant: "single" }, pair, "chosenProb"],
  ["t-reg", {}, pair, "tokenRewardsChosen"],
  ["xpo", {}, pair, "explored"],
  ["upo", {}, pair, "bald"],
  ["upo", { alphaMode: "off" }, pair, undefined],
])("%s %j", (id, options, record, field) => {
  expect(lacks(id, options, record)).toBe(field);
});
