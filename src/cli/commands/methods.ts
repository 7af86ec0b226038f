/** `prefopt methods`: the table of systems, or the page of one. */
import { implementations } from "../../methods/implementations.ts";
import { type MethodEntry, methodNamed, methods } from "../../methods/table.ts";
import { objectives } from "../../objectives/table.ts";
import { parseRecipe, recipeToYaml } from "../../training/recipe.ts";
import type { CommandModule } from "../command.ts";
import { print, printJson, styled, table } from "../output.ts";

export const command: CommandModule = {
  name: "methods",
  summary: "The 34 published systems and what of them works; with an id its page and a complete recipe.",
  example: "prefopt methods dpo",
  configure(command) {
    command
      .argument("[id]", "a method's id")
      .option("--json", "print one line of JSON")
      .action(async (id: string | undefined, { json }: { json?: boolean }) => {
        if (json) return printJson(id === undefined ? methods : factsOf(methodNamed(id)));
        await print(id === undefined ? overview() : page(methodNamed(id)));
      });
  },
};

function overview(): string {
  const rows = [
    ["id", "status", "kind", "trains", "paper", "system"],
    ...methods.map((m) => [m.id, m.status, m.kind, m.modality, `arXiv:${m.paper}`, m.title]),
  ];
  const known = objectives().map((o) => o.id);
  return `${table(rows)}\n\nobjectives, for recipes (objective:) and prefopt loss: ${known.join(", ")}\n`;
}

/** All that is known of a method; what only an implementation can say is there when there is one. */
function factsOf(entry: MethodEntry): MethodEntry & Partial<ReturnType<typeof implementationFacts>> {
  return { ...entry, ...(entry.status === "works" && implementationFacts(entry.id)) };
}

function implementationFacts(id: string) {
  const { needs, claim, replication, defaults } = implementations[id];
  const recipe = { method: id, options: defaults, model: "assets/reviews", data: { train: "pairs.jsonl" } };
  return { needs, claim, replication, defaults, recipe: recipeToYaml(parseRecipe(recipe, `method ${id}`)) };
}

function page(entry: MethodEntry): string {
  const { title, id, paper, year, kind, modality, status, idea, ...facts } = factsOf(entry);
  const rows = [
    ["id", id],
    ["paper", `https://arxiv.org/abs/${paper} (${year})`],
    ["kind", kind],
    ["trains", `${modality} models`],
    ["status", status],
  ];
  for (const name of ["needs", "claim", "replication"] as const) {
    const fact = facts[name];
    if (fact !== undefined) rows.push([name, fact]);
  }
  const recipe = facts.recipe && `\nA complete recipe, everything at its default:\n\n${facts.recipe}`;
  return `${styled("bold", title)}\n${idea}\n\n${table(rows)}\n${recipe ?? ""}`;
}
