/**
 * The header of a GGUF file as a stream of values. It is read through a window that moves forward, and a length that the
 * file claims is checked against the bytes that are left before anything of that length is made.
 */
import type { RequestError } from "../errors.ts";
import { readRange } from "./files.ts";

/** Makes the error for a broken file: why, and of what in it. */
export type Fail = (why: string, subject?: string, fix?: string) => RequestError;

/** The bytes of the header, read through a window that moves forward. */
export class HeaderBytes {
  /** Position in the file of the next byte. */
  at = 0;
  readonly #path: string;
  readonly #size: number;
  readonly #fail: Fail;
  #from = 0;
  #bytes: Uint8Array = new Uint8Array(0);
  #view = new DataView(this.#bytes.buffer);
  readonly #text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

  constructor(path: string, size: number, fail: Fail) {
    this.#path = path;
    this.#size = size;
    this.#fail = fail;
  }

  /** Makes the next n bytes present. Throws where the file has fewer. */
  async need(n: number, subject: string): Promise<void> {
    if (this.at + n <= this.#from + this.#bytes.length) return;
    if (this.at + n > this.#size)
      throw this.#fail(`the file ends after ${this.#size} bytes, within ${subject}: it is cut short`);
    const end = Math.min(this.#size, this.at + Math.max(n, 1 << 20));
    this.#bytes = await readRange(this.#path, this.at, end);
    this.#view = new DataView(this.#bytes.buffer);
    this.#from = this.at;
  }

  u32(): number {
    const value = this.#view.getUint32(this.at - this.#from, true);
    this.at += 4;
    return value;
  }

  /** Beyond 2^53 the value is rounded, which every check against the file's size refuses all the same. */
  u64(): number {
    return this.u32() + this.u32() * 2 ** 32;
  }

  /** A claimed number of things that take at least `least` bytes each, checked against what is left of the file. */
  length(things: string, least: number): number {
    const count = this.u64();
    if (count * least > this.#size - this.at)
      throw this.#fail(`it claims ${count} ${things} and has only ${this.#size - this.at} bytes left`);
    return count;
  }

  take(n: number): Uint8Array {
    const start = this.at - this.#from;
    this.at += n;
    return this.#bytes.subarray(start, start + n);
  }

  /** A string shorter than `limit` bytes. */
  async string(subject: string, limit = Infinity): Promise<string> {
    if (this.at + 8 > this.#from + this.#bytes.length) await this.need(8, subject);
    const length = this.u64();
    if (length > this.#size - this.at)
      throw this.#fail(
        `a string of it claims ${length} bytes and the file has ${this.#size - this.at} left`,
        subject,
      );
    if (length >= limit)
      throw this.#fail(`its name has ${length} bytes, the format allows ${limit - 1}`, subject);
    if (this.at + length > this.#from + this.#bytes.length) await this.need(length, subject);
    try {
      return this.#text.decode(this.take(length));
    } catch {
      throw this.#fail("a string of it is not UTF-8", subject);
    }
  }
}
