// The command in a clone: bundled on first use, again when a source changed, and one line for whatever goes wrong.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFile, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { prefopt, root } from "./command.ts";
import { freshCopy, prefoptOf } from "./fresh-copy.ts";

const bundles = (folder: string) => readdir(join(folder, "build"));

describe("in a fresh clone", () => {
  it("two first calls at once both work and leave one bundle", async () => {
    const folder = await freshCopy();
    const calls = await Promise.all([1, 2].map(() => prefoptOf(folder, ["methods", "--json"])));
    for (const { status, stdout, stderr } of calls) {
      expect(stderr).toBe("");
      expect(status).toBe(0);
      expect(JSON.parse(stdout)).toHaveLength(34);
    }
    expect(await bundles(folder)).toHaveLength(1);
  });

  it("bundles again when a source is edited, added or deleted, and only then", async () => {
    const folder = await freshCopy();
    const version = async () => {
      const { status } = await prefoptOf(folder, ["--version"]);
      expect(status).toBe(0);
      return (await bundles(folder)).length;
    };
    expect(await version()).toBe(1);
    expect(await version()).toBe(1);
    await writeFile(join(folder, "src/cli/added.ts"), "export {};\n");
    expect(await version()).toBe(2);
    await rm(join(folder, "src/cli/added.ts"));
    expect(await version()).toBe(2); // as it was at first
    const systems = join(folder, "src/methods/systems.ts");
    await writeFile(systems, (await readFile(systems, "utf8")).replace("FuseChat-3.0", "Edited"));
    const { stdout } = await prefoptOf(folder, ["methods"]);
    expect(stdout).toContain("Edited");
  });

  it("says what to do when the dependencies are not installed", async () => {
    const folder = await freshCopy({ dependencies: false });
    const { status, stdout, stderr } = await prefoptOf(folder, ["--version"]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: "" });
    expect(stderr).toMatch(/^prefopt: its dependency \S+ is not installed\. Run: npm ci\n$/);
  });

  it("names an unexpected error a bug, in one line, and shows where only when asked", async () => {
    const folder = await freshCopy();
    await appendFile(
      join(folder, "src/cli/commands/methods.ts"),
      `command.configure = (c) => void c.action(() => { throw new TypeError("first\\nsecond"); });\n`,
    );
    const plain = await prefoptOf(folder, ["methods"]);
    expect(plain.status).toBe(1);
    expect(plain.stderr).toBe(
      "prefopt: first second (this is a bug of prefopt; PREFOPT_DEBUG=1 shows where)\n",
    );
    const debug = await prefoptOf(folder, ["methods"], { PREFOPT_DEBUG: "1" });
    expect(debug.stderr).toContain("    at ");
  });
});

describe("a wrong request ends with status 2 and one line", () => {
  const cases: readonly (readonly [args: string, line: RegExp])[] = [
    ["methdos", /there is no command "methdos"\. Did you mean methods\?/],
    ["train", /missing required argument 'recipe'.*prefopt train --help/],
    ["train recipe.yaml --ste a=1", /unknown option '--ste' \(Did you mean --set\?\)/],
    ["methods dpo simpo", /too many arguments/],
    ["methods tpo", /"tpo" names several methods\. Choose one of: triple-po, task-po\./],
    ["methods simpoo", /there is no method "simpoo"\. Did you mean simpo\?/],
    ["--frobnicate", /unknown option '--frobnicate'/],
  ];
  it.each(cases)("prefopt %s", async (args, line) => {
    const { status, stdout, stderr } = await prefopt(args.split(" "));
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
    expect(stderr).toMatch(/^prefopt: [^\n]+\n$/);
    expect(stderr).toMatch(line);
  });
});

describe("help", () => {
  it("is what a bare call prints, on stdout", async () => {
    const bare = await prefopt([]);
    expect(bare).toMatchObject({ status: 0, stderr: "" });
    expect(bare.stdout).toMatch(/^Usage: prefopt /);
    expect(await prefopt(["--help"])).toEqual(bare);
    expect(await prefopt(["help"])).toEqual(bare);
  });
  it("of a command is the same both ways", async () => {
    const asked = await prefopt(["help", "methods"]);
    expect(asked.stdout).toContain("Example:\n  prefopt methods dpo");
    expect(await prefopt(["methods", "--help"])).toEqual(asked);
  });
});

it("is quiet when its reader has seen enough", async () => {
  const child = spawn(process.execPath, [join(root, "bin/prefopt.js"), "methods"]);
  child.stdout.destroy();
  let stderr = "";
  child.stderr.on("data", (chunk) => (stderr += chunk));
  const [status] = await once(child, "close");
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
});
