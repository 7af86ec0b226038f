/**
 * Systems and objectives described: facts from the code, prose and the meanings of options from their pages below docs/methods/,
 * and a complete recipe of each that trains now.
 */
import { parse as parseYaml } from "yaml";
import { exists, packagePath, readText } from "../formats/files.ts";
import type { ObjectiveFamily } from "../objectives/definition.ts";
import { type OptionFact, optionFacts } from "../objectives/option-facts.ts";
import { objectiveNamed } from "../objectives/table.ts";
import { parseRecipe, recipeToYaml } from "../training/recipe.ts";
import { implementations } from "./implementations.ts";
import { type Section, blocksOf, sectionNamed, sectionsOf } from "./markdown.ts";
import { type ObjectiveFacts, factsOfObjective } from "./objective-facts.ts";
import { objectivePages, pageFile, pageOfSystem } from "./pages.ts";
import type { MethodEntry } from "./table.ts";
import { markers, optionTables } from "./written.ts";

export interface ObjectiveDescription extends ObjectiveFacts {
  readonly title?: string;
  readonly paper?: string;
  readonly options: readonly (Omit<OptionFact, "values"> & { readonly meaning?: string })[];
  /** Its page, below the package. */
  readonly page?: string;
  /** A short recipe that runs as it is, below the package. */
  readonly recipeFile?: string;
  /** The same with every key written out. */
  readonly recipe?: string;
}

export interface SystemDescription extends MethodEntry {
  readonly needs?: string;
  readonly claim?: string;
  readonly replication?: string;
  /** Options of the method with the paper's defaults. */
  readonly defaults?: Readonly<Record<string, unknown>>;
  readonly page?: string;
  readonly recipe?: string;
  /** Its objectives, described. */
  readonly losses: readonly ObjectiveDescription[];
}

/** All that is known of a system; what only an implementation can say is there when there is one. */
export async function describeSystem(entry: MethodEntry): Promise<SystemDescription> {
  const page = pageOfSystem(entry.id);
  const losses = await Promise.all(entry.objectives.map((id) => describeObjective(objectiveNamed(id))));
  const [short] = page ? blocksOf(await readPage(page), "yaml") : [];
  const implemented = Object.hasOwn(implementations, entry.id) ? implementationFacts(entry.id) : undefined;
  const recipe = implemented?.recipe ?? (short && complete(parseYaml(short), entry.id));
  return {
    ...entry,
    ...implemented,
    ...(page && { page: pageFile(page) }),
    ...(recipe && { recipe }),
    losses,
  };
}

function implementationFacts(id: string) {
  const { needs, claim, replication, defaults } = implementations[id];
  const recipe = { method: id, options: defaults, model: "assets/reviews", data: { train: "pairs.jsonl" } };
  return { needs, claim, replication, defaults, recipe: complete(recipe, id) };
}

/** All that is known of an objective. One's own has neither page nor recipe. */
export async function describeObjective(family: ObjectiveFamily): Promise<ObjectiveDescription> {
  const facts = factsOfObjective(family);
  const known = Object.hasOwn(objectivePages, family.id) ? objectivePages[family.id] : undefined;
  const meanings = known ? await meaningsOf(family.id) : new Map<string, string>();
  const recipeFile = `recipes/objectives/${family.id}.yaml`;
  const recipe = (await exists(packagePath(recipeFile))) && (await readText(packagePath(recipeFile)));
  return {
    ...facts,
    ...(known && { title: known.title, page: pageFile(known.page) }),
    ...(known?.paper && { paper: known.paper }),
    options: optionFacts(family).map(({ name, default: usual, range }) => ({
      name,
      default: usual,
      range,
      ...(meanings.has(name) && { meaning: meanings.get(name) }),
    })),
    ...(recipe && { recipeFile, recipe: complete(parseYaml(recipe), recipeFile) }),
  };
}

/** A recipe with every key at its value or default. */
const complete = (recipe: unknown, where: string) => recipeToYaml(parseRecipe(recipe, where));

/** What the options of an objective mean, from the tables of its page. */
async function meaningsOf(id: string): Promise<Map<string, string>> {
  const { page, options } = objectivePages[id];
  const meanings = new Map<string, string>();
  for (const name of options ? [options, page] : [page]) {
    for (const { header, rows, defaults } of optionTables(await readPage(name), name)) {
      if (![...defaults.values()].includes(name === options ? options : id)) continue;
      const at = header.indexOf("meaning");
      for (const row of rows) meanings.set(row[0].replaceAll("`", ""), row[at]);
    }
  }
  return meanings;
}

const readPage = (page: string) => readText(packagePath(pageFile(page)));

/** Sections that are shown from the code instead. */
const shownElsewhere = (title: string) => title === "Options" || title.startsWith("Recipe");

/** The prose about a system: its page without facts, options and recipe. */
export async function proseOfSystem(id: string): Promise<readonly Section[]> {
  const page = pageOfSystem(id);
  return page ? proseOf(sectionsOf(await readPage(page))) : [];
}

/** The prose about an objective: its section, or its page. */
export async function proseOfObjective(id: string): Promise<readonly Section[]> {
  if (!Object.hasOwn(objectivePages, id)) return [];
  const { page, section } = objectivePages[id];
  const all = sectionsOf(await readPage(page));
  return proseOf(section ? sectionNamed(all, `\`${id}\``) : all);
}

function proseOf(sections: readonly Section[]): Section[] {
  const [begin, end] = markers.facts;
  const kept: Section[] = [];
  /** Level of a section that is left out, with those below it. */
  let out = Infinity;
  for (const section of sections) {
    if (section.level > out) continue;
    out = shownElsewhere(section.title) ? section.level : Infinity;
    if (out < Infinity) continue;
    const from = section.text.indexOf(begin);
    const to = section.text.indexOf(end);
    const text = from < 0 ? section.text : section.text.slice(0, from) + section.text.slice(to + end.length);
    kept.push({ ...section, text: text.trim() });
  }
  return kept;
}
