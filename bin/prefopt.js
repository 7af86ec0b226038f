#!/usr/bin/env node
/**
 * The command. An installed package runs what was built into dist/; a clone bundles its sources on first use and again
 * when one of them changed. Neither needs a lifecycle script.
 */
import { existsSync } from "node:fs";
import { pathToFileURL, fileURLToPath } from "node:url";

const at = (path) => fileURLToPath(new URL(`../${path}`, import.meta.url));
const inClone = existsSync(at("src/cli/main.ts"));

try {
  const file = inClone
    ? await (await import("../scripts/bundle.js")).bundled("src/cli/main.ts")
    : at("dist/cli/main.js");
  await import(pathToFileURL(file).href);
} catch (error) {
  console.error(`prefopt: ${whyNotStarted(error)}`);
  process.exit(1);
}

/** One line for what can stand between a person and the command line. */
function whyNotStarted(error) {
  const missing = /Cannot find package '([^']+)'/.exec(error?.message)?.[1];
  if (missing) return `its dependency ${missing} is not installed. Run: npm ${inClone ? "ci" : "install"}`;
  if (error?.code === "ERR_MODULE_NOT_FOUND") return `this installation is not whole: ${error.message}`;
  if (error?.errors) return "its sources do not compile, see above"; // esbuild has shown where
  return error?.stack ?? String(error);
}
