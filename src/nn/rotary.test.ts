/**
 * Rotary tables: worked numbers of each scaling (computed with transformers and by hand), what they must leave unchanged,
 * the keys of both styles of config.json, and what is refused.
 */
import { describe, expect, test } from "vitest";
import { RequestError } from "../errors.ts";
import { type Rope, ropeFromConfig } from "./rotary.ts";

/** f_i and the attention factor, read off the tables at position 1: (m cos f, m sin f). */
function frequencies(rope: Rope, length = 1): { f: number[]; m: number } {
  const { cos, sin } = rope.tables([1], length);
  return { f: [...cos].map((c, i) => Math.atan2(sin[i], c)), m: Math.hypot(cos[0], sin[0]) };
}
const rope = (config: Record<string, unknown>, headDim = 8, maxPositionEmbeddings = 64) =>
  ropeFromConfig(config, { headDim, maxPositionEmbeddings });
const close = (actual: number, expected: number) =>
  expect(Math.abs(actual / expected - 1), `${actual} for ${expected}`).toBeLessThan(1e-8);
const plain = (base: number, width: number) =>
  Array.from({ length: width / 2 }, (_, i) => base ** ((-2 * i) / width));

describe("default", () => {
  test("turns (1, 2, 3, 4) at position 3 into the worked vector, halves paired", () => {
    const u = [1, 2, 3, 4];
    const { cos, sin } = rope({}, 4).tables([3], 4);
    const turned = [
      ...[0, 1].map((i) => u[i] * cos[i] - u[i + 2] * sin[i]),
      ...[0, 1].map((i) => u[i + 2] * cos[i] + u[i] * sin[i]),
    ];
    [-1.4133525, 1.8791181, -2.8288575, 4.0581911].forEach((v, i) => expect(turned[i]).toBeCloseTo(v, 7));
  });
  test("has one row a position, in the order given, and none depends on another", () => {
    const positions = [5, 0, 7, 5];
    const { cos, sin } = rope({}).tables(Int32Array.from(positions), 8);
    expect(cos).toHaveLength(positions.length * 4);
    positions.forEach((p, t) => {
      const alone = rope({}).tables([p], 8);
      expect(cos.slice(4 * t, 4 * t + 4)).toEqual(alone.cos);
      expect(sin.slice(4 * t, 4 * t + 4)).toEqual(alone.sin);
    });
  });
  test("a partial factor rotates fewer dimensions, with frequencies of that smaller width", () => {
    const partial = rope({ partial_rotary_factor: 0.5, rope_theta: 100 });
    expect(partial.width).toBe(4);
    frequencies(partial).f.forEach((f, i) => close(f, plain(100, 4)[i]));
  });
});

test("linear divides every frequency", () => {
  const { f } = frequencies(rope({ rope_scaling: { type: "linear", factor: 2.5 } }));
  f.forEach((value, i) => close(value, plain(10000, 8)[i] / 2.5));
});

describe("dynamic", () => {
  const dynamic = rope({ rope_scaling: { rope_type: "dynamic", factor: 2 } }, 64, 2048);
  test("raises the base for a row of twice the trained length to 31082.236667", () => {
    // base' = 10000 (2·4096/2048 - 1)^(64/62); f_31 = base'^(-62/64)
    expect(frequencies(dynamic, 4096).f[31] ** (-64 / 62)).toBeCloseTo(31082.236667, 5);
  });
  test("is the default up to the trained length, and has no limit", () => {
    expect(dynamic.tables([9], 2048)).toEqual(rope({}, 64).tables([9], 2048));
    expect(dynamic.tables([9], 2049)).not.toEqual(rope({}, 64).tables([9], 2049));
    expect([dynamic.dependsOnLength, dynamic.unlimited]).toEqual([true, true]);
  });
});

test("llama3 keeps short wavelengths, divides long ones, blends between: the values of Llama 3.2", () => {
  const scaling = {
    rope_type: "llama3",
    factor: 32,
    low_freq_factor: 1,
    high_freq_factor: 4,
    original_max_position_embeddings: 8192,
  };
  const { f, m } = frequencies(rope({ rope_theta: 5e5, rope_scaling: scaling }, 64));
  const worked = {
    14: 3.211445995e-3,
    15: 1.290547928e-3,
    16: 4.295567966e-4,
    17: 9.708287803e-5,
    18: 1.946163818e-5,
    31: 9.418306725e-8,
  };
  for (const [i, value] of Object.entries(worked)) close(f[Number(i)], value);
  f.slice(0, 15).forEach((value, i) => close(value, plain(5e5, 64)[i]));
  close(m, 1);
});

describe("yarn", () => {
  const scaling = { rope_type: "yarn", factor: 4, original_max_position_embeddings: 32768 };
  const make = (change: Record<string, unknown> = {}) =>
    frequencies(rope({ rope_theta: 1e6, rope_scaling: { ...scaling, ...change } }, 128, 131072));
  const unscaled = plain(1e6, 128);

  test("gives the worked frequencies and factor; the ramp runs from 23 to 40", () => {
    const { f, m } = make();
    close(m, 1.138629436);
    const worked = { 20: 1.333521432e-2, 30: 1.064360981e-3, 40: 4.445698525e-5, 63: 3.102344402e-7 };
    for (const [i, value] of Object.entries(worked)) close(f[Number(i)], value);
    const divisors = f.map((value, i) => unscaled[i] / value);
    expect(divisors.findIndex((d) => d > 1 + 1e-9)).toBe(24);
    expect(divisors.findIndex((d) => d > 4 - 1e-9)).toBe(40);
  });
  test("a null factor is the ratio of the lengths, null and 0 betas are their defaults", () => {
    expect(make({ factor: null, beta_fast: null, beta_slow: 0 })).toEqual(make());
  });
  test("the attention factor can be given", () => {
    const given = make({ attention_factor: 0.8 });
    close(given.m, 0.8);
    given.f.forEach((f, i) => close(f, make().f[i]));
  });
  test("both mscale keys give a ratio, one alone changes nothing", () => {
    close(make({ mscale: 2, mscale_all_dim: 1 }).m, (0.2 * Math.log(4) + 1) / (0.1 * Math.log(4) + 1));
    expect(make({ mscale: 2 })).toEqual(make());
  });
  test("truncate false starts and ends the ramp between two dimensions", () => {
    // dim(32) = 23.59, dim(1) = 39.65: the ramp is shorter at both ends, and steeper.
    const [exact, rounded] = [make({ truncate: false }).f, make().f];
    const dimension = (turns: number) =>
      (128 * Math.log(32768 / (turns * 2 * Math.PI))) / (2 * Math.log(1e6));
    const ramp = (30 - dimension(32)) / (dimension(1) - dimension(32));
    close(exact[30], (unscaled[30] / 4) * ramp + unscaled[30] * (1 - ramp));
    expect(exact[24]).toBeGreaterThan(rounded[24]);
    expect(exact[39]).toBeLessThan(rounded[39]);
  });
});

describe("longrope", () => {
  const lists = { short_factor: [1, 1.1, 1.3, 1.7], long_factor: [1, 1.5, 2.5, 4] };
  const scaling = { rope_type: "longrope", original_max_position_embeddings: 16, ...lists };
  const make = (change: Record<string, unknown> = {}) => rope({ rope_scaling: { ...scaling, ...change } });

  test("divides by the short list up to the trained length and by the long one beyond", () => {
    const either = (length: number, list: number[]) =>
      frequencies(make(), length).f.forEach((f, i) => close(f, plain(10000, 8)[i] / list[i]));
    either(16, lists.short_factor);
    either(17, lists.long_factor);
    expect(make().dependsOnLength).toBe(true);
    expect([1, 16].map(make().regime)).toEqual([make().regime(2), make().regime(2)]);
    expect(make().regime(17)).not.toBe(make().regime(16));
  });
  test("multiplies both by sqrt(1 + ln s / ln N), s the factor or the ratio of the lengths", () => {
    const expected = Math.sqrt(1 + Math.log(4) / Math.log(16)); // s = 64 / 16
    for (const length of [8, 32]) close(frequencies(make(), length).m, expected);
    close(frequencies(make({ factor: 9 })).m, Math.sqrt(1 + Math.log(9) / Math.log(16)));
    close(frequencies(make({ factor: 1 })).m, 1);
    close(frequencies(make({ attention_factor: 1.3 })).m, 1.3);
  });
  test("is also called su, with its trained length at the top level of the file", () => {
    const older = rope({ original_max_position_embeddings: 16, rope_scaling: { type: "su", ...lists } });
    for (const length of [16, 17]) expect(older.tables([3], length)).toEqual(make().tables([3], length));
    expect(older.toConfig().rope_scaling).toEqual({ rope_type: "longrope", ...lists });
  });
});

describe("config.json", () => {
  const scaling = { rope_type: "linear", factor: 3 };
  const same = (a: Rope, b: Rope) => expect(a.tables([7], 9)).toEqual(b.tables([7], 9));

  test("both styles mean the same", () => {
    const old = rope({ rope_theta: 500, rope_scaling: scaling });
    same(rope({ rope_parameters: { rope_theta: 500, ...scaling } }), old);
    same(rope({ rope_theta: 500, rope_scaling: null, rope_parameters: scaling }), old);
    same(rope({ rope_parameters: { rope_theta: 500 } }), rope({ rope_theta: 500 }));
  });
  test("where both stand in one file the old one wins", () => {
    const both = {
      rope_theta: 500,
      rope_scaling: scaling,
      rope_parameters: { rope_type: "linear", factor: 8 },
    };
    same(rope(both), rope({ rope_theta: 500, rope_scaling: scaling }));
  });
  test("without a base it is 10000", () => {
    same(rope({}), rope({ rope_theta: 10000 }));
    same(
      rope({ rope_theta: null, rope_scaling: scaling }),
      rope({ rope_theta: 10000, rope_scaling: scaling }),
    );
  });
  test("what is written, in the old style, reads back to the same", () => {
    expect(rope({ rope_parameters: { rope_type: "default", rope_theta: 500 } }).toConfig()).toEqual({
      rope_theta: 500,
      rope_scaling: null,
    });
    for (const config of [
      { rope_parameters: { rope_theta: 500, ...scaling } },
      { rope_theta: 500, rope_scaling: { type: "dynamic", factor: 2 } },
      {
        rope_scaling: { rope_type: "yarn", factor: 4, truncate: false, original_max_position_embeddings: 16 },
      },
      { rope_parameters: { rope_type: "default", partial_rotary_factor: 0.5 } },
    ]) {
      same(rope({ ...rope(config).toConfig() }), rope(config));
    }
  });

  const lists = { short_factor: [1, 1, 1, 1], long_factor: [1, 1, 1, 1] };
  test.each<[string, Record<string, unknown>, string]>([
    ["an unknown kind", { rope_scaling: { rope_type: "yarm", factor: 2 } }, "Did you mean yarn?"],
    ["a kind that is no name", { rope_scaling: { rope_type: 3 } }, "config.json, rope_scaling.rope_type"],
    ["a factor without a kind", { rope_scaling: { factor: 2 } }, "config.json, rope_scaling.rope_type"],
    ["parameters a layer", { rope_parameters: { full_attention: scaling } }, "rope_parameters.rope_type"],
    ["a scaling that is no object", { rope_scaling: "linear" }, "config.json, rope_scaling"],
    ["a missing factor", { rope_scaling: { type: "linear" } }, "config.json, rope_scaling.factor"],
    ["a factor of 0", { rope_parameters: { rope_type: "dynamic", factor: 0 } }, "rope_parameters.factor"],
    [
      "a missing length",
      { rope_scaling: { ...scaling, rope_type: "llama3" } },
      "rope_scaling.low_freq_factor",
    ],
    ["a base in quotes", { rope_theta: "500000" }, "config.json, rope_theta"],
    ["a negative base", { rope_parameters: { rope_theta: -1 } }, "rope_parameters.rope_theta"],
    ["a flag in quotes", { rope_scaling: { type: "yarn", truncate: "false" } }, "rope_scaling.truncate"],
    [
      "a list too short",
      { rope_scaling: { type: "longrope", ...lists, long_factor: [1] } },
      "rope_scaling.long_factor",
    ],
    [
      "a divisor of 0",
      { rope_scaling: { type: "longrope", ...lists, short_factor: [1, 0, 1, 1] } },
      "rope_scaling.short_factor",
    ],
    ["an odd width", { partial_rotary_factor: 0.4 }, "partial_rotary_factor"],
  ])("%s is refused", (_, config, part) => {
    expect(() => rope(config)).toThrow(RequestError);
    expect(() => rope(config)).toThrow(part);
  });
});
