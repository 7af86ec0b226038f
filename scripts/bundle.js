/**
 * Bundles a TypeScript entry of this clone into one file under build/, when there is none for the sources as they are.
 * The file is written aside and renamed, so that two first calls at once do not meet a half-written one.
 */
import { createHash } from "node:crypto";
import { mkdir, readdir, rename, rm, stat } from "node:fs/promises";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";

export const root = fileURLToPath(new URL("..", import.meta.url));

/** The path of the bundle of `entry`. Imports of "prefopt" mean this clone's sources. */
export async function bundled(entry) {
  const key = createHash("sha256");
  for (const file of [
    resolve(root, entry),
    join(root, "package-lock.json"),
    ...(await sources(join(root, "src"))),
  ]) {
    const { mtimeMs, size } = await stat(file);
    key.update(`${file}:${mtimeMs}:${size}\n`);
  }
  const folder = join(root, "build");
  const name = entry.replace(/[^A-Za-z0-9]+/g, "-");
  const target = join(folder, `${name}-${key.digest("hex").slice(0, 16)}.mjs`);
  if (await stat(target).catch(() => undefined)) return target;
  const { build } = await import("esbuild");
  await mkdir(folder, { recursive: true });
  const aside = `${target}.${process.pid}.mjs`;
  await build({
    entryPoints: [resolve(root, entry)],
    outfile: aside,
    bundle: true,
    platform: "node",
    format: "esm",
    target: "node20",
    packages: "external",
    alias: { prefopt: join(root, "src/index.ts") },
    sourcemap: "inline",
    logLevel: "error",
  });
  await rename(aside, target);
  await removeOld(folder, name);
  return target;
}

async function sources(folder) {
  const entries = await readdir(folder, { withFileTypes: true, recursive: true });
  return entries
    .filter((e) => e.isFile() && /(?<!\.test)\.(ts|json)$/.test(e.name))
    .map((e) => join(e.parentPath ?? e.path, e.name))
    .sort();
}

/** Bundles of sources that are gone; those younger than a day may still be starting somewhere. */
async function removeOld(folder, name) {
  const day = 24 * 3600 * 1000;
  for (const file of await readdir(folder)) {
    if (!file.startsWith(name)) continue;
    const { mtimeMs } = await stat(join(folder, file)).catch(() => ({ mtimeMs: Date.now() }));
    if (Date.now() - mtimeMs > day) await rm(join(folder, file), { force: true });
  }
}
