/** Runs a TypeScript program of this clone: `node scripts/run.js examples/train.ts`. */
import { pathToFileURL } from "node:url";
import { bundled } from "./bundle.js";

const [entry, ...args] = process.argv.slice(2);
if (!entry) {
  console.error("usage: node scripts/run.js FILE.ts [arguments]");
  process.exit(2);
}
const file = await bundled(entry);
process.argv = [process.argv[0], entry, ...args];
await import(pathToFileURL(file).href);
