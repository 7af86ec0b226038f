/** The policy of a run that trains an adapter: a model as it was read, with a fresh adapter or one to go on with beside it. */
import { RequestError } from "../errors.ts";
import { isAdapterFolder, locateModel } from "../formats/locations.ts";
import type { AdapterConfig } from "../models/adapter/config.ts";
import { newAdapter, planAdapter } from "../models/adapter/adapter.ts";
import { readAdapter } from "../models/adapter/peft-files.ts";
import { readParameter } from "../models/declare.ts";
import type { LanguageModel } from "../models/language-model.ts";

/** Puts the adapter of a recipe beside a model. Throws where the two do not fit. */
export async function adaptedModel(
  model: LanguageModel,
  setting: AdapterConfig | { readonly from: string },
  seed: number,
): Promise<LanguageModel> {
  if (model.adapter) {
    throw new RequestError({
      code: "adapter-twice",
      what: `${model.folder ?? "the model"} has an adapter already`,
      where: "model",
      why: "a second one beside it could be read by no other tool",
      fix: "Name the model beneath it and go on with its adapter (adapter: { from: … }), or merge it first with prefopt export",
    });
  }
  if (!("from" in setting)) {
    const plan = planAdapter(model.architecture, setting, "adapter");
    const adapter = newAdapter(plan, model.backend, seed, (name) => readParameter(model, name));
    return { ...model, adapter };
  }
  const { path } = await locateModel(setting.from);
  if (!(await isAdapterFolder(path))) {
    throw new RequestError({
      code: "no-adapter",
      what: "there is no adapter_config.json",
      where: setting.from,
      fix: "Name the folder of an adapter, or leave adapter.from out to begin a new one",
    });
  }
  return { ...model, adapter: await readAdapter(path, model) };
}
