import { Command } from "commander";
import { describe, expect, it } from "vitest";
import { commands } from "./commands.ts";

describe.each(Object.keys(commands))("prefopt %s", (name) => {
  it("is called as its table line says, has an example, and explains every argument and option", async () => {
    const module = await commands[name].load();
    expect(module.name).toBe(name);
    expect(module.example).toMatch(new RegExp(`(^|\\| )prefopt ${name}\\b`));
    const command = new Command(name);
    module.configure(command);
    const parts = [command, ...command.commands].flatMap((c) => [
      ...c.options.map((o) => ({ name: o.flags, text: o.description })),
      ...c.registeredArguments.map((a) => ({ name: a.name(), text: a.description })),
    ]);
    expect(parts.filter((part) => part.text === "")).toEqual([]);
  });
});
