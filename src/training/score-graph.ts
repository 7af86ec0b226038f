/**
 * The model side of a training graph: the policy's scores of a packed batch, and what objectives ask for beside them (a second policy,
 * a head on hidden states, divergences to a reference over the whole vocabulary).
 */
import type { RecordKind } from "../data/record-kinds.ts";
import { isMany, rolesOf } from "../data/record-kinds.ts";
import type { Graph } from "../engine/graph.ts";
import { gatherRows } from "../engine/ops/indexing.ts";
import { linear, matmul } from "../engine/ops/matmul.ts";
import { type Tensor, dim, relabel } from "../engine/tensor.ts";
import { declareModel } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { type Weights, declareWeights } from "../nn/parameters.ts";
import type { HeadSpec } from "../objectives/definition.ts";
import type { Touched } from "../objectives/touched.ts";
import type { PackShape } from "../scoring/pack-shape.ts";
import type { PackedBatch } from "../scoring/packing.ts";
import {
  type BatchInputs,
  type RoleRequest,
  declareBatch,
  hiddenStates,
  inputOnce,
  scoreBatch,
} from "../scoring/text-graph.ts";
import type { GraphScores } from "./packed-scores.ts";
import { headParameters, prefixOf } from "./trained.ts";

export interface ScoreGraphOptions {
  readonly model: LanguageModel;
  /** The model that divergences are to; needed where the objectives touch them. */
  readonly reference?: LanguageModel;
  readonly touched: Touched;
  readonly roles: readonly RoleRequest[];
  readonly head?: HeadSpec;
  /** Compute layers a second time for their gradients instead of keeping what is inside of them. */
  readonly recompute?: boolean;
}

export interface ScoreGraph {
  readonly batch: BatchInputs;
  readonly scores: GraphScores;
  /** Parameters by what they belong to, for gradients. */
  readonly parameters: Readonly<Record<string, readonly Tensor[]>>;
}

/** Names of the inputs that carry the reference's states. */
export const referenceStates = "reference/states";
export const referencePrefix = "reference/";

/**
 * The roles that go through the model: those of which the objectives touch anything, present in the data, prompts after their
 * completions.
 */
export function roleRequests(
  kind: RecordKind,
  touched: Touched,
  present: (role: string) => boolean,
): RoleRequest[] {
  const order = rolesOf(kind);
  const rank = (role: string) => {
    const k = order.indexOf(role);
    return k < 0 ? order.length : k;
  };
  const quantities = { tokenKl: "kl", reverseTokenKl: "reverseKl", collision: "collision" } as const;
  return [...touched.tokens.keys()]
    .filter((role) => rank(role) === order.length || !isMany(kind, role) || present(role))
    .sort((a, b) => rank(a) - rank(b))
    .map((name) => {
      const asked = touched.tokens.get(name) ?? new Set();
      const vocabulary = Object.entries(quantities).flatMap(([q, own]) =>
        asked.has(q as keyof typeof quantities) ? [own] : [],
      );
      return { name, many: isMany(kind, name), ...(vocabulary.length > 0 && { vocabulary }) };
    });
}

/** Builds the scores of a packed batch of the given shape into a graph. */
export function buildScores(graph: Graph, shape: PackShape, options: ScoreGraphOptions): ScoreGraph {
  const { model, reference, touched, roles, head, recompute } = options;
  const { architecture } = model;
  const batch = declareBatch(graph, architecture, shape, roles);
  const policy = declareModel(graph, model);
  const parameters: Record<string, readonly Tensor[]> = { policy: policy.trained };
  // A head reads other tokens than those that predict one.
  const hidden = head && hiddenStates(architecture, policy.weights, batch, { recompute });
  const scores: { -readonly [K in keyof GraphScores]: GraphScores[K] } = {
    policy: scoreBatch(graph, architecture, policy.weights, batch, {
      recompute,
      states: hidden,
      reference:
        touched.referenceVocabulary && reference ? referenceInputs(graph, reference, shape) : undefined,
    }),
  };
  if ([...touched.tokens.values()].some((set) => set.has("slow"))) {
    const slow = declareModel(graph, model, { own: prefixOf("slow") });
    parameters.slow = slow.trained;
    const plain = { ...batch, roles: roles.map(({ name, many }) => ({ name, many })) };
    scores.slow = scoreBatch(graph, architecture, slow.weights, plain, { recompute });
  }
  if (head && hidden) {
    const own = declareWeights(graph, headParameters(head, architecture.hiddenSize), prefixOf("head"));
    parameters.head = own.tensors;
    scores.head = (role) => headOutput(graph, hidden, role, own.weights, batch, head);
  }
  return { batch, scores, parameters };
}

/** W u + b on the pooled states of each completion: [units, width]. */
function headOutput(
  graph: Graph,
  hidden: Tensor,
  role: string,
  weights: Weights,
  { roles, shape }: BatchInputs,
  { pooling, bias }: HeadSpec,
): Tensor {
  const k = roles.findIndex((r) => r.name === role);
  const units = roles[k].many ? dim(`${role} units`, shape.units[k]) : dim("records", shape.records);
  const pooled =
    pooling === "last"
      ? gatherRows(hidden, inputOnce(graph, `${role}/last`, "int64", [units]))
      : meanStates(graph, hidden, role, units, shape);
  return linear(pooled, weights("weight"), bias ? weights("bias") : undefined);
}

function meanStates(
  graph: Graph,
  hidden: Tensor,
  role: string,
  units: Tensor["shape"][number],
  shape: PackShape,
): Tensor {
  const scored = dim(
    "scored",
    shape.scored.reduce((a, b) => a + b, 0),
  );
  const own = gatherRows(hidden, inputOnce(graph, "own", "int64", [scored]));
  const averages = inputOnce(graph, `${role}/averages`, "float", [units, scored]);
  return matmul(averages, own);
}

/** The matrix that averages the states of each completion of a role: [units, scored]. */
export function averages(batch: PackedBatch, role: number): Float32Array {
  const scored = batch.own.length;
  const first = batch.shape.scored.slice(0, role).reduce((a, b) => a + b, 0);
  const matrix = new Float32Array(batch.shape.units[role] * scored);
  batch.segments[role].forEach((segment, i) => {
    const unit = Number(segment);
    if (unit < batch.shape.units[role]) matrix[unit * scored + first + i] = 1 / batch.lengths[role][unit];
  });
  return matrix;
}

function referenceInputs(graph: Graph, model: LanguageModel, shape: PackShape) {
  const { architecture } = model;
  const scored = dim(
    "scored",
    shape.scored.reduce((a, b) => a + b, 0),
  );
  const width = dim("reference width", architecture.hiddenSize);
  const head = architecture.head(declareModel(graph, model, { base: referencePrefix }).weights);
  const states = inputOnce(graph, referenceStates, "float", [scored, width]);
  return {
    hidden: states,
    head: relabel(head, [head.shape[0], width]),
    softcap: architecture.finalSoftcap,
  };
}
