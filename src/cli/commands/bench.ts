/** `prefopt bench`: what this machine can do. */
import { RequestError, nearest } from "../../errors.ts";
import { benchStep } from "../bench/step.ts";
import type { CommandModule } from "../command.ts";
import { print, printJson, table } from "../output.ts";

const benches: Readonly<Record<string, { describe: string; run: () => Promise<object> }>> = {
  step: {
    describe: "a training step of a 34M-parameter Llama against matrix multiplication",
    run: benchStep,
  },
};

export const command: CommandModule = {
  name: "bench",
  summary: `Measure speed and memory on this machine: ${Object.keys(benches).join(", ")}.`,
  example: "prefopt bench step",
  configure(command) {
    command
      .argument(
        "<what>",
        Object.entries(benches)
          .map(([name, b]) => `${name}: ${b.describe}`)
          .join("; "),
      )
      .option("--json", "print one line of JSON")
      .action(async (what: string, { json }: { json?: boolean }) => {
        if (!Object.hasOwn(benches, what)) {
          const guess = nearest(what, Object.keys(benches));
          throw new RequestError({
            code: "unknown-bench",
            what: `there is no benchmark "${what}"`,
            fix: guess ? `Did you mean ${guess}?` : `Known: ${Object.keys(benches).join(", ")}`,
          });
        }
        const result = await benches[what].run();
        if (json) return printJson(result);
        await print(
          `${table(
            Object.entries(result).map(([name, value]) => [name, String(value)]),
            [1],
          )}\n`,
        );
      });
  },
};
