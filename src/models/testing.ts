/** Models of every configuration for tests: `architecture_variants.json`, with weights that follow from the names of tensors. */
import { openBackend } from "../engine/backends/open.ts";
import { packagePath, readJson } from "../formats/files.ts";
import { type LanguageModel, newLanguageModel } from "./language-model.ts";

export interface Variant {
  name: string;
  config: Record<string, unknown> & { model_type: string };
  rows: { ids: number[]; logProbs: number[] }[];
  greedy: { promptIds: number[]; ids: number[]; logProbs: number[] };
  gradients: { meanNegativeLogLikelihood: number; norms: Record<string, number> };
}

/** The variants, with PyTorch's values. */
export async function readVariants(): Promise<Variant[]> {
  const file = await readJson(packagePath("test/fixtures/models/architecture_variants.json"));
  return (file as { variants: Variant[] }).variants;
}

/** The variant's model, its weights made as `make_architecture_variants.py` says. */
export async function variantModel({ config }: Pick<Variant, "config">): Promise<LanguageModel> {
  const model = newLanguageModel(config, 1, await openBackend());
  const gemma = config.model_type.startsWith("gemma");
  for (const { name } of model.architecture.parameters) {
    const code = [...name].reduce((n, c) => n + c.charCodeAt(0), 0) % 101;
    const norm = /norm|\.ln_/.test(name) && name.endsWith(".weight");
    const [scale, shift] = name.endsWith(".bias") || (norm && gemma) ? [1, 0] : norm ? [1, 1] : [1.2, 0];
    model.weights.view(name).forEach((_, k, view) => {
      const wave = 43758.5453 * Math.abs(Math.sin(12.9898 * k + 78.233 * code));
      view[k] = shift + scale * (wave - Math.floor(wave) - 0.5);
    });
  }
  return model;
}
