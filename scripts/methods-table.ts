/** Writes what of the documentation follows from the code: `npm run docs:methods`. */
import { readText, writeFileAtomic } from "../src/formats/files.ts";
import { pageFile, pages } from "../src/methods/pages.ts";
import { withMethodsTable, withObjectivesTable, withPageFacts } from "../src/methods/written.ts";

const write = async (file: string, change: (text: string) => string) =>
  writeFileAtomic(file, change(await readText(file)));

await write("README.md", withMethodsTable);
await write("docs/methods/README.md", withObjectivesTable);
for (const page of pages) await write(pageFile(page), (text) => withPageFacts(text, page));
