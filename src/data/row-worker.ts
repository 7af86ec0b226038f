/** A thread that makes rows: loads the tokenizer once, then turns batches into packed rows. Bundled as a file of its own. */
import { serveTasks } from "../formats/worker-pool.ts";
import { loadTokenizer } from "../text/tokenizer.ts";
import { type PackedRows, packRows } from "./packed-rows.ts";
import { type MadeRows, type RowBatch, type RowJob, builderOf, makeRows } from "./row-job.ts";

export interface RowWorkerSetting {
  readonly job: RowJob;
  /** Where the tokenizer is loaded from; absent where the model has none. */
  readonly tokenizer?: string;
  /** Names of the files that rows come from. */
  readonly files: readonly string[];
}

export type PackedBatch = Omit<MadeRows, "rows"> & { readonly packed: PackedRows };

await serveTasks<RowWorkerSetting, RowBatch, PackedBatch>(async ({ job, tokenizer, files }) => {
  const builder = builderOf(job, tokenizer === undefined ? undefined : await loadTokenizer(tokenizer));
  return (batch) => {
    const { rows, ...rest } = makeRows(batch, job, builder);
    const packed = packRows(rows, files);
    const handOver = [packed.lines, packed.stream, packed.floats].map((array) => array.buffer as ArrayBuffer);
    return { result: { ...rest, packed }, handOver };
  };
});
