/**
 * Thrift's compact protocol, as Parquet uses it, read with limits: what a length claims is checked against the bytes that
 * are there before anything is made of it. Source: thrift-compact-protocol.md of Apache Thrift.
 */

export type ThriftValue = boolean | number | bigint | Uint8Array | ThriftStruct | readonly ThriftValue[];

/** Values by field id. */
export type ThriftStruct = ReadonlyMap<number, ThriftValue>;

/** A struct to be written: field id and value. Numbers are written as i32. */
export type ThriftFields = readonly (readonly [id: number, value: boolean | number | ThriftFields])[];

/** Structs and lists within each other; Parquet needs five. */
const deepest = 16;

const types = {
  true: 1,
  false: 2,
  byte: 3,
  i16: 4,
  i32: 5,
  i64: 6,
  double: 7,
  binary: 8,
  list: 9,
  struct: 12,
};

/** Reads a struct of bytes [start, end). Returns it and where it ends. Throws an Error where the bytes are no such thing. */
export function readThrift(
  bytes: Uint8Array,
  start: number,
  end: number,
): { value: ThriftStruct; end: number } {
  const reader = new ThriftReader(bytes, start, end);
  const value = reader.struct(0);
  return { value, end: reader.at };
}

class ThriftReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  at: number;

  constructor(bytes: Uint8Array, start: number, end: number) {
    this.#bytes = bytes;
    this.#end = end;
    this.at = start;
  }

  struct(depth: number): ThriftStruct {
    const fields = new Map<number, ThriftValue>();
    let id = 0;
    for (;;) {
      const head = this.byte();
      const type = head & 15;
      if (type === 0) return fields;
      id = head >> 4 ? id + (head >> 4) : Number(this.integer(3));
      fields.set(id, this.value(type, depth + 1));
    }
  }

  value(type: number, depth: number): ThriftValue {
    if (depth > deepest) throw new Error(`nested more than ${deepest} deep`);
    switch (type) {
      case types.true:
        return true;
      case types.false:
        return false;
      case types.byte:
        return (this.byte() << 24) >> 24;
      case types.i16:
        return Number(this.integer(3));
      case types.i32:
        return Number(this.integer(5));
      case types.i64:
        return this.integer(10);
      case types.double: {
        const at = this.take(8);
        return new DataView(this.#bytes.buffer, this.#bytes.byteOffset + at, 8).getFloat64(0, true);
      }
      case types.binary: {
        const length = Number(this.varint(5));
        const at = this.take(length);
        return this.#bytes.subarray(at, at + length);
      }
      case types.list:
        return this.list(depth);
      case types.struct:
        return this.struct(depth);
      default:
        throw new Error(`unknown type ${type}`);
    }
  }

  list(depth: number): ThriftValue[] {
    const head = this.byte();
    const type = head & 15;
    const size = head >> 4 === 15 ? Number(this.varint(5)) : head >> 4;
    // Every element takes a byte at least.
    if (size > this.#end - this.at) throw new Error(`a list of ${size} in ${this.#end - this.at} bytes`);
    const flags = type === types.true || type === types.false;
    return Array.from({ length: size }, () => (flags ? this.byte() === 1 : this.value(type, depth + 1)));
  }

  byte(): number {
    return this.#bytes[this.take(1)];
  }

  /** Moves on by `length` bytes and returns where they begin. */
  take(length: number): number {
    const at = this.at;
    if (length > this.#end - at) throw new Error(`${length} bytes where ${this.#end - at} are left`);
    this.at = at + length;
    return at;
  }

  /** A variable-length integer of at most `most` bytes. */
  varint(most: number): bigint {
    let value = 0n;
    for (let i = 0; i < most; i++) {
      const byte = this.byte();
      value |= BigInt(byte & 127) << BigInt(7 * i);
      if (byte < 128) return value;
    }
    throw new Error(`an integer of more than ${most} bytes`);
  }

  /** A zigzag integer. */
  integer(most: number): bigint {
    const value = this.varint(most);
    return (value >> 1n) ^ -(value & 1n);
  }
}

/** The bytes of a struct of booleans, i32 and structs. */
export function writeThrift(fields: ThriftFields): number[] {
  const out: number[] = [];
  let last = 0;
  for (const [id, value] of fields) {
    const type =
      typeof value === "boolean"
        ? value
          ? types.true
          : types.false
        : typeof value === "number"
          ? types.i32
          : types.struct;
    out.push(((id - last) << 4) | type);
    last = id;
    if (typeof value === "number") {
      let zigzag = ((value << 1) ^ (value >> 31)) >>> 0;
      for (; zigzag > 127; zigzag >>>= 7) out.push((zigzag & 127) | 128);
      out.push(zigzag);
    } else if (typeof value !== "boolean") for (const byte of writeThrift(value)) out.push(byte);
  }
  out.push(0);
  return out;
}
