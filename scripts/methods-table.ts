/** Writes the README's table of systems from the code: `npm run docs:methods`. */
import { readText, writeFileAtomic } from "../src/formats/files.ts";
import { withMethodsTable } from "../src/methods/readme-table.ts";

await writeFileAtomic("README.md", withMethodsTable(await readText("README.md")));
