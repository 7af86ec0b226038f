/**
 * Seeded random numbers. A generator is named by a seed and a path ("shuffle", epoch 3), not by a mutable global:
 * whoever knows the name can make the same numbers again, so resuming a run needs no saved generator state.
 * xoshiro128** (Blackman and Vigna, 2018, arXiv:1805.01407), seeded by hashing the name with FNV-1a and splitmix32.
 */

export interface Rng {
  /** Uniform in [0, 1), 32 random bits. */
  uniform(): number;
  /** Uniform integer in [0, n). */
  integer(n: number): number;
  /** Standard normal (Box-Muller). */
  normal(): number;
  /** Fisher-Yates, in place. */
  shuffle<T>(array: T[]): T[];
}

/** The generator named by `seed` and `path`. Equal names give equal sequences, different names independent ones. */
export function random(seed: number, ...path: (string | number)[]): Rng {
  const next = xoshiro128(hash(JSON.stringify([seed, ...path])));
  const uniform = () => next() / 0x1_0000_0000;
  const integer = (n: number) => Math.floor(uniform() * n);
  let spare: number | undefined;
  return {
    uniform,
    integer,
    normal() {
      if (spare !== undefined) {
        const z = spare;
        spare = undefined;
        return z;
      }
      const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
      const angle = 2 * Math.PI * uniform();
      spare = radius * Math.sin(angle);
      return radius * Math.cos(angle);
    },
    shuffle(array) {
      for (let i = array.length - 1; i > 0; i--) {
        const j = integer(i + 1);
        [array[i], array[j]] = [array[j], array[i]];
      }
      return array;
    },
  };
}

/** FNV-1a over UTF-16 code units, 32 bits. */
function hash(text: string): number {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return h >>> 0;
}

/** 32-bit outputs of xoshiro128**, its four state words drawn from splitmix32. */
function xoshiro128(seed: number): () => number {
  let s = seed;
  const splitmix = () => {
    s = (s + 0x9e3779b9) | 0;
    let z = s ^ (s >>> 16);
    z = Math.imul(z, 0x21f0aaad);
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97);
    return (z ^ (z >>> 15)) >>> 0;
  };
  let [a, b, c, d] = [splitmix(), splitmix(), splitmix(), splitmix()];
  const rotate = (x: number, k: number) => (x << k) | (x >>> (32 - k));
  return () => {
    const result = Math.imul(rotate(Math.imul(b, 5), 7), 9) >>> 0;
    const t = b << 9;
    c ^= a;
    d ^= b;
    b ^= c;
    a ^= d;
    c ^= t;
    d = rotate(d, 11);
    return result;
  };
}
