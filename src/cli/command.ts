/** What a command is: a name, a line of help with an example, its options, and what it does. */
import type { Command } from "commander";

export interface CommandModule {
  readonly name: string;
  readonly summary: string;
  /** A line that can be typed as it is. */
  readonly example: string;
  /** Declares arguments and options, and calls `run` of the module through commander's action. */
  configure(command: Command): void;
}
