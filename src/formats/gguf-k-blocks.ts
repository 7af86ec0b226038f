/**
 * The "K" block types of GGUF (ggml-quants.c): 256 numbers in sub-blocks of 16 or 32, whose scales are themselves small
 * integers under one binary16 scale d (and dmin for their minima). y is the first element of a block, at its first byte.
 */
import { f16Values } from "./half.ts";

const u16 = (b: Uint8Array, at: number) => b[at] | (b[at + 1] << 8);

/** [16 scales and minima, 4 bits each][64 bytes, 2 bits each][d][dmin]: d s q - dmin m */
export function decodeQ2K(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 84, y += 256) {
    const [d, dmin] = [f16[u16(bytes, at + 80)], f16[u16(bytes, at + 82)]];
    for (let part = 0; part < 16; part++) {
      const { from, shift } = twoBits(part);
      const scale = bytes[at + part];
      const [s, m] = [d * (scale & 15), dmin * (scale >> 4)];
      for (let l = 0; l < 16; l++)
        out[y + 16 * part + l] = s * ((bytes[at + 16 + from + l] >> shift) & 3) - m;
    }
  }
}

/** [32 bytes of third bits][64 bytes, 2 bits each][16 scales, 6 bits each][d]: d (s - 32) (q - 4 where the third bit is 0) */
export function decodeQ3K(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 110, y += 256) {
    const d = f16[u16(bytes, at + 108)];
    const scales = at + 96;
    for (let part = 0; part < 16; part++) {
      const { from, shift } = twoBits(part);
      const low = part < 8 ? bytes[scales + part] & 15 : bytes[scales + part - 8] >> 4;
      const high = (bytes[scales + 8 + (part & 3)] >> (2 * (part >> 2))) & 3;
      const s = d * ((low | (high << 4)) - 32);
      const third = part >> 1; // bit 4n + t
      const mask = at + 16 * (part & 1);
      for (let l = 0; l < 16; l++) {
        const q = (bytes[at + 32 + from + l] >> shift) & 3;
        out[y + 16 * part + l] = s * (q - ((bytes[mask + l] >> third) & 1 ? 0 : 4));
      }
    }
  }
}

/** Where the 2-bit numbers of the 16 elements of a sub-block are: half n, shift t, group g of part = 8n + 2t + g. */
function twoBits(part: number): { from: number; shift: number } {
  return { from: 32 * (part >> 3) + 16 * (part & 1), shift: part & 6 };
}

/** The 6-bit scale and minimum of sub-block b out of 12 bytes. */
function scaleAndMinimum(bytes: Uint8Array, at: number, b: number): [s: number, m: number] {
  if (b < 4) return [bytes[at + b] & 63, bytes[at + b + 4] & 63];
  return [
    (bytes[at + b + 4] & 15) | ((bytes[at + b - 4] >> 6) << 4),
    (bytes[at + b + 4] >> 4) | ((bytes[at + b] >> 6) << 4),
  ];
}

/** [d][dmin][12 bytes of scales and minima][128 bytes, 4 bits each]: d s q - dmin m */
export function decodeQ4K(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 144, y += 256) {
    const [d, dmin] = [f16[u16(bytes, at)], f16[u16(bytes, at + 2)]];
    for (let b = 0; b < 8; b++) {
      const [scale, minimum] = scaleAndMinimum(bytes, at + 4, b);
      const [s, m, shift] = [d * scale, dmin * minimum, 4 * (b & 1)];
      const from = at + 16 + 32 * (b >> 1);
      for (let l = 0; l < 32; l++) out[y + 32 * b + l] = s * ((bytes[from + l] >> shift) & 15) - m;
    }
  }
}

/** [d][dmin][12 bytes of scales and minima][32 bytes of fifth bits][128 bytes, 4 bits each]: d s q - dmin m */
export function decodeQ5K(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  for (let at = 0, y = 0; y < out.length; at += 176, y += 256) {
    const [d, dmin] = [f16[u16(bytes, at)], f16[u16(bytes, at + 2)]];
    for (let b = 0; b < 8; b++) {
      const [scale, minimum] = scaleAndMinimum(bytes, at + 4, b);
      const [s, m, shift] = [d * scale, dmin * minimum, 4 * (b & 1)];
      const from = at + 48 + 32 * (b >> 1);
      for (let l = 0; l < 32; l++) {
        const q = ((bytes[from + l] >> shift) & 15) | (((bytes[at + 16 + l] >> b) & 1) << 4);
        out[y + 32 * b + l] = s * q - m;
      }
    }
  }
}

/** [128 bytes, low 4 bits][64 bytes, high 2 bits][16 signed scales][d]: d s (q - 32) */
export function decodeQ6K(bytes: Uint8Array, out: Float32Array): void {
  const f16 = f16Values();
  const signed = new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0, y = 0; y < out.length; at += 210, y += 256) {
    const d = f16[u16(bytes, at + 208)];
    for (let part = 0; part < 8; part++) {
      // Half n = part >> 2, quarter r of it: low bits of bytes 64n + 32(r & 1) …, the high nibble for r ≥ 2.
      const [n, r] = [part >> 2, part & 3];
      const low = at + 64 * n + 32 * (r & 1);
      const high = at + 128 + 32 * n;
      const [nibble, pair] = [4 * (r >> 1), 2 * r];
      for (let l = 0; l < 32; l++) {
        const q = ((bytes[low + l] >> nibble) & 15) | (((bytes[high + l] >> pair) & 3) << 4);
        out[y + 32 * part + l] = d * signed[at + 192 + 2 * part + (l >> 4)] * (q - 32);
      }
    }
  }
}
