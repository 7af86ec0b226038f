/** `prefopt start` (and `npm start`): the embedded model learns the embedded preferences, and numbers show that it did. */
import { joinPath, resolvePath, writeFileAtomic } from "../../formats/files.ts";
import { termsOf } from "../../methods/terms.ts";
import { loadRecipe } from "../../training/recipe.ts";
import type { CommandModule } from "../command.ts";
import { setOption } from "../input.ts";
import { duration, print, printJson, styled } from "../output.ts";
import { resultTable, runAndShow, sampleLines } from "../run-view.ts";
import { newRunName } from "./train.ts";

interface Options {
  out?: string;
  set: string[];
  json?: boolean;
}

const recipeFile = "recipes/sentiment-dpo.yaml";

export const command: CommandModule = {
  name: "start",
  summary:
    "Train the embedded model by DPO on the embedded pairs: a film-review writer learns to prefer praise.",
  example: "prefopt start --out runs/first",
  configure(command) {
    command
      .option("--out <folder>", "the run's folder; default: a new one under runs/")
      .addOption(setOption())
      .option("--json", "print the result as one line of JSON, the last on stdout")
      .action(async (options: Options) => {
        const started = performance.now();
        const recipe = await loadRecipe(recipeFile, options.set);
        const out = options.out ?? joinPath(recipe.run.folder, newRunName(recipeFile));
        const stream = options.json ? process.stderr : process.stdout;
        stream.write(
          `${styled("bold", "prefopt", stream)}: a small model that writes film reviews learns to prefer praise (DPO, ${recipeFile})\n`,
        );
        const shown = await runAndShow({ recipe, out: resolvePath(out), terms: termsOf(recipe) }, { stream });
        const seconds = Math.round((performance.now() - started) / 100) / 10;
        const result = { ...shown.result, seconds };
        await writeFileAtomic(joinPath(out, "result.json"), `${JSON.stringify(result)}\n`);
        if (options.json) return printJson(result);
        await print(
          [
            "",
            `On ${shown.after.length} held-out prompts, one sample of each at temperature 1:`,
            "",
            resultTable(result),
            "",
            sampleLines(shown.before, shown.after, 3),
            "",
            `Done in ${duration(seconds)}. The run is in ${out}: open ${joinPath(out, "report.html")} in a browser.`,
            "What to try next:",
            `  npx prefopt generate ${joinPath(out, "model")} --prompt "The film is" --n 3 --maxTokens 24`,
            `  npx prefopt compare ${joinPath(out, "model")} assets/reviews --prompts assets/preferences/test.jsonl`,
            `  npx prefopt train ${recipeFile} --set options.beta=0.5   # a shorter leash: less reward, less KL`,
            "",
          ].join("\n"),
        );
      });
  },
};
