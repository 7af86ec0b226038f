/** `prefopt loss`: any objective on plain numbers. */
import { openBackend } from "../../engine/backends/open.ts";
import { RequestError } from "../../errors.ts";
import { calculate } from "../../objectives/calculator.ts";
import { factsOfObjective } from "../../methods/objective-facts.ts";
import { objectiveNamed, objectives } from "../../objectives/table.ts";
import type { CommandModule } from "../command.ts";
import { inputJson } from "../input.ts";
import { printJson } from "../output.ts";

export const command: CommandModule = {
  name: "loss",
  summary: "Evaluate an objective and its gradient, in float64, on numbers given as JSON on standard input.",
  example: `echo '{"examples":[{"chosen":{"policy":[-2],"reference":[-2.5]},"rejected":{"policy":[-1],"reference":[-1]}}]}' | prefopt loss dpo --options '{"beta":0.5}'`,
  configure(command) {
    command
      .argument("[objective]", "id of the objective")
      .option("--options <json>", "its options", "{}")
      .option("--list", "print all objectives instead, with the records that they read")
      .option("--json", "the output is JSON in any case")
      .action(async (name: string | undefined, { options, list }: { options: string; list?: boolean }) => {
        if (list) return printJson(objectives().map(factsOfObjective));
        if (name === undefined)
          throw new RequestError({
            code: "argument-missing",
            what: "missing required argument 'objective'",
            fix: "See: prefopt loss --list",
          });
        const objective = objectiveNamed(name).with(parseOptions(options), `options of objective ${name}`);
        await printJson(await calculate(await openBackend(), objective, await inputJson()));
      });
  },
};

function parseOptions(text: string): Record<string, unknown> {
  const fail = (why: string) =>
    new RequestError({
      code: "options-invalid",
      what: `--options ${text}`,
      why,
      fix: `Write for example --options '{"beta": 0.1}'`,
    });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw fail(`it is not valid JSON: ${(cause as Error).message}`);
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw fail("it is not a JSON object");
  return value as Record<string, unknown>;
}
