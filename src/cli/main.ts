/**
 * The command line: builds the program from the table of commands and turns every error into one line and an exit status
 * (0 done, 1 the work failed, 2 the request was wrong, 130 interrupted). Only the command that is called is loaded.
 */
import { Command, CommanderError } from "commander";
import { PrefoptError, RequestError, nearest } from "../errors.ts";
import { joinPath, packageFolder, readJson } from "../formats/files.ts";
import { commands } from "./commands.ts";
import { flush } from "./output.ts";

async function main(given: readonly string[]): Promise<void> {
  const { version } = (await readJson(joinPath(packageFolder(), "package.json"))) as { version: string };
  const program = new Command("prefopt")
    .description("Preference optimization: comparisons of outputs in, a better model out.")
    .version(version)
    .helpCommand("help [command]", "what a command does, with its options and an example")
    .addHelpText("after", "\nExample:\n  prefopt start")
    .exitOverride()
    .configureOutput({ outputError: () => undefined }); // reported below; commands inherit this
  // `help x` is `x --help`, so that there is one way to load a command.
  const argv = given[0] === "help" ? [...given.slice(1), "--help"] : given;
  const wanted = argv.find((a) => !a.startsWith("-"));
  if (wanted !== undefined && !Object.hasOwn(commands, wanted)) throw unknownCommand(wanted);
  for (const [name, { summary, load }] of Object.entries(commands)) {
    const command = program.command(name).summary(summary);
    if (name !== wanted) continue;
    const module = await load();
    command.description(module.summary).addHelpText("after", `\nExample:\n  ${module.example}`);
    module.configure(command);
  }
  if (argv.length === 0) return program.outputHelp();
  await program.parseAsync(argv, { from: "user" });
}

function unknownCommand(name: string): RequestError {
  const guess = nearest(name, Object.keys(commands));
  return new RequestError({
    code: "unknown-command",
    what: `there is no command "${name}"`,
    fix: guess ? `Did you mean ${guess}?` : "See: prefopt --help",
  });
}

/** Writes what went wrong in one line and returns the exit status. */
function report(error: unknown): number {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return 0; // --help, --version
    return complain(
      `${error.message.replace(/^error: /, "").replace(/\.$/, "")}. See: prefopt ${helpFor()}`,
      2,
    );
  }
  if (error instanceof PrefoptError) return complain(error.message, error.status);
  const { name, message, stack, code } = described(error);
  if (name === "Interrupted") return complain(message, 130); // by name: its module is the whole of training
  if (code === "EPIPE") return 0; // the reader has seen enough
  if (process.env.PREFOPT_DEBUG === "1") process.stderr.write(`${stack}\n`);
  return complain(`${message} (this is a bug of prefopt; PREFOPT_DEBUG=1 shows where)`, 1);
}

/** "train --help" where the command is known. */
function helpFor(): string {
  const name = process.argv.slice(2).find((a) => Object.hasOwn(commands, a));
  return [name, "--help"].filter(Boolean).join(" ");
}

function described(error: unknown): { name?: string; message: string; stack?: string; code?: string } {
  return error instanceof Error ? error : { message: String(error) };
}

function complain(message: string, status: number): number {
  process.stderr.write(`prefopt: ${message.replaceAll(/\s*\n\s*/g, " ")}\n`);
  return status;
}

async function run(): Promise<never> {
  const status = await main(process.argv.slice(2)).then(() => 0, report);
  await flush();
  process.exit(status);
}

for (const stream of [process.stdout, process.stderr])
  stream.on("error", (error) => process.exit(report(error)));
process.on("uncaughtException", (error) => process.exit(report(error)));
void run();
