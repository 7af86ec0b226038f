/** Packing: padded, packed and shared-prompt layouts are the same numbers, and layouts depend on the rows alone. */
import { describe, expect, test } from "vitest";
import type { Scorable } from "../data/token-row.ts";
import type { TensorArray } from "../engine/backends/backend.ts";
import { openBackend } from "../engine/backends/open.ts";
import { gradients } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { sub } from "../engine/ops/elementwise.ts";
import { segmentSum } from "../engine/ops/indexing.ts";
import { sum } from "../engine/ops/reduce.ts";
import { evaluate } from "../engine/program.ts";
import { random } from "../engine/random.ts";
import type { Tensor } from "../engine/tensor.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import { type LanguageModel, newLanguageModel } from "../models/language-model.ts";
import { ropeFromConfig } from "../nn/rotary.ts";
import { layoutOf } from "./layout.ts";
import { roundedUp } from "./pack-shape.ts";
import { type PackedBatch, pack } from "./packing.ts";
import type { Placement } from "./segments.ts";
import { batchArrays, scoreText } from "./text-graph.ts";
import { type RowScores, TextScorer, type Tree, unpack } from "./text-scorer.ts";

const rope = ropeFromConfig({}, { headDim: 8, maxPositionEmbeddings: 128 });
const rng = random(3, "trees");
const ids = (n: number) => Array.from({ length: n }, () => rng.integer(50));
const trees: Tree[] = Array.from({ length: 23 }, () => ({
  prompt: ids(1 + rng.integer(9)),
  completions: [ids(1 + rng.integer(12)), ids(1 + rng.integer(5))],
}));

/** Prompts that are longer than what follows: split, they are cut. */
const longTrees: Tree[] = Array.from({ length: 7 }, () => ({
  prompt: ids(100 + rng.integer(10)),
  completions: [ids(1 + rng.integer(8)), ids(1 + rng.integer(8))],
}));

const roles = [
  { name: "chosen", many: false },
  { name: "rejected", many: false },
];
const rowOf = ({ prompt, completions: [chosen, rejected] }: Tree) => ({
  trees: [{ prompt, branches: [[{ role: "chosen", ids: chosen }], [{ role: "rejected", ids: rejected }]] }],
});
const small = rowOf({ prompt: [5, 6, 7], completions: [[8, 9], [4]] });

/** A record with completions of as many tokens, of a prompt of `prompt` tokens. */
const full = (completions: readonly number[], prompt: number) => ({
  trees: [
    {
      prompt: ids(prompt),
      branches: completions.map((n, i) => [{ role: roles[i].name, ids: ids(n) }]),
    },
  ],
});

/** The tokens that each token looks at, by its rows of attention. */
function looks(batch: PackedBatch): Map<number, number[]> {
  const { rows, queries, keys } = batch.shape;
  const found = new Map<number, number[]>();
  for (let slot = 0; slot < rows * queries; slot++) {
    const row = Math.floor(slot / queries);
    const line = batch.mask.subarray(slot * keys, (slot + 1) * keys);
    const seen = [...line].flatMap((v, k) => (v === 0 ? [Number(batch.keyTokens[row * keys + k])] : []));
    if (seen.length > 0) found.set(Number(batch.queryTokens[slot]), seen);
  }
  return found;
}

const [split, joined] = [{ placements: ["split"] }, { placements: ["joined"] }] as const;

describe.each([
  ["each completion in a row of its own", split],
  ["all completions in one row", joined],
])("a small batch, %s", (_, way) => {
  const batch = pack([small], roles, rope, way);
  // Prompts that several rows look at stand first, then, after their padding, completions.
  const first = way === split ? batch.shape.prompts : 3;
  test("every token stands once, with its position; completions restart after the prompt", () => {
    const at = [0, 1, 2, first, first + 1, first + 2];
    expect(at.map((t) => Number(batch.ids[t]))).toEqual([5, 6, 7, 8, 9, 4]);
    // cos of the first frequency (1) tells the position
    [0, 1, 2, 3, 4, 3].forEach((p, i) => {
      expect(Number(batch.tokenPositions[at[i]])).toBe(p);
      expect(batch.cos[at[i] * 4]).toBeCloseTo(Math.cos(p), 6);
    });
    expect(batch.tokens).toBe(6);
    // chosen: predicted from 7 and 8; rejected: from 7
    const scored = [...batch.index].filter((_, i) => batch.targets[i] > 0n);
    expect(scored.map(Number)).toEqual([2, first, 2]);
  });
  test("a token looks at its prompt and its own branch up to itself, at nothing else", () => {
    expect(Object.fromEntries(looks(batch))).toEqual({
      0: [0],
      1: [0, 1],
      2: [0, 1, 2],
      [first]: [0, 1, 2, first],
      [first + 1]: [0, 1, 2, first, first + 1],
      [first + 2]: [0, 1, 2, first + 2],
    });
  });
});

describe("layout", () => {
  test("long prompts are cut where what follows them is short, and looked at by their later parts and all completions", () => {
    const longest = Math.max(...longTrees.map((t) => t.prompt.length));
    for (const rounding of ["none", "fine", "few"] as const) {
      const { shape } = pack(longTrees.map(rowOf), roles, rope, { ...split, rounding });
      expect(shape.queries).toBeLessThan(longest);
      expect(shape.copies).toBe(Math.ceil(longest / shape.queries) + 2);
    }
    const seen = looks(pack(longTrees.slice(0, 1).map(rowOf), roles, rope, { ...split, rounding: "fine" }));
    const first = longTrees[0].prompt.length;
    for (let t = 0; t < first; t++) expect(seen.get(t)).toEqual(Array.from({ length: t + 1 }, (_, i) => i));
  });
  test("a shape with longer rows holds a batch whose prompts are cut in others", () => {
    const rows = longTrees.map(rowOf);
    const cut = layoutOf(rows, roles, { ...split, rounding: "fine" }).shape;
    const whole = { ...cut, queries: 120, keys: 128, copies: 3, rows: 24 };
    expect(layoutOf(rows, roles, { ...split, shapes: [whole] })).toMatchObject({ from: whole, shape: whole });
    const few = { ...cut, copies: 2 };
    expect(layoutOf(rows, roles, { ...split, shapes: [few] }).from).toBeUndefined();
    expect(layoutOf(rows, roles, { ...split, shapes: [few], grow: true }).shape.copies).toBe(cut.copies);
  });
  test.each([
    ["prompts are short", trees, split],
    ["prompts are long, and cut", longTrees, split],
    ["completions in one row", trees, joined],
  ])("slots of tokens lead back to them, and those of padding to nobody: %s", (_, given, way) => {
    const all = pack(given.map(rowOf), roles, rope, { ...way, rounding: "fine" });
    const { prompts, others, copies, queries, keys } = all.shape;
    const padding = BigInt(prompts + others - 1);
    const seen = looks(all);
    for (let t = 0; t < prompts + others; t++) {
      const slot = Number(all.querySlots[t]);
      if (seen.has(t)) expect(all.queryTokens[slot]).toBe(BigInt(t));
      else expect([slot, all.queryTokens[slot]]).toEqual([queries - 1, padding]);
    }
    const keyCopies = (t: number) =>
      t < prompts
        ? Array.from({ length: copies }, (_, c) => all.promptKeySlots[c * prompts + t])
        : [all.keySlots[t - prompts]];
    const times = new Map<bigint, number>();
    for (const t of all.keyTokens) times.set(t, (times.get(t) ?? 0) + 1);
    for (let t = 0; t < prompts + others; t++) {
      const real = keyCopies(t).filter((slot) => slot !== BigInt(keys - 1));
      if (!seen.has(t)) expect(real).toEqual([]);
      else {
        expect(new Set(real).size).toBe(times.get(BigInt(t)));
        for (const slot of real) expect(all.keyTokens[Number(slot)]).toBe(BigInt(t));
      }
    }
    expect(all.keyTokens[keys - 1]).toBe(padding);
  });
  test.each([
    [
      "no prompts",
      [full([0], 16), full([0], 16)],
      { prompts: 0, others: 32, rows: 2, queries: 16, keys: 16 },
      split,
    ],
    [
      "completions in one row",
      [full([8, 8], 8), full([8, 8], 8)],
      { prompts: 0, others: 48, rows: 2, queries: 24, keys: 24 },
      joined,
    ],
    [
      "shared prompts",
      [full([8, 8], 8), full([8, 8], 8)],
      { prompts: 16, others: 32, rows: 6, queries: 8, keys: 16, copies: 3 },
      split,
    ],
    [
      "shared prompts that are cut, whose parts are looked at by fewer and fewer",
      [full([8, 8], 24), full([8, 8], 24)],
      { prompts: 48, others: 32, rows: 10, queries: 8, keys: 32, copies: 5 },
      split,
    ],
  ])("rows that fill their places have no padding: %s", (_, rows, shape, way) => {
    for (const rounding of ["none", "fine", "few"] as const) {
      const all = pack(rows, roles, rope, { ...way, rounding });
      expect(all.shape).toMatchObject(shape);
      expect(all.tokens).toBe(shape.prompts + shape.others);
      expect([...looks(all).keys()]).toHaveLength(all.tokens);
    }
    // One token fewer, and there is padding again.
    const [{ trees }, ...others] = rows;
    const shorter = trees.map((t) => ({ ...t, branches: [[{ role: "chosen", ids: ids(7) }]] }));
    const some = pack([{ trees: shorter }, ...others], roles, rope, { ...way, rounding: "none" });
    expect(some.shape.prompts + some.shape.others).toBe(some.tokens + 1);
  });
  test.each([
    ["a branch without tokens", [full([8, 0], 8)]],
    ["parts of a prompt", [full([8, 8], 24)]],
    ["prompts of several lengths", longTrees.map(rowOf)],
  ])("a prompt that fewer rows look at has a key for want of another that nobody looks at: %s", (_, rows) => {
    for (const rounding of ["none", "fine", "few"] as const) {
      const all = pack(rows, roles, rope, { ...split, rounding });
      const { prompts, copies, queries, keys } = all.shape;
      const looked = new Set<number>();
      all.mask.forEach((v, i) => {
        if (v === 0) looked.add(Math.floor(i / (queries * keys)) * keys + (i % keys));
      });
      let free = 0;
      for (let c = 0; c < copies; c++)
        for (let t = 0; t < prompts; t++) {
          const slot = Number(all.promptKeySlots[c * prompts + t]);
          if (looked.has(slot)) expect(all.keyTokens[slot]).toBe(BigInt(t));
          else free++;
        }
      expect(free).toBeGreaterThan(0);
    }
  });
  test("the same rows give the same layout, and sizes are few", () => {
    const all = trees.map(rowOf);
    expect(pack(all, roles, rope)).toEqual(pack(all, roles, rope));
    const sizes = new Set(Array.from({ length: 1000 }, (_, i) => roundedUp(i + 1)));
    expect(sizes.size).toBeLessThan(40);
    for (let n = 1; n <= 1000; n++) expect(roundedUp(n)).toBeGreaterThanOrEqual(n);
    for (let n = 65; n <= 1000; n++) expect(roundedUp(n) / n).toBeLessThanOrEqual(1.25);
  });
});

/** Gradients of the difference of both roles' sums. */
async function gradientsOf(model: LanguageModel, batch: PackedBatch) {
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const scores = scoreText(graph, model.architecture, declared.weights, batch.shape, roles);
  const sums = scores.roles.map(({ logps, segments, units }) => segmentSum(logps, segments, units));
  const outputs: Record<string, Tensor> = {};
  gradients(sum(sub(sums[0], sums[1])), declared.trained).forEach((g, i) => {
    if (g) outputs[`gradient/${declared.trained[i].id}`] = g;
  });
  return evaluate(model.backend, graph, outputs, { ...modelArrays(model), ...batchArrays(batch, roles) });
}

/** Scores of rows whose completions are placed in one way. */
async function scoresOf(
  model: LanguageModel,
  rows: readonly Scorable[],
  names: readonly string[],
  way: Placement,
): Promise<RowScores[]> {
  const laid = names.map((name) => ({ name, many: true }));
  const batch = pack(rows, laid, model.architecture.rope, { placements: [way] });
  expect(batch.placement).toBe(model.architecture.rope.dependsOnLength ? "apart" : way);
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const scores = scoreText(graph, model.architecture, declared.weights, batch.shape, laid);
  const outputs = Object.fromEntries(names.map((name, k) => [name, scores.roles[k].logps]));
  const arrays = { ...modelArrays(model), ...batchArrays(batch, laid) };
  const found = await evaluate(model.backend, graph, outputs, arrays);
  return unpack(
    batch,
    laid,
    names.map((name) => found[name] as Float32Array),
    rows.length,
  );
}

/** Within 2e-5 of the largest of each. */
function expectClose(found: Record<string, TensorArray>, wanted: Record<string, TensorArray>): void {
  for (const [name, values] of Object.entries(wanted)) {
    const largest = Math.max(...Array.from(values as Float32Array, Math.abs));
    (found[name] as Float32Array).forEach((v, i) =>
      expect(Math.abs(v - Number(values[i])), `${name}[${i}]`).toBeLessThan(2e-5 * largest),
    );
  }
}

describe("scores", () => {
  const sizes = {
    vocab_size: 50,
    hidden_size: 32,
    intermediate_size: 48,
    num_hidden_layers: 2,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 8,
    max_position_embeddings: 128,
    initializer_range: 0.3,
  };
  const gpt2 = {
    vocab_size: 50,
    n_embd: 32,
    n_layer: 2,
    n_head: 4,
    n_positions: 128,
    initializer_range: 0.3,
  };
  const longrope = { type: "longrope", short_factor: [1, 1, 1, 1], long_factor: [1, 2, 3, 4] };
  test.each<[string, object]>([
    ["llama", sizes],
    ["mistral", { ...sizes, sliding_window: 4 }],
    ["gemma2", { ...sizes, sliding_window: 3, attn_logit_softcapping: 2, final_logit_softcapping: 3 }],
    ["gpt2", gpt2],
    ["gpt_neox", sizes],
    ["phi3", { ...sizes, sliding_window: 5, original_max_position_embeddings: 12, rope_scaling: longrope }],
  ])("%s: a tree scores like each of its completions alone in a row", async (model_type, config) => {
    const model = newLanguageModel({ ...config, model_type }, 1, await openBackend());
    const scorer = new TextScorer(model);
    for (const given of [trees, longTrees]) {
      const packed = await Promise.all(
        ([split, joined] as const).map(({ placements: [way] }) =>
          scoresOf(model, given.map(rowOf), ["chosen", "rejected"], way),
        ),
      );
      for (const [i, { prompt, completions }] of given.entries()) {
        for (const [k, completion] of completions.entries()) {
          const [[alone]] = await scorer.score([{ prompt, completions: [completion] }]);
          for (const scores of packed) {
            const [found] = scores[i][roles[k].name];
            alone.forEach((logp, t) => expect(Math.abs(found[t] - logp)).toBeLessThan(2e-5));
          }
        }
      }
    }
  });
  const windows = { sliding_window: 4 };
  test.each<[string, string, object, Tree[]]>([
    ["llama", "short", {}, trees],
    ["llama", "long, which may be cut", {}, longTrees],
    ["mistral", "longer than its window", windows, longTrees],
    ["gemma2", "longer than its windows", { ...windows, attn_logit_softcapping: 2 }, longTrees],
  ])(
    "%s: gradients are those of prompts that stand with each completion: prompts are %s",
    async (...given) => {
      const [model_type, , config, own] = given;
      const model = newLanguageModel({ ...sizes, ...config, model_type }, 1, await openBackend());
      const laid = async (way: Placement) => {
        const batch = pack(own.map(rowOf), roles, model.architecture.rope, { placements: [way] });
        expect(batch.placement).toBe(way);
        return gradientsOf(model, batch);
      };
      const apart = await laid("apart");
      expect(Object.keys(apart)).toHaveLength(model.architecture.parameters.length);
      expectClose(await laid("split"), apart);
      expectClose(await laid("joined"), apart);
    },
  );
  test.each([
    ["one completion", [full([8], 8), full([8], 8)], split],
    ["completions in one row", [full([8, 8], 8), full([8, 8], 8)], joined],
    ["shared prompts", [full([8, 8], 8), full([8, 8], 8)], split],
    ["shared prompts that are cut", [full([8, 8], 24), full([8, 8], 24)], split],
  ])("gradients without padding are those with padding: %s", async (_, rows, way) => {
    const model = newLanguageModel({ ...sizes, model_type: "llama" }, 1, await openBackend());
    const own = pack(rows, roles, model.architecture.rope, { ...way, rounding: "none" });
    const { shape } = own;
    const larger = {
      ...shape,
      prompts: shape.prompts + (shape.prompts && 3),
      others: shape.others + 5,
      copies: shape.copies + (shape.copies && 1),
      queries: shape.queries + 8,
      keys: shape.keys + 8,
    };
    const padded = pack(rows, roles, model.architecture.rope, { ...way, shapes: [larger] });
    expect(padded.shape).toEqual(larger);
    expect(own.shape.prompts + own.shape.others).toBe(own.tokens);
    const [found, wanted] = [await gradientsOf(model, own), await gradientsOf(model, padded)];
    expectClose(found, wanted);
  });
  test("a window counts positions of the token's own sequence, and one as long as the row changes nothing", async () => {
    const backend = await openBackend();
    const scored = async (sliding_window: number | null) => {
      const model = newLanguageModel({ ...sizes, model_type: "mistral", sliding_window }, 1, backend);
      return new TextScorer(model).score(trees);
    };
    const longest = Math.max(...trees.flatMap((t) => t.completions.map((c) => t.prompt.length + c.length)));
    const full = await scored(null);
    expect(await scored(longest)).toEqual(full);
    expect(await scored(longest - 2)).not.toEqual(full);
  });
  test.each<[string, Placement]>([
    ["llama", "split"],
    ["llama", "joined"],
    ["phi3", "apart"],
  ])(
    "%s: rows of several prompts, of branches in parts, of many completions and of scored prompts, %s",
    async (model_type, way) => {
      const scaled = { ...sizes, original_max_position_embeddings: 12, rope_scaling: longrope };
      const config = model_type === "phi3" ? scaled : sizes;
      const model = newLanguageModel({ ...config, model_type }, 1, await openBackend());
      const scorer = new TextScorer(model);
      const some = (role: string) => ({ role, ids: ids(1 + rng.integer(6)) });
      // Parts one after another in a branch; a role that is scored nowhere is context; a role of several; two trees.
      const rows = Array.from({ length: 12 }, () => ({
        trees: [
          {
            prompt: ids(2 + rng.integer(4)),
            branches: [[some("a"), some("context"), some("b")], [some("c")]],
          },
          {
            prompt: ids(1 + rng.integer(4)),
            branches: Array.from({ length: rng.integer(4) }, () => [some("many")]),
          },
        ],
      }));
      const names = ["a", "b", "c", "many", "a/prompt"];
      const found = await scoresOf(model, rows, names, way);
      const scored = await scorer.scoreRows(rows, names);
      for (const name of names)
        scored.forEach((own, i) =>
          own[name]?.forEach((list, k) =>
            list.forEach((logp, t) => expect(Math.abs(found[i][name][k][t] - logp)).toBeLessThan(2e-5)),
          ),
        );
      const alone = async (prompt: readonly number[], completion: readonly number[]) =>
        (await scorer.score([{ prompt, completions: [completion] }]))[0][0];
      for (const [
        i,
        {
          trees: [first, second],
        },
      ] of rows.entries()) {
        const [[a, context, b], [c]] = first.branches;
        const wanted = {
          a: [await alone(first.prompt, a.ids)],
          b: [await alone([...first.prompt, ...a.ids, ...context.ids], b.ids)],
          c: [await alone(first.prompt, c.ids)],
          many: [] as Float32Array[],
          "a/prompt": [await alone(first.prompt.slice(0, 1), first.prompt.slice(1))],
        };
        for (const [m] of second.branches) wanted.many.push(await alone(second.prompt, m.ids));
        for (const [role, lists] of Object.entries(wanted)) {
          expect(found[i][role]?.length ?? 0, role).toBe(lists.length);
          // Frequencies that depend on the length of the row: those of the whole sequence count, also for its parts.
          const longer = model_type === "phi3" && role !== "b" && role !== "c" && role !== "many";
          if (longer) continue;
          lists.forEach((list, k) =>
            list.forEach((logp, t) => expect(Math.abs(found[i][role][k][t] - logp), role).toBeLessThan(2e-5)),
          );
        }
      }
    },
  );
});
