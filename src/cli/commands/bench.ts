/** `prefopt bench`: what this machine can do. */
import { openBackend } from "../../engine/backends/open.ts";
import { RequestError, nearest } from "../../errors.ts";
import type { Bench } from "../bench/bench.ts";
import { compile } from "../bench/compile.ts";
import { generate } from "../bench/generate.ts";
import { machine, versions } from "../bench/machine.ts";
import { optimizer } from "../bench/optimizer.ts";
import { step } from "../bench/step.ts";
import type { CommandModule } from "../command.ts";
import { print, printJson, table } from "../output.ts";

const benches: Readonly<Record<string, Bench<never>>> = { step, generate, optimizer, compile };

export const command: CommandModule = {
  name: "bench",
  summary: `Measure speed and memory on this machine: ${Object.keys(benches).join(", ")}.`,
  example: "prefopt bench step",
  configure(command) {
    command.argument("[what]", Object.keys(benches).join(", ")).action((what?: string) => {
      const guess = nearest(what ?? "", Object.keys(benches));
      throw new RequestError({
        code: "unknown-bench",
        what: what === undefined ? "nothing to measure is named" : `there is no benchmark "${what}"`,
        fix: guess ? `Did you mean ${guess}?` : `Known: ${Object.keys(benches).join(", ")}`,
      });
    });
    for (const [name, bench] of Object.entries(benches)) {
      const own = command.command(name).description(`Measure ${bench.describe}.`);
      bench.configure(own);
      own
        .option("--json", "print one line of JSON")
        .addHelpText("after", `\nExample:\n  ${bench.example}`)
        .action(async ({ json, ...options }: { json?: boolean }) => {
          const result = await bench.run(options as never);
          const on = { machine: machine(await openBackend()), versions: versions() };
          if (json) return printJson({ ...result.json, ...on });
          const { cpu, threads, avx512, memoryGb } = on.machine;
          const rows = [
            ...result.rows,
            ["machine", `${cpu}, ${threads} threads${avx512 ? ", AVX-512" : ""}, ${memoryGb} GB`],
            [
              "versions",
              Object.entries(on.versions)
                .map((v) => v.join(" "))
                .join(", "),
            ],
          ];
          await print(`${table(rows)}\n`);
        });
    }
  },
};
