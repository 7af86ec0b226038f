/**
 * Bundles a TypeScript entry of this clone into a folder under build/, unless there is one for the sources as they are.
 * The folder is filled aside and renamed, so that two first calls at once do not meet a half-written one. Code that is
 * imported lazily stays in files of its own (splitting): a command loads only what it needs.
 */
import { createHash, randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, stat, utimes } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** The path of the bundle of `entry` (relative to the clone). Imports of "prefopt" mean this clone's sources. */
export async function bundled(entry) {
  const source = resolve(root, entry);
  const build = join(root, "build");
  const name = relative(root, source)
    .replace(/\.ts$/, "")
    .replaceAll(/[^A-Za-z0-9]+/g, "-");
  const folder = join(build, `${name}-${await keyOf(source)}`);
  const file = join(folder, "entry.js");
  if (await exists(file)) {
    await utimes(folder, new Date(), new Date()).catch(() => undefined); // in use: not to be removed
    return file;
  }
  const aside = join(build, `${name}-${randomUUID()}.partial`);
  await mkdir(build, { recursive: true });
  try {
    await bundle(source, aside);
    await rename(aside, folder);
  } catch (error) {
    await rm(aside, { recursive: true, force: true });
    if (!(await exists(file))) throw error; // else another call was first
  }
  await removeUnused(build, name);
  return file;
}

async function bundle(source, outdir) {
  const esbuild = await import("esbuild");
  await esbuild.build({
    // Threads start with files of their own, which are looked for beside the code (src/formats/worker-pool.ts).
    entryPoints: { entry: source, "row-worker": join(root, "src/data/row-worker.ts") },
    outdir,
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    alias: { prefopt: join(root, "src/index.ts") },
    sourcemap: true,
    logLevel: "error",
  });
}

/** Changes whenever a source appears, goes or is edited: of path, time and size of everything a bundle is made from. */
async function keyOf(source) {
  const files = [
    ...(await sources(join(root, "src"), { recursive: true })),
    ...(await sources(dirname(source))),
    join(root, "package-lock.json"),
    fileURLToPath(import.meta.url),
  ];
  const hash = createHash("sha256");
  const marks = await Promise.all(
    files.map(async (file) => {
      const { mtimeMs, size } = await stat(file);
      return `${relative(root, file)}:${mtimeMs}:${size}\n`;
    }),
  );
  for (const mark of marks) hash.update(mark);
  return hash.digest("hex").slice(0, 16);
}

async function sources(folder, { recursive = false } = {}) {
  const entries = await readdir(folder, { withFileTypes: true, recursive });
  return entries
    .filter((e) => e.isFile() && /(?<!\.test)\.(ts|json)$/.test(e.name))
    .map((e) => join(e.parentPath ?? e.path, e.name))
    .sort();
}

const exists = (path) =>
  stat(path).then(
    () => true,
    () => false,
  );

/** Removes bundles of `name` that nobody started for a day; a younger one may still be loading its parts somewhere. */
async function removeUnused(build, name) {
  const day = 24 * 3600 * 1000;
  for (const entry of await readdir(build)) {
    if (!entry.startsWith(`${name}-`)) continue;
    const { mtimeMs } = await stat(join(build, entry)).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > day) await rm(join(build, entry), { recursive: true, force: true });
  }
}
