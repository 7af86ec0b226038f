/** How batches are cut into pieces. */
import { expect, test } from "vitest";
import type { TokenRow } from "../data/token-row.ts";
import { openBackend } from "../engine/backends/open.ts";
import { wholeBlocks } from "../engine/blocked-products.ts";
import { random } from "../engine/random.ts";
import { newLanguageModel } from "../models/language-model.ts";
import { tokensOfShape } from "../scoring/pack-shape.ts";
import { BatchLayouts } from "./batch-layouts.ts";

const config = {
  ...{ model_type: "llama", vocab_size: 50, hidden_size: 256, num_hidden_layers: 1, num_attention_heads: 2 },
  ...{ num_key_value_heads: 1, intermediate_size: 24, max_position_embeddings: 512 },
};
const { architecture } = newLanguageModel(config, 7, await openBackend());
const roles = ["chosen", "rejected"].map((name) => ({ name, many: false }));
const rng = random(2, "pieces");
const ids = (n: number) => new Array<number>(n).fill(1);
const pair = (line: number): TokenRow => ({
  ...{ kind: "pair", fields: {}, values: {}, tokenRewards: {}, truncated: 0, source: { file: "test", line } },
  trees: [
    {
      prompt: ids(5 + rng.integer(60)),
      branches: [
        [{ role: "chosen", ids: ids(5 + rng.integer(60)) }],
        [{ role: "rejected", ids: ids(5 + rng.integer(60)) }],
      ],
    },
  ],
});
const batches = Array.from({ length: 20 }, (_, b) => Array.from({ length: 8 }, (__, i) => pair(8 * b + i)));
const tokensIn = (rows: readonly TokenRow[]) =>
  rows.reduce(
    (n, { trees: [t] }) => n + t.branches.reduce((m, [{ ids: own }]) => m + own.length, t.prompt.length),
    0,
  );

test.each([1, 2, 4])(
  "pieces of about %i pairs hold every pair once, and about as many tokens",
  (microBatch) => {
    const layouts = new BatchLayouts(architecture, roles, false, false);
    const largest = Math.max(...layouts.plan(batches, microBatch).largest.map(tokensOfShape));
    for (const batch of batches) {
      const pieces = layouts.pieces(batch, microBatch);
      expect(pieces.flatMap((p) => p.places).sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
      expect(pieces.length).toBeLessThanOrEqual(8 / microBatch);
      expect(new Set(pieces.map((p) => p.slots)).size).toBe(1);
      const sizes = pieces.map((p) => tokensIn(p.rows));
      const longest = Math.max(...batch.map((row) => tokensIn([row])));
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(longest);
      for (const { rows, slots } of pieces) {
        const { shape, tokens } = layouts.pack(rows, slots);
        expect(tokens).toBe(tokensIn(rows));
        expect([tokens, wholeBlocks(tokens + 1)]).toContain(tokensOfShape(shape)); // without padding, or with one more
        expect(tokensOfShape(shape)).toBeLessThanOrEqual(largest);
      }
    }
  },
);

test("a run shares prompts in one way, that of most of its work, or not at all", () => {
  const own = (prompt: number, completion: number) => {
    const row = pair(0);
    const branches = row.trees[0].branches.map(([part]) => [{ ...part, ids: ids(completion) }]);
    return { ...row, trees: [{ prompt: ids(prompt), branches }] };
  };
  const [longPrompts, halves, short] = [own(192, 64), own(128, 128), own(1, 200)];
  const placementsIn = (given: readonly TokenRow[][]) => {
    const layouts = new BatchLayouts(architecture, roles, false, false);
    const { programs } = layouts.plan(given, 2);
    const found = given.map((rows) => layouts.pack(rows, rows.length).placement);
    return { programs, found };
  };
  const of = (row: TokenRow, n: number) => Array.from({ length: n }, () => [row, row]);
  expect(placementsIn([...of(longPrompts, 5), ...of(halves, 1), ...of(short, 1)])).toEqual({
    programs: 2,
    found: [...Array<string>(6).fill("joined"), "apart"],
  });
  expect(placementsIn([...of(longPrompts, 1), ...of(halves, 5), ...of(short, 1)])).toEqual({
    programs: 4,
    found: [...Array<string>(6).fill("split"), "apart"],
  });
});

test("where sizes are fixed, pieces are laid out in few shapes", () => {
  const layouts = new BatchLayouts(architecture, roles, false, true);
  const { programs } = layouts.plan(batches, 2);
  expect(programs).toBeLessThanOrEqual(10);
  const used = batches.flatMap((batch) =>
    layouts.pieces(batch, 2).map(({ rows, slots }) => JSON.stringify(layouts.pack(rows, slots).shape)),
  );
  expect(new Set(used).size).toBeLessThanOrEqual(programs);
});

test("a record that is longer than any planned one has a piece of its own, and the others do not", () => {
  const layouts = new BatchLayouts(architecture, roles, false, false);
  layouts.plan(batches, 2);
  const long = { ...pair(1), trees: [{ prompt: ids(2000), branches: [[{ role: "chosen", ids: ids(9) }]] }] };
  const pieces = layouts.pieces([...batches[0].slice(1), long], 2);
  expect(pieces.find((p) => p.rows.includes(long))?.rows).toEqual([long]);
  expect(pieces.length).toBeLessThanOrEqual(4);
});
