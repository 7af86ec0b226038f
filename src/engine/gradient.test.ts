/** Gradients that are added to others: of every operation with weights, whole and in chunks, recomputed or not. */
import { expect, test } from "vitest";
import { openBackend } from "./backends/open.ts";
import { gradients } from "./gradient.ts";
import { Graph } from "./graph.ts";
import { recomputed } from "./ordering.ts";
import { mul } from "./ops/elementwise.ts";
import { gatherRows } from "./ops/indexing.ts";
import { linear } from "./ops/matmul.ts";
import { rmsNorm } from "./ops/normalization.ts";
import { sum } from "./ops/reduce.ts";
import { tokenLogProbs } from "./ops/token-log-probs.ts";
import { vocabularyScores } from "./ops/vocabulary-scores.ts";
import { evaluate } from "./program.ts";
import { random } from "./random.ts";
import { type Tensor, dim } from "./tensor.ts";

const [tokens, hidden, vocabulary] = [dim("tokens", 6), dim("hidden", 4), dim("vocabulary", 5)];
const shapes = {
  table: [vocabulary, hidden],
  weight: [hidden, hidden],
  bias: [hidden],
  scale: [hidden],
  unused: [hidden],
} as const;
type Parameter = keyof typeof shapes;

type Head = (states: Tensor, head: Tensor, targets: Tensor) => Tensor;
const heads: Readonly<Record<string, Head>> = {
  "log-probabilities": (states, head, targets) => tokenLogProbs(states, head, targets),
  "log-probabilities in chunks": (states, head, targets) =>
    tokenLogProbs(states, head, targets, undefined, { rows: 4, words: 2 }),
  "vocabulary scores in chunks": (states, head, targets) => {
    const { logp } = vocabularyScores({ hidden: states, head, targets }, ["logp"], { rows: 2, words: 3 });
    return logp ?? states;
  },
};

test.each(Object.keys(heads))("%s under linear, norm and a tied table", async (name) => {
  const rng = random(1, "onto");
  const draw = (n: number) => Float64Array.from({ length: n }, () => rng.normal());
  const names = Object.keys(shapes) as Parameter[];
  const size = (p: Parameter) => shapes[p].reduce((n, d) => n * d.size, 1);
  const arrays = {
    ...Object.fromEntries(
      names.flatMap((p) => [
        [p, draw(size(p))],
        [`onto ${p}`, draw(size(p))],
      ]),
    ),
    ids: BigInt64Array.of(0n, 3n, 3n, 1n, 0n, 3n),
    targets: BigInt64Array.of(1n, 2n, 2n, 0n, 4n, 1n),
    pull: draw(tokens.size),
  };
  const found = async (add: boolean, again: boolean) => {
    const graph = new Graph("float64");
    const p = Object.fromEntries(names.map((n) => [n, graph.input(n, "float", shapes[n])])) as Record<
      Parameter,
      Tensor
    >;
    const onto = add ? names.map((n) => graph.input(`onto ${n}`, "float", shapes[n])) : [];
    const layer = (x: Tensor) => rmsNorm(linear(x, p.weight, p.bias), p.scale, 1e-6);
    const embedded = gatherRows(p.table, graph.input("ids", "int64", [tokens]));
    const states = again ? recomputed(embedded, [p.weight, p.bias, p.scale], layer) : layer(embedded);
    const scores = heads[name](states, p.table, graph.input("targets", "int64", [tokens]));
    const loss = sum(mul(scores, graph.input("pull", "float", [tokens])));
    const given = gradients(
      loss,
      names.map((n) => p[n]),
      { onto },
    );
    const outputs = Object.fromEntries(given.flatMap((g, i) => (g ? [[`d ${names[i]}`, g]] : [])));
    return evaluate(await openBackend(), graph, outputs, arrays);
  };
  const [alone, added, recomputedToo] = [
    await found(false, false),
    await found(true, false),
    await found(true, true),
  ];
  expect(Object.keys(alone)).toEqual(names.slice(0, -1).map((n) => `d ${n}`));
  for (const n of names) {
    const before = arrays[`onto ${n}` as keyof typeof arrays] as Float64Array;
    before.forEach((b, i) => {
      const own = n === "unused" ? 0 : Number(alone[`d ${n}`][i]);
      expect(Number(added[`d ${n}`][i])).toBeCloseTo(b + own, 10);
      expect(Number(recomputedToo[`d ${n}`][i])).toBeCloseTo(b + own, 10);
    });
  }
});
