/**
 * Axolotl's `user_defined.default` (https://docs.axolotl.ai/docs/rlhf.html) with its default names and formats: `prompt`, `chosen` and
 * `rejected` (or `completion` and `label`) are plain texts that no template is put around. Not told from prefopt's own pairs.
 */
import { CannotWrite, type DataFormat } from "./format.ts";

const names = ["prompt", "chosen", "rejected", "completion"] as const;

export const axolotlUserDefined: DataFormat = {
  title: "Axolotl user_defined",
  source: "https://docs.axolotl.ai/docs/rlhf.html",
  detect: () => undefined,
  read(row) {
    const [label, id] = [row.flagOr("label"), row.any("id")];
    const texts = names.filter((name) => row.has(name)).map((name) => [name, row.text(name)]);
    return [
      {
        ...Object.fromEntries(texts),
        ...(label !== undefined && { label }),
        ...(id !== undefined && { id }),
      },
    ];
  },
  writer: {
    kinds: ["pair", "unpaired"],
    open: true,
    write(record) {
      const row: Record<string, unknown> = {};
      for (const name of names) {
        if (!record.has(name)) continue;
        if (!record.isText(name)) throw new CannotWrite(name, "it must be plain text here");
        row[name] = record.text(name);
      }
      for (const name of ["label", "id"]) if (record.has(name)) row[name] = record.any(name);
      return row;
    },
  },
};
