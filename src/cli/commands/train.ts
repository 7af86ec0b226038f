/** `prefopt train`: runs a recipe into a run folder. */
import { RequestError } from "../../errors.ts";
import { baseName, joinPath, resolvePath } from "../../formats/files.ts";
import { termsOf } from "../../methods/terms.ts";
import { loadRecipe } from "../../training/recipe.ts";
import type { CommandModule } from "../command.ts";
import { setOption } from "../input.ts";
import { print, printJson } from "../output.ts";
import { resultTable, runAndShow } from "../run-view.ts";

interface Options {
  set: string[];
  out?: string;
  resume?: boolean;
  json?: boolean;
}

export const command: CommandModule = {
  name: "train",
  summary: "Run a recipe into a run folder: checkpoints, metrics, samples, a report, and the trained model.",
  example: "prefopt train recipes/sentiment-dpo.yaml --set options.beta=0.2 --out runs/mine",
  configure(command) {
    command
      .argument("<recipe>", "YAML file")
      .addOption(setOption())
      .option("--out <folder>", "the run's folder; default: a new one under run.folder")
      .option("--resume", "go on with the run in --out; starts it where there is none yet")
      .option("--json", "print the result as one line of JSON; progress goes to stderr")
      .action(async (path: string, options: Options) => {
        if (options.resume && options.out === undefined) {
          throw new RequestError({
            code: "out-missing",
            what: "--resume needs --out",
            why: "it goes on with the run in that folder",
            fix: "Name the run's folder with --out",
          });
        }
        const recipe = await loadRecipe(path, options.set);
        const out = options.out ?? joinPath(recipe.run.folder, newRunName(path));
        const stream = options.json ? process.stderr : process.stdout;
        const { result } = await runAndShow(
          { recipe, out: resolvePath(out), resume: options.resume, terms: termsOf(recipe) },
          { stream },
        );
        if (options.json) return printJson(result);
        const tableText = result.rewardAfter === undefined ? "" : `\n${resultTable(result)}\n`;
        await print(
          `${tableText}\nmodel   ${joinPath(out, "model")}\nreport  ${joinPath(out, "report.html")}\n`,
        );
      });
  },
};

/** "2026-11-24-121530-sentiment-dpo" */
export function newRunName(recipe: string): string {
  const stamp = new Date().toISOString().slice(0, 19).replace("T", "-").replaceAll(":", "");
  return `${stamp}-${baseName(recipe).replace(/\.ya?ml$/, "")}`;
}
