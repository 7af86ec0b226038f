/** `prefopt methods`: the table of systems, or what is known of one of them or of one objective. */
import {
  type ObjectiveDescription,
  describeObjective,
  describeSystem,
  proseOfObjective,
  proseOfSystem,
} from "../../methods/describe.ts";
import { type MethodEntry, type Status, findMethod, methodNamed, methods } from "../../methods/table.ts";
import type { ObjectiveFamily } from "../../objectives/definition.ts";
import { findObjective, objectives } from "../../objectives/table.ts";
import type { CommandModule } from "../command.ts";
import { plain, proseLines } from "../markdown.ts";
import { print, printJson, styled, table } from "../output.ts";

export const command: CommandModule = {
  name: "methods",
  summary:
    "The 34 published systems and what of them works; with the id of one, or of an objective, its page.",
  example: "prefopt methods dpo",
  configure(command) {
    command
      .argument("[id]", "id of a system (simpo) or of an objective (kto)")
      .option("--json", "print one line of JSON")
      .action(async (id: string | undefined, { json }: { json?: boolean }) => {
        if (id === undefined) return json ? printJson(methods) : print(overview());
        const system = findMethod(id);
        const objective = system ? undefined : findObjective(id);
        if (objective)
          return json ? printJson(await describeObjective(objective)) : print(await objectivePage(objective));
        const entry = system ?? methodNamed(id); // throws what is to be said of an unknown name
        return json ? printJson(await describeSystem(entry)) : print(await systemPage(entry));
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

/** What a status means for whoever wants to train. */
const statusInWords: Record<Status, (objectives: readonly string[]) => string> = {
  works: () => "works",
  "objective only": (own) =>
    `objective only: recipes train with its loss (objective: ${own.join(", ")}); the procedure around it is not built yet`,
  planned: () => "planned: nothing of it is built yet",
};

async function systemPage(entry: MethodEntry): Promise<string> {
  const { title, id, paper, year, kind, modality, status, idea, losses, page, recipe, ...facts } =
    await describeSystem(entry);
  const rows = [
    ["id", id],
    ["paper", `https://arxiv.org/abs/${paper} (${year})`],
    ["kind", kind],
    ["trains", `${modality} models`],
    ["status", statusInWords[status](entry.objectives)],
    ...(entry.command === undefined ? [] : [["command", entry.command]]),
  ];
  for (const name of ["needs", "claim", "replication"] as const) {
    const fact = facts[name];
    if (fact !== undefined) rows.push([name, fact]);
  }
  if (page) rows.push(["page", page]);
  const head = recipe && `A complete recipe, everything${status === "works" ? "" : " else"} at its default:`;
  return joined([
    `${styled("bold", title)}\n${idea}\n\n${table(rows)}`,
    proseLines(await proseOfSystem(id)),
    ...losses.map(
      (loss) =>
        `${styled("bold", `Objective ${loss.id}`)}\n${table(needs(loss))}\n\n${options(loss, losses[0])}`,
    ),
    recipe && `${head}\n\n${recipe}`,
  ]);
}

async function objectivePage(family: ObjectiveFamily): Promise<string> {
  const described = await describeObjective(family);
  const { id, title = id, aliases, paper, page, recipe, recipeFile } = described;
  const rows = [["objective", id], ...needs(described)];
  if (aliases.length > 0) rows.splice(1, 0, ["also called", aliases.join(", ")]);
  if (paper) rows.push(["source", `https://arxiv.org/abs/${paper}`]);
  if (page) rows.push(["page", page]);
  return joined([
    `${styled("bold", title)}\n\n${table(rows)}`,
    proseLines((await proseOfObjective(id)).map((s) => (s.title === `\`${id}\`` ? { ...s, level: 1 } : s))),
    `${styled("bold", "Options")}\n${options(described)}`,
    recipe && `A complete recipe, everything else at its default (short: ${recipeFile}):\n\n${recipe}`,
  ]);
}

/** What records and models an objective needs, a row each. */
function needs(of: ObjectiveDescription): string[][] {
  const rows = [
    ["records", of.files],
    ["in prefopt loss", of.records],
    ["must come with", of.fields],
    ["reads", of.reads.join(", ")],
    ["reference", of.reference],
    ["also trains", of.trains.join(", ")],
    ["batch", of.leastRecords > 1 ? `at least ${of.leastRecords} records` : ""],
  ];
  return rows.filter(([, fact]) => fact !== "");
}

/** The table of its options; where another objective has the same ones and was shown before, only what differs. */
function options({ options }: ObjectiveDescription, shown?: ObjectiveDescription): string {
  if (options.length === 0) return "no options";
  const bare = (text: string) => text.replaceAll("`", "");
  const before = new Map(shown?.options.map((o) => [o.name, o]));
  if (shown && shown.options !== options && options.every((o) => before.get(o.name)?.meaning === o.meaning)) {
    const other = options.filter((o) => before.get(o.name)?.default !== o.default);
    const defaults = other.map((o) => `${o.name} ${bare(o.default)}`).join(", ");
    return `options of ${shown.id}${defaults && `, with the defaults ${defaults}`}`;
  }
  const rows = options.map((o) => [o.name, bare(o.default), bare(o.range), plain(o.meaning ?? "")]);
  return table([["option", "default", "range", "meaning"], ...rows]);
}

const joined = (parts: readonly (string | false | undefined)[]) =>
  `${parts
    .filter(Boolean)
    .map((part) => String(part).trimEnd())
    .join("\n\n")}\n`;
