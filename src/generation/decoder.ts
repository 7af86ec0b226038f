/**
 * Decoding with a key-value cache: a fixed number of slots, each holding one sequence. Reading prompts fills slots,
 * a step appends one token to every slot. Caches live in memory of the back end and grow in place; programs are compiled
 * per shape and kept.
 */
import { Graph } from "../engine/graph.ts";
import { type BoundProgram, compile } from "../engine/program.ts";
import { type Tensor, dim } from "../engine/tensor.ts";
import { declareModel, modelArrays } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";
import { type LayerCache, cacheWidth, cachedAttention, fullAttention } from "../nn/attention.ts";
import { layerMasks } from "../nn/masks.ts";
import { roundedUp } from "../scoring/pack-shape.ts";

export interface SlotPrompt {
  readonly slot: number;
  readonly ids: readonly number[];
}

export class Decoder {
  readonly slots: number;
  /** Tokens a slot can hold. */
  readonly capacity: number;
  readonly #model: LanguageModel;
  readonly #caches: { keys: Float32Array; values: Float32Array }[];
  readonly #memory: ArrayBuffer[] = [];
  /** Tokens in each slot. */
  readonly #lengths: Int32Array;
  readonly #prompts = new Map<string, Promise<PromptProgram>>();
  #step: Promise<StepProgram> | undefined;

  constructor(model: LanguageModel, slots: number, capacity: number) {
    const { kvHeads, headDim } = model.architecture.attention;
    this.#model = model;
    this.slots = slots;
    this.capacity = capacity;
    this.#lengths = new Int32Array(slots);
    const allocate = () => {
      const memory = model.backend.allocate(slots * kvHeads * capacity * cacheWidth(headDim) * 4);
      this.#memory.push(memory);
      return new Float32Array(memory);
    };
    this.#caches = Array.from({ length: model.architecture.layers }, () => ({
      keys: allocate(),
      values: allocate(),
    }));
  }

  /** Reads prompts into their slots; returns for each the logits after its last token, [vocabulary]. */
  async read(prompts: readonly SlotPrompt[]): Promise<Float32Array[]> {
    const { rope, vocabularySize } = this.#model.architecture;
    const rows = roundedUp(prompts.length, 4);
    const time = Math.min(roundedUp(Math.max(...prompts.map((p) => p.ids.length))), this.capacity);
    const program = await this.#promptProgram(rows, time);
    const { ids, cos, sin, last } = program;
    ids.fill(0n);
    prompts.forEach((prompt, r) => {
      prompt.ids.forEach((id, t) => (ids[r * time + t] = BigInt(id)));
      const table = rope.tables(
        prompt.ids.map((_, t) => t),
        prompt.ids.length,
      );
      cos.set(table.cos, (r * time * rope.width) / 2);
      sin.set(table.sin, (r * time * rope.width) / 2);
      last[r] = BigInt(r * time + prompt.ids.length - 1);
    });
    await program.bound.run();
    for (const { keys, values } of this.#caches)
      for (const cache of [keys, values]) this.#model.backend.resident?.beforeWrite(cache);
    prompts.forEach(({ slot, ids: { length } }, row) => {
      this.#lengths[slot] = length;
      this.#caches.forEach((cache, layer) => {
        for (const part of ["keys", "values"] as const) {
          this.#store(
            cache[part],
            slot,
            program.bound.outputs[`${part}/${layer}`] as Float32Array,
            row,
            time,
            length,
          );
        }
      });
    });
    const logits = program.bound.outputs.logits as Float32Array;
    return prompts.map((_, r) => logits.slice(r * vocabularySize, (r + 1) * vocabularySize));
  }

  /** Copies one row's keys or values, [rows, kvHeads, time, headDim], into a slot of a cache, [slots, kvHeads, capacity, width]. */
  #store(
    cache: Float32Array,
    slot: number,
    from: Float32Array,
    row: number,
    time: number,
    length: number,
  ): void {
    const { kvHeads, headDim } = this.#model.architecture.attention;
    const width = cacheWidth(headDim);
    const tokens = width === headDim ? 1 : length; // whole runs where heads are not padded
    const run = width === headDim ? length * headDim : headDim;
    for (let h = 0; h < kvHeads; h++) {
      const source = (row * kvHeads + h) * time * headDim;
      const target = (slot * kvHeads + h) * this.capacity * width;
      for (let t = 0; t < tokens; t++) {
        cache.set(from.subarray(source + t * headDim, source + t * headDim + run), target + t * width);
      }
    }
  }

  /** Appends `ids[slot]` to every slot; returns the logits after them, [slots · vocabulary], overwritten by the next step. */
  async step(ids: readonly number[]): Promise<Float32Array> {
    const { rope, context } = this.#model.architecture;
    const program = await (this.#step ??= this.#compileStep());
    for (let s = 0; s < this.slots; s++) {
      const length = Math.min(this.#lengths[s], this.capacity - 1);
      program.ids[s] = BigInt(ids[s]);
      program.lengths[s] = length;
      program.positions[s] = BigInt(Math.min(length, context - 1)); // only unused slots get further
      const table = rope.tables([length], length + 1);
      program.cos.set(table.cos, (s * rope.width) / 2);
      program.sin.set(table.sin, (s * rope.width) / 2);
      this.#lengths[s] = length + 1;
    }
    program.total[0] = Math.max(...this.#lengths);
    await program.bound.run();
    return program.bound.outputs.logits as Float32Array;
  }

  /** Marks a slot as unused, so that it costs little until it is read into again. */
  clear(slot: number): void {
    this.#lengths[slot] = 0;
  }

  /** Frees caches and programs. */
  async release(): Promise<void> {
    for (const p of [...this.#prompts.values(), this.#step]) (await p)?.release();
    for (const m of this.#memory) this.#model.backend.free(m);
  }

  #promptProgram(rows: number, time: number): Promise<PromptProgram> {
    const key = `${rows}x${time}`;
    const program = this.#prompts.get(key) ?? compilePrompt(this.#model, rows, time);
    this.#prompts.set(key, program);
    return program;
  }

  async #compileStep(): Promise<StepProgram> {
    const { architecture, backend } = this.#model;
    const { kvHeads, headDim } = architecture.attention;
    const graph = new Graph();
    const declared = declareModel(graph, this.#model);
    const [slots, half] = [dim("tokens", this.slots), dim("half", architecture.rope.width / 2)];
    const shape = [
      slots,
      dim("kvHeads", kvHeads),
      dim("capacity", this.capacity),
      dim("width", cacheWidth(headDim)),
    ];
    const past = this.#caches.map((_, i) => ({
      keys: graph.input(`past/keys/${i}`, "float", shape),
      values: graph.input(`past/values/${i}`, "float", shape),
    }));
    const grown: LayerCache[] = [];
    const lengths = graph.input("lengths", "int32", [slots]);
    const total = graph.input("total", "int32", [dim("one", 1)]);
    const inputs = {
      ids: graph.input("ids", "int64", [slots]),
      positions: graph.input("positions", "int64", [slots]),
      cos: graph.input("cos", "float", [slots, half]),
      sin: graph.input("sin", "float", [slots, half]),
      order: graph.input("order", "int64", [dim("one", 1), slots]),
    };
    const attend = cachedAttention(architecture.attention, past, lengths, total, grown);
    const hidden = architecture.hidden(declared.weights, inputs, attend);
    const logits = architecture.logits(declared.weights, hidden);
    const caches = (prefix: string, of: (i: number) => { keys: unknown; values: unknown }) =>
      Object.fromEntries(
        this.#caches.flatMap((_, i) => [
          [`${prefix}/keys/${i}`, of(i).keys],
          [`${prefix}/values/${i}`, of(i).values],
        ]),
      );
    const program = await compile(backend, graph, { logits, ...caches("new", (i) => grown[i]) } as Record<
      string,
      Tensor
    >);
    const arrays = {
      ids: new BigInt64Array(this.slots),
      positions: new BigInt64Array(this.slots),
      cos: new Float32Array(this.slots * half.size),
      sin: new Float32Array(this.slots * half.size),
      lengths: new Int32Array(this.slots),
      total: new Int32Array(1),
    };
    const memory = (prefix: string) => caches(prefix, (i) => this.#caches[i]) as Record<string, Float32Array>;
    const bound = program.bind(
      { ...modelArrays(this.#model), ...arrays, order: ascending(this.slots), ...memory("past") },
      memory("new"),
    );
    return { ...arrays, bound, release: () => program.release() };
  }
}

interface PromptProgram {
  ids: BigInt64Array;
  cos: Float32Array;
  sin: Float32Array;
  last: BigInt64Array;
  bound: BoundProgram;
  release(): void;
}

interface StepProgram {
  ids: BigInt64Array;
  positions: BigInt64Array;
  cos: Float32Array;
  sin: Float32Array;
  lengths: Int32Array;
  total: Int32Array;
  bound: BoundProgram;
  release(): void;
}

/** A program that reads right-padded prompts, [rows, time], and gives last logits and every layer's keys and values. */
async function compilePrompt(
  model: LanguageModel,
  rowCount: number,
  columns: number,
): Promise<PromptProgram> {
  const { architecture, backend } = model;
  const graph = new Graph();
  const declared = declareModel(graph, model);
  const [rows, time] = [dim("rows", rowCount), dim("time", columns)];
  const tokens = dim("tokens", rowCount * columns);
  const half = dim("half", architecture.rope.width / 2);
  const mask = graph.input("mask", "float", [rows, dim("one", 1), time, dim("keys", columns)]);
  const inputs = {
    ids: graph.input("ids", "int64", [tokens]),
    positions: graph.input("positions", "int64", [tokens]),
    cos: graph.input("cos", "float", [tokens, half]),
    sin: graph.input("sin", "float", [tokens, half]),
    order: graph.input("order", "int64", [dim("one", 1), tokens]),
  };
  const outputs: Record<string, Tensor> = {};
  const positions = { queries: inputs.positions, keys: inputs.positions };
  const masks = layerMasks(mask, positions, architecture.attention.layers);
  const attend = fullAttention(architecture.attention, rows, time, masks, (layer, keys, values) => {
    outputs[`keys/${layer}`] = keys;
    outputs[`values/${layer}`] = values;
  });
  const at = graph.input("last", "int64", [dim("prompts", rowCount)]);
  outputs.logits = architecture.logits(
    declared.weights,
    architecture.hidden(declared.weights, inputs, attend, { at }),
  );
  const program = await compile(backend, graph, outputs);
  const arrays = {
    ids: new BigInt64Array(tokens.size),
    cos: new Float32Array(tokens.size * half.size),
    sin: new Float32Array(tokens.size * half.size),
    last: new BigInt64Array(rowCount),
  };
  const bound = program.bind({
    ...modelArrays(model),
    ...arrays,
    mask: causalMask(rowCount, columns),
    // Columns beyond the context hold padding only.
    positions: ascending(tokens.size, (i) => Math.min(i % columns, architecture.context - 1)),
    order: ascending(tokens.size),
  });
  return { ...arrays, bound, release: () => program.release() };
}

function causalMask(rows: number, time: number): Float32Array {
  const mask = new Float32Array(rows * time * time).fill(-1e9);
  for (let r = 0; r < rows; r++)
    for (let t = 0; t < time; t++) mask.fill(0, (r * time + t) * time, (r * time + t) * time + t + 1);
  return mask;
}

function ascending(n: number, at = (i: number) => i): BigInt64Array {
  return BigInt64Array.from({ length: n }, (_, i) => BigInt(at(i)));
}
