/** A copy of the clone in a folder of its own, as it is right after `npm ci`, and processes run in it. */
import { execFile } from "node:child_process";
import { cp, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Finished, root } from "./command.ts";

/** Runs a program to its end, whatever its exit status. */
export function finished(
  program: string,
  args: readonly string[],
  { cwd, env = {}, input = "" }: { cwd: string; env?: NodeJS.ProcessEnv; input?: string },
): Promise<Omit<Finished, "signal">> {
  return new Promise((resolve) => {
    const options = { cwd, env: { ...process.env, ...env }, maxBuffer: 1 << 26 };
    const child = execFile(program, args, options, (error, stdout, stderr) =>
      resolve({ status: error ? Number(error.code ?? 1) : 0, stdout, stderr }),
    );
    child.stdin?.end(input);
  });
}

/** Runs `prefopt` of a copy. */
export const prefoptOf = (folder: string, args: readonly string[], env?: NodeJS.ProcessEnv) =>
  finished(process.execPath, [join(folder, "bin/prefopt.js"), ...args], { cwd: folder, env });

/** A folder that goes when the test is over. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "prefopt-test-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** The clone without what builds, runs and tests left in it; dependencies are linked, or absent. */
export async function freshCopy({ dependencies = true } = {}): Promise<string> {
  const folder = await temporaryFolder();
  const left = ["node_modules", ".git", "build", "dist", "runs"].map((name) => join(root, name));
  await cp(root, folder, { recursive: true, filter: (path) => !left.includes(path) });
  if (dependencies) await symlink(join(root, "node_modules"), join(folder, "node_modules"), "junction");
  return folder;
}
