/**
 * An exported graph run through ONNX Runtime as its users run it: a batch padded on the left, read at once, and read in two parts
 * through the cache. Where the two disagree the export is wrong, whatever each of them says.
 */
import type { Backend, Session, TensorValue } from "../../engine/backends/backend.ts";
import { WorkError } from "../../errors.ts";
import { joinPath, readBytes, readJson } from "../../formats/files.ts";
import { architectureOf } from "../../models/architectures.ts";
import type { CausalLm } from "../../models/causal-lm.ts";
import type { RowScorer } from "../format.ts";
import { cacheName } from "./attention.ts";
import { graphFile, graphFolder } from "./write.ts";

/** Most that a token's log-probability may differ between the two ways of reading. */
const cacheTolerance = 1e-3;

/** Opens an exported folder. */
export async function openOnnx(folder: string, backend: Backend): Promise<RowScorer> {
  const at = joinPath(folder, graphFolder);
  const config = joinPath(folder, "config.json");
  const architecture = architectureOf((await readJson(config)) as Record<string, unknown>, config);
  const session = await backend.compile(await readBytes(joinPath(at, graphFile)), { externalData: at });
  return {
    async score(rows) {
      const columns = Math.max(...rows.map((ids) => ids.length));
      const first = Math.ceil(columns / 2);
      const read = async (...counts: number[]) => {
        const reader = new Reader(session, architecture, rows, columns);
        const logps = rows.map((ids) => new Array<number>(ids.length - 1).fill(NaN));
        for (const count of counts) collect(logps, rows, columns, await reader.read(count));
        return logps;
      };
      const whole = await read(columns);
      const cached = await read(first, columns - first);
      // A row whose frequencies change on the way would have to be read anew.
      const { regime } = architecture.rope;
      const steady = rows.map(
        (ids) => regime(Math.max(1, first - columns + ids.length)) === regime(ids.length),
      );
      check(whole, cached, steady, folder);
      return whole;
    },
    async release() {
      session.release();
    },
  };
}

/** Logits of the columns from `start` on: [rows, columns, vocabulary]. */
interface Logits {
  readonly values: Float32Array;
  readonly start: number;
  readonly columns: number;
}

/** Reads a batch column by column, keeping the cache. */
class Reader {
  readonly #session: Session;
  readonly #architecture: CausalLm;
  readonly #rows: readonly (readonly number[])[];
  readonly #columns: number;
  #read = 0;
  #caches: Record<string, Float32Array>;

  constructor(
    session: Session,
    architecture: CausalLm,
    rows: readonly (readonly number[])[],
    columns: number,
  ) {
    this.#session = session;
    this.#architecture = architecture;
    this.#rows = rows;
    this.#columns = columns;
    this.#caches = this.#cacheArrays("past_key_values", 0);
  }

  /** The logits of the next `count` columns. */
  async read(count: number): Promise<Logits> {
    const rows = this.#rows.length;
    const total = this.#read + count;
    const ids = new BigInt64Array(rows * count);
    const mask = new BigInt64Array(rows * total);
    this.#rows.forEach((row, r) => {
      const padding = this.#columns - row.length;
      for (let c = padding; c < total; c++) {
        mask[r * total + c] = 1n;
        if (c >= this.#read) ids[r * count + c - this.#read] = BigInt(row[c - padding]);
      }
    });
    const { vocabularySize } = this.#architecture;
    const logits = new Float32Array(rows * count * vocabularySize);
    const present = this.#cacheArrays("present", total);
    const binding = this.#session.bind(
      {
        input_ids: { data: ids, sizes: [rows, count], dtype: "int64" },
        attention_mask: { data: mask, sizes: [rows, total], dtype: "int64" },
        ...this.#cacheValues(this.#caches, this.#read),
      },
      {
        logits: { data: logits, sizes: [rows, count, vocabularySize], dtype: "float" },
        ...this.#cacheValues(present, total),
      },
    );
    await binding.run();
    this.#caches = Object.fromEntries(
      Object.entries(present).map(([name, data]) => [name.replace("present", "past_key_values"), data]),
    );
    const start = this.#read;
    this.#read = total;
    return { values: logits, start, columns: count };
  }

  /** Arrays for a cache of `length` columns; an empty one still has an address. */
  #cacheArrays(direction: "past_key_values" | "present", length: number): Record<string, Float32Array> {
    const { attention, layers } = this.#architecture;
    const elements = this.#rows.length * attention.kvHeads * length * attention.headDim;
    return Object.fromEntries(
      Array.from({ length: layers }, (_, i) =>
        (["key", "value"] as const).map((part): [string, Float32Array] => [
          cacheName(direction, i, part),
          new Float32Array(elements + 1).subarray(0, elements),
        ]),
      ).flat(),
    );
  }

  #cacheValues(arrays: Record<string, Float32Array>, length: number): Record<string, TensorValue> {
    const { kvHeads, headDim } = this.#architecture.attention;
    const sizes = [this.#rows.length, kvHeads, length, headDim];
    return Object.fromEntries(
      Object.entries(arrays).map(([name, data]): [string, TensorValue] => [
        name,
        { data, sizes, dtype: "float" },
      ]),
    );
  }
}

/** Fills in ln p of the tokens that follow the columns at hand: z - ln Σ e^z. */
function collect(
  logps: number[][],
  rows: readonly (readonly number[])[],
  columns: number,
  { values, start, columns: count }: Logits,
): void {
  const width = values.length / (rows.length * count);
  rows.forEach((ids, r) => {
    const padding = columns - ids.length;
    for (let c = Math.max(start, padding); c < Math.min(start + count, columns - 1); c++) {
      const z = values.subarray((r * count + c - start) * width, (r * count + c - start + 1) * width);
      let top = -Infinity;
      for (const v of z) top = Math.max(top, v);
      let sum = 0;
      for (const v of z) sum += Math.exp(v - top);
      logps[r][c - padding] = z[ids[c - padding + 1]] - top - Math.log(sum);
    }
  });
}

function check(
  whole: readonly number[][],
  cached: readonly number[][],
  steady: readonly boolean[],
  where: string,
): void {
  const worst = Math.max(
    0,
    ...whole.flatMap((row, r) => (steady[r] ? row.map((v, t) => Math.abs(v - cached[r][t])) : [])),
  );
  if (worst <= cacheTolerance) return; // NaN is not
  throw new WorkError({
    code: "export-differs",
    what: "the exported graph scores otherwise through its cache",
    where,
    why: `log-probabilities differ by up to ${worst.toPrecision(3)}`,
    fix: "This is a bug of prefopt: please report it with the model's config.json",
  });
}
