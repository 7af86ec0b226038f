/**
 * The pages of docs/methods against the code: every system and objective has its place, options have the code's defaults and ranges,
 * recipes are those of recipes/ and train what exists, and no link of the documentation leads nowhere.
 */
import { existsSync, readFileSync, readdirSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { blocksOf, sectionNamed, sectionsOf } from "../src/methods/markdown.ts";
import { objectivePages, pageFile, pageOfSystem, pages } from "../src/methods/pages.ts";
import { methods } from "../src/methods/table.ts";
import { termsOf } from "../src/methods/terms.ts";
import {
  optionTables,
  withMethodsTable,
  withObjectivesTable,
  withPageFacts,
} from "../src/methods/written.ts";
import { optionFacts } from "../src/objectives/option-facts.ts";
import { objectiveNamed, objectives } from "../src/objectives/table.ts";
import { parseRecipe } from "../src/training/recipe.ts";
import { root } from "./command.ts";

const read = (file: string) => readFileSync(join(root, file), "utf8");
const pageText = (page: string) => read(pageFile(page));
const ids = objectives().map((o) => o.id);
const index = read("docs/methods/README.md");

describe("places", () => {
  it("every objective has a page, and a section where a page has several", () => {
    expect(Object.keys(objectivePages).sort()).toEqual([...ids].sort());
    for (const [id, { page, section }] of Object.entries(objectivePages)) {
      const text = pageText(page);
      if (section) expect(sectionNamed(sectionsOf(text), `\`${id}\``), `${page}: ${id}`).not.toEqual([]);
      const [table] = text.split("<!-- end of facts -->");
      expect(table, `${page}: ${id}`).toContain(`\`${id}\``);
    }
  });
  it("every text system that trains something has a page of its own name", () => {
    for (const { id, modality, objectives: own } of methods)
      if (modality === "text" && own.length > 0) expect(pageOfSystem(id)).toBe(id);
  });
  it("every page is reached from the index, and every file is a page", () => {
    const files = readdirSync(join(root, "docs/methods")).map((name) => name.replace(".md", ""));
    expect(files.sort()).toEqual([...pages, "README"].sort());
    for (const page of pages) expect(index).toMatch(new RegExp(`\\(${page}\\.md[)#]`));
  });
  it.each(pages)("%s says what it is, what it does, when to use it, and what runs", (page) => {
    const titles = sectionsOf(pageText(page)).map((s) => s.title);
    if (titles.some((t) => t.startsWith("`"))) return; // several objectives, a section each
    const wanted = ["What the gradient does"];
    if (page !== "ches") wanted.push("The loss", "When to use it", "Options", "Records", "Recipe");
    expect(titles).toEqual(expect.arrayContaining(wanted));
  });
});

describe("what is written from the code (else: npm run docs:methods)", () => {
  it.each(pages)("%s", (page) => {
    expect(withPageFacts(pageText(page), page)).toBe(pageText(page));
  });
  it("the index and the README", () => {
    expect(withObjectivesTable(index)).toBe(index);
    expect(withMethodsTable(read("README.md"))).toBe(read("README.md"));
  });
});

describe("options", () => {
  it.each(ids)("%s: each stands in a table with its default, its range and a meaning", (id) => {
    const { page, options = page } = objectivePages[id];
    const listed = new Map<string, readonly string[]>();
    const owner = options === page ? id : options;
    for (const { header, rows, defaults } of optionTables(pageText(options), options)) {
      const column = [...defaults].find(([, of]) => of === owner)?.[0];
      if (column === undefined) continue;
      const [range, meaning] = [header.indexOf("range"), header.indexOf("meaning")];
      for (const row of rows) listed.set(row[0], [row[column], row[range], row[meaning]]);
    }
    for (const { name, default: usual, range } of optionFacts(objectiveNamed(id))) {
      const row = listed.get(`\`${name}\``);
      expect(row?.slice(0, 2), name).toEqual([usual, range]);
      expect(row?.[2], name).toMatch(/\S/);
    }
  });
  it.each(pages)("%s: no table has an option that does not exist", (page) => {
    for (const { rows, defaults } of optionTables(pageText(page), page))
      for (const id of defaults.values()) {
        const known = optionFacts(objectiveNamed(id)).map((o) => `\`${o.name}\``);
        expect(known).toEqual(expect.arrayContaining(rows.map((row) => row[0])));
      }
  });
});

describe("recipes", () => {
  const documents = ["README.md", ...pages.map(pageFile), "docs/recipes.md", "docs/methods/README.md"];
  it("every recipe that is named exists", () => {
    for (const file of documents)
      for (const [name] of read(file).matchAll(/recipes\/[\w./-]+\.yaml/g))
        expect(existsSync(join(root, name)), `${file}: ${name}`).toBe(true);
  });
  it("every objective's recipe is named on its page", () => {
    for (const [id, { page }] of Object.entries(objectivePages))
      expect(pageText(page), `${page}: ${id}`).toMatch(new RegExp(`[/\`]${id}\\.yaml`));
  });
  it.each(pages)("%s: every block is a recipe that trains, and the file's where one is named", (page) => {
    const text = pageText(page);
    for (const block of blocksOf(text, "yaml")) {
      const recipe = parseRecipe(parse(block), page);
      expect(termsOf(recipe).length).toBeGreaterThan(0);
      for (const file of [recipe.model, recipe.data.train, recipe.data.eval ?? recipe.model])
        expect(existsSync(join(root, file)), file).toBe(true);
      const own = `recipes/objectives/${String(recipe.objective)}.yaml`;
      const named = text.slice(0, text.indexOf(block)).lastIndexOf(own);
      if (named >= 0) expect(read(own)).toBe(block);
    }
    const described = Object.values(objectivePages).some((p) => p.page === page);
    if (described) expect(blocksOf(text, "yaml").length).toBeGreaterThan(0);
  });
});

describe("links", () => {
  const files = ["README.md", "CONTRIBUTING.md"];
  for (const entry of readdirSync(join(root, "docs"), { recursive: true, encoding: "utf8" }))
    if (entry.endsWith(".md")) files.push(join("docs", entry));
  /** As GitHub makes anchors of headings. */
  const anchors = (file: string) =>
    sectionsOf(read(file)).map(({ title }) =>
      title
        .toLowerCase()
        .replaceAll(/[^\p{L}\p{N}\p{M} _-]/gu, "")
        .replaceAll(" ", "-"),
    );
  it.each(files)("%s", (file) => {
    for (const [, target] of read(file).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [path, anchor] = target.split("#");
      const place = path === "" ? file : relative(root, join(root, dirname(file), path));
      expect(existsSync(join(root, place)), `${file}: ${target}`).toBe(true);
      if (anchor) expect(anchors(place), `${file}: ${target}`).toContain(anchor);
    }
    for (const [, name] of read(file).matchAll(/`(docs\/[\w./-]+\.md)`/g))
      expect(existsSync(join(root, name)), `${file}: ${name}`).toBe(true);
  });
});
