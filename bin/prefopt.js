#!/usr/bin/env node
// The command. An installed package runs what was built into dist/; a clone bundles its sources on first use.
import { existsSync } from "node:fs";
import { pathToFileURL, fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const inClone = existsSync(at("src/cli/main.ts"));

if (inClone && !existsSync(at("node_modules"))) {
  console.error("prefopt: its dependencies are not installed. Run: npm ci");
  process.exit(1);
}
const file = inClone
  ? await (await import("../scripts/bundle.js")).bundled("src/cli/main.ts")
  : at("dist/cli/main.js");
await import(pathToFileURL(file).href);
