/** `prefopt methods`: the table of methods, or the page of one. */
import { implementations } from "../../methods/implementations.ts";
import { type MethodEntry, methodNamed, methods, statusOf } from "../../methods/table.ts";
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
        if (id !== undefined) return page(methodNamed(id), json ?? false);
        if (json) return printJson(methods.map((m) => ({ ...m, status: statusOf(m) })));
        const rows = [
          ["id", "status", "paper", "method"],
          ...methods.map((m) => [m.id, statusOf(m), `arXiv:${m.paper}`, m.title]),
        ];
        await print(
          `${table(rows)}\n\nobjectives for \`objective:\` in recipes and \`prefopt loss\`: ${objectives()
            .map((o) => o.id)
            .join(", ")}\n`,
        );
      });
  },
};

async function page(entry: MethodEntry, json: boolean): Promise<void> {
  const status = statusOf(entry);
  const method = implementations[entry.id];
  const recipe =
    method &&
    recipeToYaml(
      parseRecipe(
        {
          method: entry.id,
          options: method.defaults,
          model: "assets/reviews",
          data: { train: "pairs.jsonl" },
        },
        entry.id,
      ),
    );
  if (json)
    return printJson({
      ...entry,
      status,
      ...(method && {
        needs: method.needs,
        defaults: method.defaults,
        claim: method.claim,
        replication: method.replication,
        recipe,
      }),
    });
  const lines = [
    `${styled("bold", entry.title)} (${entry.id}) · arXiv:${entry.paper}, ${entry.year} · ${entry.modality}`,
    entry.idea,
    "",
    `status       ${status}`,
  ];
  if (method)
    lines.push(
      `needs        ${method.needs}`,
      `claim        ${method.claim}`,
      `replication  ${method.replication}`,
      "",
      "A complete recipe with its defaults:",
      "",
      recipe,
    );
  await print(`${lines.join("\n")}\n`);
}
