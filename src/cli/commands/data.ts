/** `prefopt data`: what is done with data files before a run. One file a subcommand, one line in the table. */
import { RequestError, nearest } from "../../errors.ts";
import type { CommandModule } from "../command.ts";
import { command as check } from "./data/check.ts";
import { command as convert } from "./data/convert.ts";
import { command as inspect } from "./data/inspect.ts";

const subcommands: Readonly<Record<string, CommandModule>> = { inspect, check, convert };

export const command: CommandModule = {
  name: "data",
  summary: `Data files: ${Object.keys(subcommands).join(", ")}. See prefopt data ${Object.keys(subcommands)[0]} --help.`,
  example: convert.example,
  configure(command) {
    for (const [name, { summary, example, configure }] of Object.entries(subcommands)) {
      const sub = command.command(name).summary(summary).description(summary);
      configure(sub.addHelpText("after", `\nExample:\n  ${example}`));
    }
    command.argument("[what]", "what to do with them").action((what?: string) => {
      const known = Object.keys(subcommands);
      const guess = what === undefined ? undefined : nearest(what, known);
      throw new RequestError({
        code: "unknown-command",
        what:
          what === undefined ? "prefopt data needs to be told what" : `there is no command "data ${what}"`,
        fix: guess
          ? `Did you mean data ${guess}?`
          : `Known are ${known.map((name) => `data ${name}`).join(", ")}`,
      });
    });
  },
};
