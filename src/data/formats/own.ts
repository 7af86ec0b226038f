/**
 * Records as prefopt writes them (../record-formats.ts): nothing is changed either way. TRL's preference, unpaired, prompt-completion,
 * prompt-only, language-modelling and stepwise records are written alike.
 */
import { formatOf, formats } from "../record-formats.ts";
import { type DataFormat, has } from "./format.ts";

export const own: DataFormat = {
  title: "prefopt records",
  source: "docs/data-formats.md",
  detect(row) {
    const format = formatOf(row.values);
    if (format === undefined) return undefined;
    const { required, oneOf = [] }: { required: readonly string[]; oneOf?: readonly string[] } =
      formats[format];
    return has(...required, ...oneOf.filter((name) => row.has(name)));
  },
  read(row) {
    const format = formatOf(row.values);
    const known = format === undefined ? row.names : Object.keys(formats[format].schema.shape);
    row.skip(...known);
    const { values } = row;
    return [Object.fromEntries(Object.entries(values).filter(([name]) => known.includes(name)))];
  },
  writer: {
    kinds: [...new Set(Object.values(formats).map((f) => f.kind))],
    open: true,
    implicit: true,
    write(record) {
      record.skip(...record.names);
      return Object.fromEntries(Object.entries(record.values).filter(([name]) => name !== "format"));
    },
  },
};
