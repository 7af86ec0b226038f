/**
 * The simple block types of GGUF: 32 numbers share a scale d (and a minimum m), each is a small integer (ggml-quants.c).
 * Q4 and Q5 keep element j in the low and element j+16 in the high half of byte j. Scales are binary16.
 * Quantising rounds as ggml does, in float32, so that files are equal to the byte.
 */
import { f16Values, numberToF16 } from "./half.ts";

const u16 = (b: Uint8Array, at: number) => b[at] | (b[at + 1] << 8);
const u32 = (b: Uint8Array, at: number) =>
  (b[at] | (b[at + 1] << 8) | (b[at + 2] << 16) | (b[at + 3] << 24)) >>> 0;

/** [d f16][16 bytes]: d (q - 8) */
export function decodeQ4_0(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 18, y += 32) {
    const d = f16[u16(bytes, at)];
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 2 + j];
      out[y + j] = d * ((q & 15) - 8);
      out[y + j + 16] = d * ((q >> 4) - 8);
    }
  }
}

/** [d][m][16 bytes]: d q + m */
export function decodeQ4_1(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 20, y += 32) {
    const [d, m] = [f16[u16(bytes, at)], f16[u16(bytes, at + 2)]];
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 4 + j];
      out[y + j] = d * (q & 15) + m;
      out[y + j + 16] = d * (q >> 4) + m;
    }
  }
}

/** [d][fifth bits u32][16 bytes]: d (q - 16) */
export function decodeQ5_0(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 22, y += 32) {
    const d = f16[u16(bytes, at)];
    const high = u32(bytes, at + 2);
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 6 + j];
      out[y + j] = d * (((q & 15) | (((high >>> j) & 1) << 4)) - 16);
      out[y + j + 16] = d * (((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) - 16);
    }
  }
}

/** [d][m][fifth bits u32][16 bytes]: d q + m */
export function decodeQ5_1(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 24, y += 32) {
    const [d, m] = [f16[u16(bytes, at)], f16[u16(bytes, at + 2)]];
    const high = u32(bytes, at + 4);
    for (let j = 0; j < 16; j++) {
      const q = bytes[at + 8 + j];
      out[y + j] = d * ((q & 15) | (((high >>> j) & 1) << 4)) + m;
      out[y + j + 16] = d * ((q >> 4) | (((high >>> (j + 16)) & 1) << 4)) + m;
    }
  }
}

/** [d][32 signed bytes]: d q */
export function decodeQ8_0(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, y = 0; y < out.length; at += 34, y += 32) {
    const d = f16[u16(bytes, at)];
    for (let j = 0; j < 32; j++) out[y + j] = d * signed[at + 2 + j];
  }
}

/** d = max|x| / 127, q = x (1/d) rounded half away from zero; d is rounded to binary16 only when stored. */
export function encodeQ8_0(data: Float32Array): Uint8Array {
  const bytes = new Uint8Array((data.length / 32) * 34);
  for (let at = 0, x = 0; x < data.length; at += 34, x += 32) {
    let largest = 0;
    for (let j = 0; j < 32; j++) {
      const size = Math.abs(data[x + j]);
      if (size > largest) largest = size;
    }
    const d = Math.fround(largest / 127);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    putU16(bytes, at, numberToF16(d));
    for (let j = 0; j < 32; j++) {
      const q = Math.fround(data[x + j] * inverse);
      bytes[at + 2 + j] = Math.trunc(q < 0 ? q - 0.5 : q + 0.5);
    }
  }
  return bytes;
}

/** m = the first element of largest |x|, d = m / -8, q = min(15, trunc(x (1/d) + 8.5)). */
export function encodeQ4_0(data: Float32Array): Uint8Array {
  const bytes = new Uint8Array((data.length / 32) * 18);
  for (let at = 0, x = 0; x < data.length; at += 18, x += 32) {
    let m = 0;
    for (let j = 0; j < 32; j++) if (Math.abs(data[x + j]) > Math.abs(m)) m = data[x + j];
    const d = Math.fround(m / -8);
    const inverse = d === 0 ? 0 : Math.fround(1 / d);
    putU16(bytes, at, numberToF16(d));
    const q = (i: number) => Math.min(15, Math.trunc(Math.fround(Math.fround(data[i] * inverse) + 8.5)));
    for (let j = 0; j < 16; j++) bytes[at + 2 + j] = q(x + j) | (q(x + j + 16) << 4);
  }
  return bytes;
}

function putU16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value & 255;
  bytes[at + 1] = value >> 8;
}
