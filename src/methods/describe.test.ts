/** What `prefopt methods` knows of each system and objective. */
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { objective } from "../objectives/objective.ts";
import { objectiveNamed, objectives } from "../objectives/table.ts";
import { parseRecipe } from "../training/recipe.ts";
import { describeObjective, describeSystem, proseOfObjective, proseOfSystem } from "./describe.ts";
import { findMethod, methodNamed, methods } from "./table.ts";
import { termsOf } from "./terms.ts";

describe("objectives", () => {
  it.each(objectives().map((o) => o.id))("%s has a name, meanings, prose and a recipe", async (id) => {
    const { title, page, options, recipe = "", accepts } = await describeObjective(objectiveNamed(id));
    expect(title).toMatch(/\S/);
    expect(page).toMatch(/^docs\/methods\/.+\.md$/);
    expect(accepts).not.toEqual([]);
    for (const { name, meaning } of options) expect(meaning, name).toMatch(/\S/);
    const terms = termsOf(parseRecipe(parse(recipe), "a test"));
    expect(terms.map((t) => t.objective.id)).toEqual([id]);
    expect((await proseOfObjective(id)).map((s) => s.text).join("").length).toBeGreaterThan(100);
  });
  it("one of a user's own is described by the code alone", async () => {
    const own = objective({
      id: "own",
      record: "pair",
      options: {},
      loss: ({ chosen }) => chosen.policy.logp,
    });
    const described = await describeObjective(own);
    expect(described).toMatchObject({ id: "own", records: "pair", reference: "no", fields: "none" });
    expect(described.page).toBeUndefined();
    expect(await proseOfObjective("own")).toEqual([]);
  });
  it.each([
    [
      "kto",
      {
        records: "unpaired",
        fields: "`label`",
        reference: "yes",
        leastRecords: 2,
        accepts: ["unpaired", "pair"],
      },
    ],
    ["simpo", { records: "pair", fields: "none", reference: "no" }],
    ["rso", { reference: "yes; no with `lossType: hinge`, `slic`" }],
    ["sppo", { records: "pair; list with `variant: allK`" }],
    ["preflexor", { reference: "no; yes with `stage: 2`" }],
    ["vpo", { fields: "none; `calibration` with `mode: online`" }],
    ["self-supervised-po", { trains: ["a linear head (degree)"], accepts: ["pair"] }],
  ])("facts of %s", async (id, facts) => {
    expect(await describeObjective(objectiveNamed(id))).toMatchObject(facts);
  });
});

describe("systems", () => {
  it.each(methods.filter((m) => m.objectives.length > 0).map((m) => m.id))(
    "%s names what trains now, and a recipe",
    async (id) => {
      const entry = methodNamed(id);
      const { losses, recipe = "", page } = await describeSystem(entry);
      expect(losses.map((l) => l.id)).toEqual(entry.objectives);
      expect(page).toBe(`docs/methods/${id}.md`);
      const { objective: named, method } = parseRecipe(parse(recipe), "a test");
      expect(entry.status === "works" ? method : entry.objectives).toContain(method ?? named);
      expect((await proseOfSystem(id)).length).toBeGreaterThan(1);
    },
  );
  it("those whose losses are other objectives say which", () => {
    const own = (id: string) => methodNamed(id).objectives;
    expect(own("fusechat-3")).toEqual(["sigmoid-norm", "dpo"]);
    expect(own("fspo")).toEqual(["ipo"]);
    expect(own("knowpo")).toEqual(["dpo"]);
    expect(own("accelerated-po")).toEqual(["dpo", "ipo", "sppo"]);
    expect(["fusechat-3", "fspo", "knowpo"].map((id) => methodNamed(id).status)).toEqual(
      Array(3).fill("objective only"),
    );
  });
  it("an objective is no method, and is said to be an objective", () => {
    expect(findMethod("kto")).toBeUndefined();
    expect(() => methodNamed("kto")).toThrow("set objective: kto instead of method");
    const recipe = parseRecipe({ method: "simpo", model: "m", data: { train: "t" } }, "a test");
    expect(() => termsOf(recipe)).toThrow("set objective: simpo instead of method");
  });
});
