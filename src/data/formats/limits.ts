/** Limits that many services have: kinds of files, numbers of examples, sizes. */
import { baseName } from "../../formats/files.ts";
import type { Limit } from "./format.ts";

/** Files of JSON lines, as they are: not packed. */
export const jsonLinesOnly = (source: string): Limit => ({
  what: "files are JSON lines",
  source,
  file: ({ path }) => (/\.jsonl$/i.test(path) ? undefined : `${baseName(path)} does not end in .jsonl`),
});

export const atLeast = (records: number, source: string, advice = false): Limit => ({
  what: `at least ${records.toLocaleString("en")} examples`,
  source,
  advice,
  file: (facts) => (facts.records < records ? `there are ${facts.records}` : undefined),
});

export const atMost = (records: number, source: string): Limit => ({
  what: `at most ${records.toLocaleString("en")} examples`,
  source,
  file: (facts) => (facts.records > records ? `there are ${facts.records.toLocaleString("en")}` : undefined),
});

/** Megabytes are 10^6 bytes, the smaller reading of what services write. */
export const megabytes = (most: number, source: string): Limit => ({
  what: `files of at most ${most.toLocaleString("en")} MB`,
  source,
  file: ({ bytes }) => (bytes > most * 1e6 ? `it has ${(bytes / 1e6).toFixed(1)} MB` : undefined),
});
