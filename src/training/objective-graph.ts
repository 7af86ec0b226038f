/**
 * The graph of a piece of a batch: objective and model in one, or one half of an objective that couples the batch; losses,
 * log-probabilities, rewards and gradients come out of it under the names that are read from its outputs.
 */
import { promptSuffix } from "../data/record-kinds.ts";
import type { RecordKind } from "../data/record-kinds.ts";
import { gradients as differentiate } from "../engine/gradient.ts";
import { Graph } from "../engine/graph.ts";
import { add } from "../engine/ops/elementwise.ts";
import { segmentSum } from "../engine/ops/indexing.ts";
import { sum } from "../engine/ops/reduce.ts";
import type { Arrays } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { type Term, combine } from "../objectives/combined.ts";
import type { Touched } from "../objectives/touched.ts";
import type { Placements } from "../scoring/placements.ts";
import type { PackShape } from "../scoring/pack-shape.ts";
import type { RoleRequest } from "../scoring/text-graph.ts";
import { type Coefficients, WholeBatchScores, weightedSum } from "./coupled-scores.ts";
import { PackedScores } from "./packed-scores.ts";
import { buildScores, referencePrefix } from "./score-graph.ts";
import { type Trained, companionsOf, prefixOf } from "./trained.ts";

export interface ProgramOptions {
  readonly model: LanguageModel;
  readonly terms: readonly Term[];
  readonly touched: Touched;
  readonly kind: RecordKind;
  /** Optional record fields that occur in the data. */
  readonly fields: ReadonlySet<string>;
  /** Roles that occur in the data. */
  readonly present: ReadonlySet<string>;
  /** Everything that has parameters in the graph; without gradients only weights count. */
  readonly trained: readonly Trained[];
  readonly computeGradients: boolean;
  /** The reference, where something of it cannot be computed beforehand. */
  readonly reference?: LanguageModel;
  /** Score everything with the reference as it is now, nothing from before. */
  readonly liveReference?: boolean;
  readonly maxLength: number;
  readonly seed: number;
  /** Compute layers a second time for their gradients instead of keeping what is inside of them. */
  readonly recompute?: boolean;
  /** How completions stand with their prompts in the run that these belong to; a planned run finds out itself. */
  readonly placements?: Placements;
}

/**
 * What a program does with a piece: the objective, its gradient added to that of earlier pieces or not; one half of a coupled one; or all
 * that a coupled one may come to, for predictions.
 */
export type PieceWork =
  | { readonly kind: "objective"; readonly add: boolean }
  | { readonly kind: "scores" }
  | { readonly kind: "all" }
  | {
      readonly kind: "coefficients";
      readonly roles: readonly RoleRequest[];
      readonly coefficients: Coefficients;
    };

const gradientPrefix = "gradient/";
const ontoPrefix = "onto/";

/** The graph of a piece of this shape, and its outputs by name. */
export function buildPiece(
  options: ProgramOptions,
  allRoles: readonly RoleRequest[],
  work: PieceWork,
  shape: PackShape,
): { graph: Graph; outputs: Record<string, Tensor> } {
  const { model, terms, kind: records, fields, trained, touched, reference } = options;
  const roles = work.kind === "coefficients" ? work.roles : allRoles;
  const graph = new Graph();
  const { head } = companionsOf(terms);
  const recompute = recomputes(options);
  const built = buildScores(graph, shape, { model, reference, touched, roles, head, recompute });
  const outputs: Record<string, Tensor> = {};
  if (work.kind === "scores") WholeBatchScores.outputs(graph, built, roles, touched, outputs);
  else if (work.kind === "all") {
    const loss = built.scores.policy.roles.map((s) => sum(s.logps)).reduce(add);
    Object.assign(outputs, gradientOutputs(loss, trained, built.parameters, true));
  } else {
    const loss =
      work.kind === "coefficients"
        ? weightedSum(graph, built, work.coefficients)
        : objectiveOutputs(
            terms,
            records,
            new PackedScores(graph, built.batch, built.scores, records, fields),
            outputs,
          );
    outputs.loss = loss;
    built.scores.policy.roles.forEach((s, k) => {
      if (roles[k].many || promptSuffix.test(roles[k].name)) return;
      outputs[`logp/${roles[k].name}`] = graph.untaped(() => segmentSum(s.logps, s.segments, s.units));
    });
    const onto = work.kind === "coefficients" || work.add;
    if (options.computeGradients)
      Object.assign(outputs, gradientOutputs(loss, trained, built.parameters, onto));
  }
  return { graph, outputs };
}

/** Whether layers are computed twice: without gradients nothing is kept anyway. */
export const recomputes = ({ computeGradients, recompute }: ProgramOptions) => computeGradients && recompute;

/** The arrays of a piece's program that stay the same: weights, and where gradients are written. */
export function pieceArrays({ model, trained, reference, computeGradients }: ProgramOptions): {
  fixed: Arrays;
  into: Arrays;
} {
  const arrays = (prefix: string, of: "weights" | "gradients") =>
    Object.assign({}, ...trained.map((t) => t[of].named(prefix + prefixOf(t.name)))) as Record<
      string,
      Float32Array
    >;
  const fixed = {
    ...modelArrays(model),
    ...arrays("", "weights"),
    ...(reference && modelArrays(reference, { base: referencePrefix })),
    ...(computeGradients && arrays(ontoPrefix, "gradients")),
  };
  return { fixed, into: computeGradients ? arrays(gradientPrefix, "gradients") : {} };
}

/** Gradients of everything that is trained, by name; with `add` each is added, in place, to what its array holds. */
function gradientOutputs(
  loss: Tensor,
  trained: readonly Trained[],
  parameters: Readonly<Record<string, readonly Tensor[]>>,
  add: boolean,
): Record<string, Tensor> {
  const wanted = trained.flatMap(({ name }) => parameters[name] ?? []);
  const onto = add ? wanted.map((t) => loss.graph.input(ontoPrefix + t.id, "float", t.shape)) : [];
  const found = differentiate(loss, wanted, { onto });
  return Object.fromEntries(
    found.flatMap((g, i) => (g && g !== onto[i] ? [[gradientPrefix + wanted[i].id, g]] : [])),
  );
}

/** The objective's loss; its other outputs are added by name. */
function objectiveOutputs(
  terms: readonly Term[],
  kind: RecordKind,
  source: PackedScores,
  outputs: Record<string, Tensor>,
): Tensor {
  const { losses, loss, rewards, metrics } = combine(terms, kind, source);
  outputs.losses = losses;
  for (const [prefix, tensors] of Object.entries({ reward: rewards, metric: metrics }))
    for (const [name, t] of Object.entries(tensors)) if (t) outputs[`${prefix}/${name}`] = t;
  return loss;
}
