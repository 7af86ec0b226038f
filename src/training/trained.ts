/**
 * What a run trains: the policy, and what objectives train beside it (a second policy, a head on hidden states). Each has weights and
 * gradients in one layout, a factor of the learning rate, and a group whose gradients are clipped together.
 */
import type { Backend } from "../engine/backends/backend.ts";
import type { TensorData } from "../formats/safetensors.ts";
import { dim } from "../engine/tensor.ts";
import { trainedWeights } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { ParameterArray, type ParameterSpec, layoutOf } from "../nn/parameters.ts";
import type { Term } from "../objectives/combined.ts";
import type { Companions, HeadSpec } from "../objectives/definition.ts";

export interface Trained {
  /** "policy", "slow" or "head": its name in checkpoints, and before its parameters in graphs. */
  readonly name: "policy" | "slow" | "head";
  readonly weights: ParameterArray;
  readonly gradients: ParameterArray;
  /** Multiple of the run's learning rate. */
  readonly rate: number;
  /** Gradients of one group are clipped by their common norm. */
  readonly group: string;
}

/** Frees what a run allocated for training; the policy's weights stay. */
export function releaseTrained(backend: Backend, trained: readonly Trained[]): void {
  for (const { name, weights, gradients } of trained) {
    backend.free(gradients.flat.buffer as ArrayBuffer);
    if (name !== "policy") backend.free(weights.flat.buffer as ArrayBuffer);
  }
}

/** Parameter names of a trained thing in graphs: the policy's are those of its checkpoint. */
export const prefixOf = (name: Trained["name"]): string => (name === "policy" ? "" : `${name}/`);

/** The companions of all objectives of a run; of each kind the first that is asked for. */
export function companionsOf(terms: readonly Term[]): Companions {
  return terms.reduce<Companions>((all, { objective }) => ({ ...objective.companions, ...all }), {});
}

/** Everything that a run trains, the policy first. */
export function trainedBy(model: LanguageModel, { slow, head }: Companions, seed: number): Trained[] {
  const { backend, architecture } = model;
  const weights = trainedWeights(model);
  const withGradients = (own: ParameterArray) => ({
    weights: own,
    gradients: ParameterArray.allocate(backend, own.layout),
  });
  const trained: Trained[] = [{ name: "policy", ...withGradients(weights), rate: 1, group: "policy" }];
  if (slow) {
    const copy = ParameterArray.allocate(backend, weights.layout);
    copy.flat.set(weights.forReading().flat);
    trained.push({ name: "slow", ...withGradients(copy), rate: slow.rate, group: "slow" });
  }
  if (head) {
    const own = newHead(backend, head, architecture.hiddenSize, seed);
    trained.push({ name: "head", ...withGradients(own), rate: head.rate, group: "policy" });
  }
  return trained;
}

/** The parameters of a head: weight [width, hidden] and bias [width]. */
export function headParameters({ name, width, bias }: HeadSpec, hiddenSize: number): ParameterSpec[] {
  const outputs = dim(name, width);
  return [
    { name: "weight", shape: [outputs, dim("hidden", hiddenSize)], initial: { normal: 0.02 } },
    ...(bias ? [{ name: "bias", shape: [outputs], initial: { constant: 0 } }] : []),
  ];
}

/** The file of a head that is kept, and its tensors. */
export const headFile = "reward_head.safetensors";

/** A copy of the head that is wanted after the run, under the names that sequence classifiers of `transformers` have. */
export function keptHead(trained: readonly Trained[], { head }: Companions): TensorData[] | undefined {
  const own = head?.kept && trained.find((t) => t.name === "head")?.weights.forReading();
  if (!own) return undefined;
  return own.layout.parameters.map(({ name, shape }) => ({
    name: `score.${name}`,
    shape: shape.map((d) => d.size),
    data: own.view(name).slice(),
  }));
}

function newHead(backend: Backend, head: HeadSpec, hiddenSize: number, seed: number): ParameterArray {
  const weights = ParameterArray.allocate(backend, layoutOf(headParameters(head, hiddenSize)));
  weights.initialize(seed);
  return weights;
}
