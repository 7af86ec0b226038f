/**
 * Damage to files for tests. JSON: values and keys replaced, removed, doubled, and the text itself cut and changed. Binary: cuts, flips,
 * huge numbers, bytes lost and doubled.
 */
import type { Rng } from "../engine/random.ts";

type Json = unknown;

/** What a file may hold where something else is expected. */
const oddities: readonly ((rng: Rng) => Json)[] = [
  () => null,
  () => true,
  () => "",
  () => "a",
  () => "__proto__",
  () => [],
  () => ({}),
  () => [[]],
  () => [null, 1, "x"],
  () => 0,
  () => -1,
  () => 1.5,
  () => 2 ** 31,
  () => 2 ** 32 + 1,
  () => Number.MAX_SAFE_INTEGER,
  () => 1e308,
  () => 5e-324,
  (rng) => rng.integer(1000),
  (rng) => "x".repeat(rng.integer(10_000)),
  (rng) => deep(rng.integer(1000)),
  (rng) => Array.from({ length: rng.integer(1000) }, () => 1),
];

function deep(levels: number): Json {
  let value: Json = 0;
  for (let k = 0; k < levels; k++) value = [value];
  return value;
}

interface Place {
  readonly holder: Record<string, Json>;
  readonly key: string;
}

/** Every place of a value where another could stand, long lists only at their beginning. */
function placesIn(value: Json, into: Place[] = []): Place[] {
  if (typeof value !== "object" || value === null) return into;
  for (const key of Object.keys(value).slice(0, 40)) {
    into.push({ holder: value as Record<string, Json>, key });
    placesIn((value as Record<string, Json>)[key], into);
  }
  return into;
}

/** One to three values of a JSON value become something else, or go; it stays JSON. Nothing is changed in place. */
export function damagedValue(value: Json, rng: Rng): Json {
  const copy: unknown = structuredClone(value);
  for (let k = 0; k <= rng.integer(3); k++) {
    const places = placesIn(copy);
    if (places.length === 0) return oddities[rng.integer(oddities.length)](rng);
    const { holder, key } = places[rng.integer(places.length)];
    const kind = rng.integer(6);
    if (kind === 0 && Array.isArray(holder)) holder.splice(Number(key), 1);
    else if (kind === 0) Reflect.deleteProperty(holder, key);
    else if (kind === 1) {
      const other = places[rng.integer(places.length)];
      holder[key] = structuredClone(other.holder[other.key]);
    } else holder[key] = oddities[rng.integer(oddities.length)](rng);
  }
  return copy;
}

const textDamages: readonly ((text: string, rng: Rng) => string)[] = [
  (text, rng) => text.slice(0, rng.integer(text.length)),
  (text, rng) => put(text, rng, String.fromCharCode(rng.integer(256))),
  (text, rng) => put(text, rng, '",[]{}:\\\n'.charAt(rng.integer(9))),
  (text, rng) => put(text, rng, ["NaN", "-Infinity", "1e999", "0x10", "undefined"][rng.integer(5)]),
  (text, rng) => put(text, rng, ["[", '{"a":'][rng.integer(2)].repeat(rng.integer(200_000))),
  (text, rng) => put(text, rng, "9".repeat(rng.integer(10_000))),
  (text, rng) => text.replace(/\d+/g, (n) => (rng.integer(20) === 0 ? "1e400" : n)),
];

function put(text: string, rng: Rng, inserted: string): string {
  const at = rng.integer(text.length);
  return text.slice(0, at) + inserted + text.slice(at + rng.integer(4));
}

/** A damaged JSON text: three times of four its values are damaged, else the text. */
export function damagedText(value: Json, rng: Rng): string {
  if (rng.integer(4) > 0) return JSON.stringify(damagedValue(value, rng));
  return textDamages[rng.integer(textDamages.length)](JSON.stringify(value), rng);
}

/** A number as bytes, the lowest first. */
export const little = (value: bigint, size: number) =>
  Uint8Array.from({ length: size }, (_, i) => Number((value >> BigInt(8 * i)) & 255n));
const extremes = [
  0n,
  1n,
  255n,
  2n ** 31n - 1n,
  2n ** 31n,
  2n ** 32n - 1n,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

/** One kind of damage to a file whose header takes the first `header` bytes. */
export const byteDamages: readonly ((bytes: Uint8Array, header: number, rng: Rng) => Uint8Array)[] = [
  // cut anywhere, half of the time within the header
  (bytes, header, rng) => bytes.slice(0, rng.integer(rng.integer(2) ? header : bytes.length)),
  // flipped bits
  (bytes, header, rng) => {
    for (let k = 0; k <= rng.integer(4); k++) bytes[rng.integer(header)] ^= 1 << rng.integer(8);
    return bytes;
  },
  // other bytes: types, counts, text
  (bytes, header, rng) => {
    for (let k = 0; k <= rng.integer(4); k++) bytes[rng.integer(header)] = rng.integer(256);
    return bytes;
  },
  // huge and odd numbers where lengths and sizes may stand
  (bytes, header, rng) => {
    const size = rng.integer(2) ? 8 : 4;
    const at = rng.integer(2) ? rng.integer(3) * 8 : rng.integer(header - 8);
    bytes.set(little(extremes[rng.integer(extremes.length)], size), at);
    return bytes;
  },
  // bytes lost or doubled
  (bytes, header, rng) => {
    const [at, n] = [rng.integer(header), 1 + rng.integer(16)];
    const middle = rng.integer(2) ? [] : [bytes.subarray(at, at + n), bytes.subarray(at, at + n)];
    return Buffer.concat([bytes.subarray(0, at), ...middle, bytes.subarray(at + n)]);
  },
  // appended bytes
  (bytes, _, rng) => Buffer.concat([bytes, Buffer.alloc(1 + rng.integer(100), rng.integer(256))]),
];
