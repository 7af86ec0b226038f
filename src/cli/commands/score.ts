/** `prefopt score`: log-probabilities of given completions, through the row builder and scorer of training. */
import { type TokenRow, buildRow } from "../../data/rows.ts";
import { invalidRecord } from "../../data/load-records.ts";
import { parseRecord } from "../../data/records.ts";
import { rolesOf } from "../../objectives/objective.ts";
import { TextScorer, type TreeScores } from "../../scoring/text-scorer.ts";
import type { CommandModule } from "../command.ts";
import { inputLines } from "../input.ts";
import { openModel, rowBuilder } from "../model.ts";
import { print } from "../output.ts";

/** Lines that are scored together. */
const atOnce = 256;

export const command: CommandModule = {
  name: "score",
  summary:
    "Log-probabilities of given completions: one JSON record a line in, one JSON object a line out, in order.",
  example: `echo '{"prompt": "The film is", "completion": " a delight."}' | prefopt score assets/reviews`,
  configure(command) {
    command
      .argument("<model>", "model folder or GGUF file")
      .option("--json", "the output is JSON in any case")
      .action(async (path: string) => {
        const opened = await openModel(path);
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
      });
  },
};

async function scored(scorer: TextScorer, rows: readonly TokenRow[]): Promise<object[]> {
  const results = new Array<object>(rows.length);
  for (const kind of Object.keys(rolesOf) as (keyof typeof rolesOf)[]) {
    const of = rows.flatMap((row, i) => (row.kind === kind ? [i] : []));
    if (of.length === 0) continue;
    const scores = await scorer.score(of.map((i) => rows[i]));
    of.forEach((i, k) => (results[i] = lineOf(rows[i], scores[k])));
  }
  return results;
}

function lineOf(row: TokenRow, scores: TreeScores): object {
  const parts = row.completions.map((ids, k) => {
    const logps = [...scores[k]];
    return { logps, sum: logps.reduce((a, b) => a + b, 0), ids };
  });
  if (row.kind === "plain") return parts[0];
  return Object.fromEntries(rolesOf[row.kind].map((role, k) => [role, parts[k]]));
}
