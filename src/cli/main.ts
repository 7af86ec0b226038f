/**
 * The command line: builds the program from the table of commands and turns every error into one line and an exit status
 * (0 done, 1 the work failed, 2 the request was wrong, 130 interrupted).
 */
import { Command, CommanderError } from "commander";
import { PrefoptError, nearest } from "../errors.ts";
import { joinPath, packageFolder, readJson } from "../formats/files.ts";
import { Interrupted } from "../training/train.ts";
import { commands } from "./commands.ts";

async function main(argv: readonly string[]): Promise<void> {
  const { version } = (await readJson(joinPath(packageFolder(), "package.json"))) as { version: string };
  const program = new Command("prefopt")
    .description("Preference optimization: comparisons of outputs in, a better model out.")
    .version(version)
    .exitOverride()
    .configureOutput({ outputError: () => undefined })
    .showSuggestionAfterError(false);
  const wanted = argv.find((a) => !a.startsWith("-"));
  for (const [name, { summary, load }] of Object.entries(commands)) {
    const command = program
      .command(name)
      .summary(summary)
      .description(summary)
      .exitOverride()
      .configureOutput({ outputError: () => undefined });
    if (name !== wanted) continue;
    const module = await load();
    command.description(module.summary).addHelpText("after", `\nExample:\n  ${module.example}`);
    module.configure(command);
  }
  if (argv.length === 0) {
    program.outputHelp();
    return;
  }
  if (wanted !== undefined && !Object.hasOwn(commands, wanted)) {
    const guess = nearest(wanted, Object.keys(commands));
    throw new CommanderError(
      2,
      "prefopt.unknownCommand",
      `there is no command "${wanted}". ${guess ? `Did you mean ${guess}?` : "See: prefopt --help"}`,
    );
  }
  await program.parseAsync([...argv], { from: "user" });
}

/** Writes what went wrong in one line and returns the exit status. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0; // --help, --version
    return complain(error.message.replace(/^error: /, ""), 2);
  }
  if (error instanceof Interrupted) return complain(error.message, 130);
  if (error instanceof PrefoptError) return complain(error.message, error.status);
  if ((error as NodeJS.ErrnoException | undefined)?.code === "EPIPE") return 0; // the reader has seen enough
  const message = error instanceof Error ? error.message : String(error);
  if (process.env.PREFOPT_DEBUG && error instanceof Error) console.error(error.stack);
  return complain(`${message} (this is a bug of prefopt; PREFOPT_DEBUG=1 shows where)`, 1);
}

function complain(message: string, status: number): number {
  process.stderr.write(`prefopt: ${message.replaceAll("\n", " ")}\n`);
  return status;
}

process.stdout.on("error", (error) => process.exit(report(error)));
main(process.argv.slice(2)).then(
  () => process.exit(process.exitCode ?? 0),
  (error: unknown) => process.exit(report(error)),
);
