/** Text files inside installed packages, for pages that must carry their scripts and styles with them. */
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/** A file of an npm package that prefopt depends on. */
export function readPackageText(packageName: string, file: string): string {
  const manifest = createRequire(import.meta.url).resolve(`${packageName}/package.json`);
  return readFileSync(join(dirname(manifest), file), "utf8");
}
