/**
 * Rows as a Parquet file, over `hyparquet-writer`: Snappy, row groups of a bounded size, one after the other. Types are
 * those of parquet-schema.ts. A field that is absent in a row is written as null.
 */
import { ByteWriter, ParquetWriter } from "hyparquet-writer";
import { type SchemaElement, type Shape, stored } from "./parquet-schema.ts";
import type { Row } from "./rows.ts";

/** Most rows of a row group, and most characters of text in it, about. */
const groupRows = 10_000;
const groupText = 2 ** 24;

/** The bytes of a Parquet file of rows with the given columns and schema. */
export async function* parquetBytes(
  rows: AsyncIterable<Row> | Iterable<Row>,
  columns: ReadonlyMap<string, Shape>,
  schema: SchemaElement[],
): AsyncGenerator<Uint8Array> {
  const out = new ByteWriter();
  const file = new ParquetWriter({ writer: out, schema, createdBy: "prefopt" });
  const taken = () => {
    const bytes = out.getBytes().slice();
    out.index = 0;
    return bytes;
  };
  let group: Row[] = [];
  let text = 0;
  const write = async () => {
    const columnData = [...columns].map(([name, shape]) => ({
      name,
      data: group.map((row) => stored(row[name], shape)),
    }));
    await file.write({ columnData, rowGroupSize: group.length });
    group = [];
    text = 0;
    return taken();
  };
  for await (const row of rows) {
    group.push(row);
    text += sizeOf(row);
    if (group.length >= groupRows || text >= groupText) yield await write();
  }
  if (group.length > 0) yield await write();
  await file.finish();
  yield taken();
}

/** About how much room a value takes, in characters. */
function sizeOf(value: unknown): number {
  if (typeof value === "string" || value instanceof Uint8Array) return value.length;
  if (typeof value !== "object" || value === null) return 8;
  let size = 8;
  for (const inner of Object.values(value)) size += sizeOf(inner);
  return size;
}
