import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { objective } from "../objectives/objective.ts";
import { registerObjective } from "../objectives/table.ts";
import { parseRecipe, recipeToYaml } from "../training/recipe.ts";
import { commands } from "./commands.ts";
import { implementations } from "./implementations.ts";
import { methodNamed, methods } from "./table.ts";
import { termsOf } from "./terms.ts";

const ids = methods.map((m) => m.id);

describe("the table of systems", () => {
  it("has 34, each once, with papers of their own", () => {
    expect(ids).toHaveLength(34);
    expect(new Set(ids).size).toBe(34);
    expect(new Set(methods.map((m) => m.paper)).size).toBe(34);
    for (const { id, paper, idea } of methods) {
      expect(id).toMatch(/^[a-z0-9]+(-[a-z0-9]+)*$/);
      expect(paper).toMatch(/^\d{4}\.\d{5}$/);
      expect(idea).toMatch(/^[A-Z].*\.$/);
    }
  });

  it("dates a system no earlier than its paper's number", () => {
    // arXiv numbers begin with year and month of the first version
    for (const { paper, year } of methods) expect(`20${paper.slice(0, 2)}`).toBe(String(year));
  });

  it("knows every implementation by its id", () => {
    for (const [id, method] of Object.entries(implementations)) {
      expect(ids).toContain(id);
      expect(method.id).toBe(id);
    }
  });
});

describe("status", () => {
  it("is that of the code: works with an implementation or a command, planned without anything", () => {
    const working = methods.filter((m) => m.status === "works").map((m) => m.id);
    expect(working).toEqual(
      ids.filter((id) => Object.hasOwn(implementations, id) || Object.hasOwn(commands, id)),
    );
    expect(ids).toEqual(expect.arrayContaining(Object.keys(commands)));
    expect(working).toContain("dpo");
  });
  it("is 'objective only' as soon as there is an objective of that name", () => {
    for (const planned of methods.filter((m) => m.status === "planned").slice(0, 1)) {
      registerObjective(
        objective({ id: planned.id, record: "pair", options: {}, loss: ({ chosen }) => chosen.policy.logp }),
      );
      expect(methodNamed(planned.id).status).toBe("objective only");
    }
  });
});

describe("names", () => {
  it.each([
    ["tpo", "triple-po, task-po"],
    ["spo", "self-supervised-po, step-aware-po"],
    ["APO", "accelerated-po"],
  ])("%s could mean several, and all are listed", (name, candidates) => {
    expect(() => methodNamed(name)).toThrow(candidates);
  });
  it("cofs-dpo is part of ofs-dpo", () => {
    expect(methodNamed("cofs-dpo").id).toBe("ofs-dpo");
  });
  it("a misspelt one is answered with the nearest", () => {
    expect(() => methodNamed("simpoo")).toThrow("Did you mean simpo?");
    expect(() => methodNamed("constructor")).toThrow("there is no method");
  });
});

describe.each(Object.values(implementations))("the method $id", (method) => {
  it("has defaults that its losses accept, and a recipe that is read back as it was printed", () => {
    const input = { method: method.id, options: method.defaults, model: "m", data: { train: "pairs.jsonl" } };
    const recipe = parseRecipe(input, "a test");
    expect(termsOf(recipe).length).toBeGreaterThan(0);
    expect(parseRecipe(parse(recipeToYaml(recipe)), "a test")).toEqual(recipe);
  });
});
