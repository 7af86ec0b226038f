/** Damage to JSON files for tests: values and keys replaced, removed, doubled, and the text itself cut and changed. */
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
