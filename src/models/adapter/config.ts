/**
 * The settings of an adapter, under prefopt's names, with the defaults of a recipe. What PEFT calls them stands in `peft-config.ts`;
 * which layers they choose, in `matching.ts`.
 */
import { z } from "zod";

const count = z.number().int().positive();
const names = z.array(z.string().min(1)).min(1);

/** "all-linear", a list of names (a layer is meant by its own name or by the end of its path), or a regex of the whole path. */
const choice = z.union([z.string().min(1), names]);

export const adapterSchema = z.strictObject({
  /** r: columns of B and rows of A. */
  rank: count.default(16),
  /** α: ΔW is α/r · B A. */
  alpha: z.number().positive().default(32),
  target: choice.default("all-linear"),
  exclude: choice.optional(),
  /** α/√r in place of α/r (rsLoRA, Kalajdzievski, arXiv:2312.03732). */
  rslora: z.boolean().default(false),
  /** A trained length for each output row (DoRA, Liu et al., arXiv:2402.09353). */
  dora: z.boolean().default(false),
  /** Only 0 is built: what is dropped in training makes the reference and the policy differ. */
  dropout: z.literal(0).default(0),
  /** Fresh A: uniform within ±1/√in, or normal with standard deviation 1/r. */
  initialize: z.enum(["uniform", "gaussian"]).default("uniform"),
  /** Ranks and alphas of layers that match a regex, instead of the common ones; the first that fits. */
  rankPattern: z.record(z.string(), count).default({}),
  alphaPattern: z.record(z.string(), z.number().positive()).default({}),
  /** Only layers with these numbers, from 0. */
  layers: z.array(z.number().int().min(0)).min(1).optional(),
  /** The name that stands before a layer's number, where it is not the only number of a path. */
  layersPattern: z.union([z.string(), names]).optional(),
  /** Biases that train in full: none, those of adapted layers, or all. */
  bias: z.enum(["none", "lora_only", "all"]).default("none"),
  /** Modules that train in full beside the adapter, by the end of their path. */
  modulesToSave: names.optional(),
});

export type AdapterConfig = z.output<typeof adapterSchema>;
