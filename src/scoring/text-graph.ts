/**
 * The graph that scores packed rows with a language model: inputs of a packed batch, and role by role what is asked of its tokens.
 * Log-probabilities alone go one way; roles of which whole next-token distributions are asked go another.
 */
import type { TensorArray } from "../engine/backends/backend.ts";
import type { Graph } from "../engine/graph.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { sortedArrays, sortedIndex } from "../engine/ops/row-sums.ts";
import { slice } from "../engine/ops/shape.ts";
import { layerBoundary } from "../engine/ordering.ts";
import { tokenLogProbs } from "../engine/ops/token-log-probs.ts";
import { type VocabularyQuantity, vocabularyScores } from "../engine/ops/vocabulary-scores.ts";
import { type Dim, type Tensor, dim } from "../engine/tensor.ts";
import type { CausalLm, HiddenOptions, TokenInputs } from "../models/causal-lm.ts";
import { type AttentionPlaces, gatheredAttention } from "../nn/gathered-attention.ts";
import { layerMasks } from "../nn/masks.ts";
import type { Weights } from "../nn/parameters.ts";
import { type PackShape, tokensOfShape } from "./pack-shape.ts";
import type { RoleLayout } from "./segments.ts";
import type { PackedBatch } from "./packing.ts";

/** A role to be scored, and what is asked of each of its tokens beside the log-probability. */
export interface RoleRequest extends RoleLayout {
  readonly vocabulary?: readonly Exclude<VocabularyQuantity, "logp">[];
}

/** What one role's scores are made of. */
export interface RoleTensors {
  /** Log-probability of each scored token, [scored]; padding holds some number that segments send to the drain. */
  readonly logps: Tensor;
  /** Other quantities of each scored token, [scored], where they were asked for. */
  readonly vocabulary: Readonly<Partial<Record<VocabularyQuantity, Tensor>>>;
  /** The completion of each scored token, [scored] int64; the number of completions for padding. */
  readonly segments: Tensor;
  /** Place of each scored token in its completion, [scored]. */
  readonly positions: () => Tensor;
  /** Tokens of each completion, [units]. */
  readonly lengths: Tensor;
  readonly units: Dim;
}

export interface TextScores {
  readonly records: Dim;
  readonly roles: readonly RoleTensors[];
}

/** Inputs of a packed batch, declared once in a graph; several models may read them. */
export interface BatchInputs {
  readonly shape: PackShape;
  readonly roles: readonly RoleRequest[];
  readonly tokens: TokenInputs;
  readonly mask: Tensor;
  readonly places: AttentionPlaces;
  readonly index: Tensor;
  readonly targets: Tensor;
}

/** The reference's side of divergences: states at the scored tokens of roles that ask for them, and its head. */
export interface ReferenceInputs {
  /** [scored, width], all roles */
  readonly hidden: Tensor;
  /** [vocabulary, width] */
  readonly head: Tensor;
  /** c where its logits z become c tanh(z/c). */
  readonly softcap?: number;
}

export interface ScoreOptions extends Pick<HiddenOptions, "recompute"> {
  /** Needed where divergences are asked for. */
  readonly reference?: ReferenceInputs;
  /** Hidden states of all tokens, [tokens, hidden], where something else in the graph needs them too. */
  readonly states?: Tensor;
}

/** Declares the inputs of a packed batch of the given shape. */
export function declareBatch(
  graph: Graph,
  model: CausalLm,
  shape: PackShape,
  roles: readonly RoleRequest[],
): BatchInputs {
  const tokens = dim("tokens", tokensOfShape(shape));
  const [rows, queries, keys] = [
    dim("rows", shape.rows),
    dim("time", shape.queries),
    dim("keys", shape.keys),
  ];
  const half = dim("half", model.rope.width / 2);
  const scored = dim("scored", total(shape.scored));
  return {
    shape,
    roles,
    mask: graph.input("mask", "float", [rows, dim("one", 1), queries, keys]),
    places: {
      queryTokens: graph.input("attention/queries", "int64", [rows, queries]),
      keyTokens: graph.input("attention/keys", "int64", [rows, keys]),
      querySlots: graph.input("token/query", "int64", [tokens]),
      sharedKeySlots:
        shape.prompts > 0
          ? graph.input("prompt/keys", "int64", [dim("copies", shape.copies), dim("prompts", shape.prompts)])
          : undefined,
      keySlots: graph.input("token/key", "int64", [dim("others", shape.others)]),
    },
    tokens: {
      ids: sortedIndex(graph, "ids", tokens),
      positions: graph.input("token/positions", "int64", [tokens]),
      cos: graph.input("cos", "float", [tokens, half]),
      sin: graph.input("sin", "float", [tokens, half]),
      order: graph.input("order", "int64", [dim("one", 1), tokens]),
    },
    index: sortedIndex(graph, "index", scored),
    targets: graph.input("targets", "int64", [scored]),
  };
}

const total = (counts: readonly number[]) => counts.reduce((a, b) => a + b, 0);

/** Hidden states of a batch, [tokens, hidden], or of the tokens asked for. */
export function hiddenStates(
  model: CausalLm,
  weights: Weights,
  batch: BatchInputs,
  options: HiddenOptions = {},
): Tensor {
  const { mask, places, tokens } = batch;
  const positions = {
    queries: positionsIn(places.queryTokens, tokens.positions),
    keys: positionsIn(places.keyTokens, tokens.positions),
  };
  const masks = layerMasks(mask, positions, model.attention.layers);
  const attend = gatheredAttention(model.attention, places, masks);
  return model.hidden(weights, batch.tokens, attend, options);
}

/** Where so large a share of the tokens predicts one, the last layer computes all: choosing them costs more than it saves. */
const nearlyAll = 0.9;

/** Hidden states of the tokens that predict a scored one, [scored, hidden], all roles. */
function predictingStates(
  model: CausalLm,
  weights: Weights,
  batch: BatchInputs,
  options: Pick<HiddenOptions, "recompute">,
): Tensor {
  const { shape, index } = batch;
  if (total(shape.scored) < nearlyAll * tokensOfShape(shape))
    return hiddenStates(model, weights, batch, { ...options, at: index });
  return gatherRows(hiddenStates(model, weights, batch, options), index);
}

/** The position of the token in each slot; only models with windows read them. */
function positionsIn(slots: Tensor, positions: Tensor): Tensor {
  const { graph } = slots;
  return graph.node("Gather", [positions, slots], { dtype: "int64", shape: slots.shape }, { axis: 0 });
}

/** Scores a batch whose inputs are declared. */
export function scoreBatch(
  graph: Graph,
  model: CausalLm,
  weights: Weights,
  batch: BatchInputs,
  { reference, recompute, states: all }: ScoreOptions = {},
): TextScores {
  const { shape, roles } = batch;
  const predicting = all
    ? gatherRows(all, batch.index)
    : predictingStates(model, weights, batch, { recompute });
  const head = model.head(weights);
  // The head's gradient first: what it is made of is as wide as the vocabulary.
  const states = layerBoundary(predicting, () => [head]);
  const records = dim("records", shape.records);
  const starts = shape.scored.map((_, k) => total(shape.scored.slice(0, k)));
  // Neighbours that ask for the same go through the output head together, so that its gradient is made once.
  const groups = alike(roles).map(([first, end]) => {
    const [from, to] = [starts[first], starts[end - 1] + shape.scored[end - 1]];
    const name = first + 1 === end ? tokensName(roles[first]) : "scored";
    const cut = (x: Tensor) => slice(x, x.shape[0].name, from, to, name);
    return { first, end, from, name, found: headScores(roles[first], cut) };
  });
  function headScores(role: RoleRequest, cut: (x: Tensor) => Tensor): RoleTensors["vocabulary"] {
    const [own, targets] = [cut(states), cut(batch.targets)];
    if (!role.vocabulary?.length) return { logp: tokenLogProbs(own, head, targets, model.finalSoftcap) };
    return vocabularyScores(
      {
        hidden: own,
        head,
        targets,
        referenceHidden: reference && cut(reference.hidden),
        referenceHead: reference?.head,
        softcap: model.finalSoftcap,
        referenceSoftcap: reference?.softcap,
      },
      ["logp", ...role.vocabulary],
    );
  }
  const scoresOf = (role: RoleRequest, k: number) => {
    const group = groups.find((g) => g.first <= k && k < g.end);
    const start = starts[k] - (group?.from ?? 0);
    const part = (x: Tensor) => slice(x, x.shape[0].name, start, start + shape.scored[k], tokensName(role));
    const own = Object.fromEntries(
      Object.entries(group?.found ?? {}).flatMap(([q, x]) => (x ? [[q, part(x)]] : [])),
    ) as RoleTensors["vocabulary"];
    if (!own.logp) throw new TypeError("log-probabilities were asked for");
    return { logps: own.logp, vocabulary: own };
  };
  return {
    records,
    roles: roles.map((role, k) => {
      const units = role.many ? dim(`${role.name} units`, shape.units[k]) : records;
      const scored = [dim(tokensName(role), shape.scored[k])];
      return {
        ...scoresOf(role, k),
        units,
        segments: inputOnce(graph, `${role.name}/segments`, "int64", scored),
        positions: () => inputOnce(graph, `${role.name}/positions`, "float", scored),
        lengths: inputOnce(graph, `${role.name}/lengths`, "float", [units]),
      };
    }),
  };
}

/** [first, end) of runs of roles that ask for the same. */
function alike(roles: readonly RoleRequest[]): [number, number][] {
  const runs: [number, number][] = [];
  roles.forEach((role, k) => {
    const before = runs.at(-1);
    if (before && String(role.vocabulary ?? []) === String(roles[k - 1].vocabulary ?? [])) before[1] = k + 1;
    else runs.push([k, k + 1]);
  });
  return runs;
}

const tokensName = (role: RoleLayout) => `${role.name} tokens`;

/** An input of the graph, declared where it is first asked for. */
export function inputOnce(
  graph: Graph,
  name: string,
  dtype: "float" | "int64",
  shape: Tensor["shape"],
): Tensor {
  return graph.inputs.find((t) => t.id === name) ?? graph.input(name, dtype, shape);
}

/** Declares the inputs of a packed batch of the given shape and scores it. */
export function scoreText(
  graph: Graph,
  model: CausalLm,
  weights: Weights,
  shape: PackShape,
  roles: readonly RoleRequest[],
  options: ScoreOptions = {},
): TextScores {
  return scoreBatch(graph, model, weights, declareBatch(graph, model, shape, roles), options);
}

/** The arrays of a packed batch under the names of the inputs that scoring may declare. */
export function batchArrays(batch: PackedBatch, roles: readonly RoleLayout[]): Record<string, TensorArray> {
  const arrays: Record<string, TensorArray> = {
    ...sortedArrays("ids", batch.ids),
    "token/positions": batch.tokenPositions,
    cos: batch.cos,
    sin: batch.sin,
    order: BigInt64Array.from({ length: batch.ids.length }, (_, i) => BigInt(i)),
    mask: batch.mask,
    "attention/queries": batch.queryTokens,
    "attention/keys": batch.keyTokens,
    "token/query": batch.querySlots,
    "token/key": batch.keySlots,
    "prompt/keys": batch.promptKeySlots,
    ...sortedArrays("index", batch.index),
    targets: batch.targets,
    own: batch.own,
  };
  roles.forEach(({ name }, k) => {
    arrays[`${name}/segments`] = batch.segments[k];
    arrays[`${name}/positions`] = batch.positions[k];
    arrays[`${name}/lengths`] = batch.lengths[k];
    arrays[`${name}/owners`] = batch.owners[k];
    arrays[`${name}/last`] = batch.last[k];
  });
  return arrays;
}
