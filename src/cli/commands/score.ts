/** `prefopt score`: log-probabilities of given completions, through the row builder and scorer of training. */
import { buildRow } from "../../data/rows.ts";
import { type TokenRow, completionsOf, rolesIn } from "../../data/token-row.ts";
import { invalidRecord } from "../../data/load-records.ts";
import { parseRecord } from "../../data/records.ts";
import { isMany } from "../../data/record-kinds.ts";
import { type RowScores, TextScorer } from "../../scoring/text-scorer.ts";
import type { CommandModule } from "../command.ts";
import { inputLines } from "../input.ts";
import { type ModelOptions, modelOptions, openModel, rowBuilder } from "../model.ts";
import { print } from "../output.ts";

/** Lines that are scored together. */
const atOnce = 256;

export const command: CommandModule = {
  name: "score",
  summary:
    "Log-probabilities of given completions: one JSON record a line in, one JSON object a line out, in order.",
  example: `echo '{"prompt": "The film is", "completion": " a delight."}' | prefopt score assets/reviews`,
  configure(command) {
    modelOptions(command)
      .argument("<model>", "model folder or GGUF file")
      .option("--json", "the output is JSON in any case")
      .action(async (path: string, options: ModelOptions) => {
        const opened = await openModel(path, options);
        const builder = rowBuilder(opened);
        const scorer = new TextScorer(opened.model);
        let waiting: TokenRow[] = [];
        const flush = async () => {
          for (const line of await scored(scorer, waiting)) await print(`${JSON.stringify(line)}\n`);
          waiting = [];
        };
        for await (const { line, value } of inputLines()) {
          const source = { file: "standard input", line };
          const parsed = parseRecord(value, undefined, false);
          if ("problem" in parsed) throw invalidRecord(source, parsed.problem);
          waiting.push(buildRow(parsed.record, source, builder));
          if (waiting.length >= atOnce) await flush();
        }
        await flush();
        await scorer.release();
      });
  },
};

async function scored(scorer: TextScorer, rows: readonly TokenRow[]): Promise<object[]> {
  const scores = await scorer.scoreRows(rows);
  return rows.map((row, i) => lineOf(row, scores[i]));
}

/** One completion as it is; several under their names, those of a list in a list. */
function lineOf(row: TokenRow, scores: RowScores): object {
  const part = (role: string) => {
    const all = completionsOf(row, role).map((ids, k) => {
      const logps = [...scores[role][k]];
      return { logps, sum: logps.reduce((a, b) => a + b, 0), ids };
    });
    return isMany(row.kind, role) ? all : all[0];
  };
  const roles = rolesIn(row);
  if (row.kind === "plain") return part("completion");
  return Object.fromEntries(roles.map((role) => [role, part(role)]));
}
