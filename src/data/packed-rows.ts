/**
 * Rows as a few typed arrays: small, quickly written, and handed between threads without copying. One stream of whole numbers holds
 * structure and ids in order, names stand in a table, lines and numbers of records in arrays of their own.
 */
import type { RecordKind } from "./record-kinds.ts";
import type { TokenRow, TokenTree } from "./token-row.ts";

export interface PackedRows {
  readonly count: number;
  /** Line of each row. */
  readonly lines: Uint32Array;
  readonly stream: Uint16Array | Uint32Array;
  readonly floats: Float64Array;
  /** Roles, names of numbers, kinds, warnings. */
  readonly strings: readonly string[];
}

/** Packs rows; `files` are the names that their sources may have. */
export function packRows(rows: readonly TokenRow[], files: readonly string[]): PackedRows {
  const stream = new Stream();
  const floats: number[] = [];
  const strings = new Map<string, number>();
  const name = (text: string) => {
    const known = strings.get(text) ?? strings.size;
    strings.set(text, known);
    return known;
  };
  const list = <T>(items: readonly T[], write: (item: T) => void) => {
    stream.add(items.length);
    items.forEach(write);
  };
  const numbers = (values: readonly number[]) => {
    stream.add(values.length);
    floats.push(...values);
  };
  const fileOf = new Map(files.map((file, i) => [file, i]));
  for (const row of rows) {
    stream.add(fileOf.get(row.source.file) ?? 0);
    stream.add(name(row.kind));
    stream.add(row.truncated);
    stream.add(row.warning === undefined ? 0 : 1 + name(row.warning));
    list(row.trees, (tree) => {
      stream.addAll(tree.prompt);
      list(tree.branches, (branch) =>
        list(branch, (part) => {
          stream.add(name(part.role));
          stream.addAll(part.ids);
        }),
      );
    });
    list(Object.entries(row.fields), ([field, value]) => {
      stream.add(name(field));
      floats.push(value);
    });
    list(Object.entries(row.values), ([role, named]) => {
      stream.add(name(role));
      list(Object.entries(named), ([field, values]) => {
        stream.add(name(field));
        numbers(values);
      });
    });
    list(Object.entries(row.tokenRewards), ([role, lists]) => {
      stream.add(name(role));
      list(lists, numbers);
    });
  }
  return {
    count: rows.length,
    lines: Uint32Array.from(rows, (row) => row.source.line),
    stream: stream.done(),
    floats: Float64Array.from(floats),
    strings: [...strings.keys()],
  };
}

/** The rows again. */
export function unpackRows(packed: PackedRows, files: readonly string[]): TokenRow[] {
  const { stream, floats, strings, lines } = packed;
  let at = 0;
  let float = 0;
  const list = <T>(read: () => T): T[] => {
    const items: T[] = [];
    for (let n = stream[at++]; n > 0; n--) items.push(read());
    return items;
  };
  const ids = (): number[] => {
    // A loop: ten times as fast as Array.from, which walks an iterator.
    const found = new Array<number>(stream[at++]);
    for (let i = 0; i < found.length; i++) found[i] = stream[at++];
    return found;
  };
  const text = () => strings[stream[at++]];
  const numbers = (): number[] => {
    const n = stream[at++];
    const found = Array.from(floats.subarray(float, float + n));
    float += n;
    return found;
  };
  const named = <T>(read: () => T): Record<string, T> =>
    Object.fromEntries(list(() => [text(), read()] as const)) as Record<string, T>;
  const tree = (): TokenTree => ({
    prompt: ids(),
    branches: list(() => list(() => ({ role: text(), ids: ids() }))),
  });
  return Array.from({ length: packed.count }, (_, i): TokenRow => {
    const file = files[stream[at++]];
    const kind = text() as RecordKind;
    const truncated = stream[at++];
    const warning = stream[at++];
    return {
      kind,
      trees: list(tree),
      fields: named(() => floats[float++]),
      values: named(() => named(numbers)),
      tokenRewards: named(() => list(numbers)),
      truncated,
      ...(warning > 0 && { warning: strings[warning - 1] }),
      source: { file, line: lines[i] },
    };
  });
}

/** A growing list of whole numbers, in two bytes each as long as they fit. */
class Stream {
  #values: Uint16Array | Uint32Array = new Uint16Array(1 << 12);
  #length = 0;

  add(value: number): void {
    if (this.#length === this.#values.length) this.#grow(this.#length + 1);
    if (value > 0xffff && this.#values instanceof Uint16Array) this.#values = Uint32Array.from(this.#values);
    this.#values[this.#length++] = value;
  }

  /** A list with its length before it. */
  addAll(values: readonly number[]): void {
    this.add(values.length);
    for (const value of values) this.add(value);
  }

  /** What was added, in memory of its own. */
  done(): Uint16Array | Uint32Array {
    return this.#values.slice(0, this.#length);
  }

  #grow(least: number): void {
    const size = Math.max(least, this.#values.length * 2);
    const larger = this.#values instanceof Uint16Array ? new Uint16Array(size) : new Uint32Array(size);
    larger.set(this.#values);
    this.#values = larger;
  }
}
