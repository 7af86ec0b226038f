/**
 * Half-precision numbers to and from float32: IEEE binary16 (F16) and bfloat16 (BF16, the upper half of a float32).
 * Rounding is to nearest, ties to even; NaN stays NaN.
 */

const scratch = new DataView(new ArrayBuffer(4));

const bitsOf = (x: number): number => {
  scratch.setFloat32(0, x);
  return scratch.getUint32(0);
};

/** binary16 bits → number: m·2^-24 below the normal range, (1 + m/1024)·2^(e-15) in it. */
export function f16ToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const e = (bits >> 10) & 31;
  const m = bits & 1023;
  if (e === 0) return sign * m * 2 ** -24;
  if (e === 31) return m ? NaN : sign * Infinity;
  return sign * (1 + m / 1024) * 2 ** (e - 15);
}

/** number → binary16 bits. */
export const numberToF16 = (x: number): number => f16Bits(bitsOf(x), x);

function f16Bits(bits: number, x: number): number {
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  if (magnitude >= 0x477ff000) return sign | 0x7c00; // rounds beyond the largest, 65504
  if (magnitude < 0x38800000) return sign | roundHalfEven(Math.abs(x) * 2 ** 24); // subnormal: multiples of 2^-24
  // Rebias the exponent from 127 to 15 and round 13 bits away.
  return sign | ((magnitude - 0x38000000 + 0xfff + ((magnitude >>> 13) & 1)) >>> 13);
}

function roundHalfEven(x: number): number {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 === 1) ? floor + 1 : floor;
}

/** bfloat16 bits → number. */
export function bf16ToNumber(bits: number): number {
  scratch.setUint32(0, (bits << 16) >>> 0);
  return scratch.getFloat32(0);
}

/** number → bfloat16 bits. */
export const numberToBf16 = (x: number): number => bf16Bits(bitsOf(x));

function bf16Bits(bits: number): number {
  if ((bits & 0x7fffffff) > 0x7f800000) return ((bits >>> 16) | 0x40) & 0xffff; // NaN
  return ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16) & 0xffff;
}

/** Float32 values → binary16, two bytes each. */
export const encodeF16 = encoder(f16Bits);

/** Float32 values → bfloat16, two bytes each. */
export const encodeBf16 = encoder(bf16Bits);

function encoder(round: (bits: number, x: number) => number): (data: Float32Array) => Uint8Array {
  return (data) => {
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    const out = new Uint16Array(data.length);
    for (let i = 0; i < out.length; i++) out[i] = round(bits[i], data[i]);
    return new Uint8Array(out.buffer);
  };
}

/** Every binary16 value at the index of its bits: decoding large arrays by looking up. Made on the first call. */
export const f16Values = lazyTable(f16ToNumber);

/** Every bfloat16 value at the index of its bits. */
export const bf16Values = lazyTable(bf16ToNumber);

function lazyTable(decode: (bits: number) => number): () => Float32Array {
  let table: Float32Array | undefined;
  return () => (table ??= Float32Array.from({ length: 1 << 16 }, (_, bits) => decode(bits)));
}
