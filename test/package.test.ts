// What people install: the built and packed tarball, in an empty folder, without any lifecycle script.
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, it } from "vitest";
import { root } from "./command.ts";
import { finished, freshCopy, temporaryFolder } from "./fresh-copy.ts";

/** npm's own words for "no registry answers". */
const unreachable = /ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|E?TIMEDOUT|ENETUNREACH|ENOTCACHED/;

it("the packed package installs with --ignore-scripts and works in an empty folder", async ({ skip }) => {
  const copy = await freshCopy();
  const built = await finished("npm", ["run", "build"], { cwd: copy });
  expect(built.status, built.stderr).toBe(0);

  const place = await temporaryFolder();
  const packArgs = ["pack", "--json", "--ignore-scripts", "--pack-destination", place];
  const packed = await finished("npm", packArgs, { cwd: copy });
  expect(packed.status, packed.stderr).toBe(0);
  const [{ filename, files }] = JSON.parse(packed.stdout) as [
    { filename: string; files: { path: string }[] },
  ];
  const paths = files.map((file) => file.path);
  const wanted = ["bin/prefopt.js", "dist/index.js", "dist/index.d.ts", "dist/cli/main.js"];
  for (const path of [...wanted, "dist/data/row-worker.js", "LICENSE"]) expect(paths).toContain(path);
  expect(paths.filter((path) => /^(src|test|build|runs|node_modules)\//.test(path))).toEqual([]);

  const home = join(place, "home");
  await mkdir(home);
  await writeFile(join(home, "package.json"), `{ "private": true, "type": "module" }\n`);
  const quick = ["--prefer-offline", "--no-audit", "--no-fund", "--fetch-retries=0", "--fetch-timeout=30000"];
  const installArgs = ["install", "--ignore-scripts", ...quick, join(place, filename)];
  const installed = await finished("npm", installArgs, { cwd: home });
  if (installed.status !== 0 && unreachable.test(installed.stderr)) {
    const reason = "no npm registry answers, so the packed package could not be installed";
    console.warn(`skipped: ${reason}`);
    skip(reason);
  }
  expect(installed.status, installed.stderr).toBe(0);

  const prefopt = async (args: readonly string[], input?: string) => {
    const call = await finished(join(home, "node_modules/.bin/prefopt"), args, { cwd: home, input });
    expect({ status: call.status, stderr: call.stderr }).toEqual({ status: 0, stderr: "" });
    return call.stdout;
  };
  const { version } = JSON.parse(await readFile(join(root, "package.json"), "utf8")) as { version: string };
  expect(await prefopt(["--version"])).toBe(`${version}\n`);
  expect(JSON.parse(await prefopt(["methods", "--json"]))).toHaveLength(34);

  // Where policy and reference agree, DPO's loss is -log σ(0) = ln 2; computed by the installed native runtime.
  const same = { policy: [-2], reference: [-2] };
  const input = JSON.stringify({ examples: [{ chosen: same, rejected: same }] });
  const { loss } = JSON.parse(await prefopt(["loss", "dpo"], input)) as { loss: number };
  expect(loss).toBeCloseTo(Math.LN2, 12);

  // The public API, typed and run from outside.
  await writeFile(
    join(home, "own.ts"),
    `import { methods } from "prefopt";\nconst n: number = methods.length;\n`,
  );
  const options = "--noEmit --strict --target es2023 --module esnext --moduleResolution bundler".split(" ");
  const tsc = join(root, "node_modules/typescript/bin/tsc");
  const typed = await finished(process.execPath, [tsc, ...options, "own.ts"], { cwd: home });
  expect(typed.stdout).toBe("");
  await writeFile(join(home, "own.js"), `import { methods } from "prefopt";\nconsole.log(methods.length);\n`);
  expect((await finished(process.execPath, ["own.js"], { cwd: home })).stdout).toBe("34\n");
}, 300_000);
