/** adapter_config.json: PEFT's names of the settings of an adapter, read and written as its version 0.21 does. */
import { RequestError } from "../../errors.ts";
import { type AdapterConfig, adapterSchema } from "./config.ts";

type Json = Readonly<Record<string, unknown>>;

/** PEFT's name of each setting, and PEFT's default, which is not always ours. */
const keys = {
  rank: ["r", 8],
  alpha: ["lora_alpha", 8],
  target: ["target_modules", undefined],
  exclude: ["exclude_modules", undefined],
  rslora: ["use_rslora", false],
  dora: ["use_dora", false],
  rankPattern: ["rank_pattern", {}],
  alphaPattern: ["alpha_pattern", {}],
  layers: ["layers_to_transform", undefined],
  layersPattern: ["layers_pattern", undefined],
  bias: ["bias", "none"],
  modulesToSave: ["modules_to_save", undefined],
} as const satisfies Partial<Record<keyof AdapterConfig, readonly [string, unknown]>>;

/** What is known and changes nothing of what a saved adapter computes. */
const withoutEffect = new Set([
  "auto_mapping",
  "base_model_name_or_path",
  "fan_in_fan_out",
  "inference_mode",
  "init_lora_weights",
  "lora_dropout",
  "peft_type",
  "peft_version",
  "revision",
  "runtime_config",
  "task_type",
]);

/** Target modules that PEFT takes where a configuration names none. */
const defaultTargets: Readonly<Record<string, readonly string[]>> = {
  llama: ["q_proj", "v_proj"],
  mistral: ["q_proj", "v_proj"],
  qwen2: ["q_proj", "v_proj"],
  qwen3: ["q_proj", "v_proj"],
  gemma: ["q_proj", "v_proj"],
  gemma2: ["q_proj", "v_proj"],
  gpt2: ["c_attn"],
  gpt_neox: ["query_key_value"],
};

/** Settings that change what an adapter computes from the same tensors, so that it could not be read rightly. */
const notBuilt = ["alora_invocation_tokens", "arrow_config", "layer_replication", "use_qalora"];

/**
 * Reads a parsed adapter_config.json. Throws for other kinds of adapters, and for settings that change what one computes; what else is
 * not heeded is a warning (settings that bring tensors of their own end as tensors that nothing reads, which is an error).
 */
export function fromPeftConfig(
  json: Json,
  modelType: string,
  where: string,
): { config: AdapterConfig; warnings: string[] } {
  if (json.peft_type !== "LORA") {
    throw new RequestError({
      code: "adapter-kind",
      what: `peft_type is ${JSON.stringify(json.peft_type)}`,
      where,
      why: "only LoRA adapters (with rsLoRA and DoRA) are built",
      fix: "Merge it into its model with Python's peft first: model.merge_and_unload().save_pretrained(folder)",
    });
  }
  const unbuilt = notBuilt.find((key) => !empty(json[key]));
  if (unbuilt) {
    throw new RequestError({
      code: "adapter-kind",
      what: `${unbuilt} is set`,
      where,
      why: "adapters of this kind compute something else, and are not built",
      fix: "Merge it into its model with Python's peft first: model.merge_and_unload().save_pretrained(folder)",
    });
  }
  const given: Record<string, unknown> = {};
  for (const [ours, [theirs, fallback]] of Object.entries(keys)) {
    const value = empty(json[theirs]) && fallback === undefined ? undefined : (json[theirs] ?? fallback);
    if (value !== undefined) given[ours] = value;
  }
  given.target ??= defaultTargets[modelType];
  if (given.target === undefined) {
    throw new RequestError({
      code: "adapter-target",
      what: "target_modules is missing",
      where,
      why: `there is no default for models of type ${modelType}`,
    });
  }
  const known = new Set<string>([...Object.values(keys).map(([name]) => name), ...withoutEffect]);
  const others = Object.entries(json).filter(([key, value]) => !known.has(key) && !empty(value));
  const warnings = others.map(([key, value]) => `${where}: ${key} ${JSON.stringify(value)} is not heeded`);
  const result = adapterSchema.safeParse(given);
  if (result.success) return { config: result.data, warnings };
  const { path, message } = result.error.issues[0];
  const [name] = keys[path[0] as keyof typeof keys] ?? [String(path[0])];
  throw new RequestError({
    code: "adapter-invalid",
    what: `key "${name}" is not valid`,
    where,
    why: message,
  });
}

/** What a configuration says that changes nothing: absent, false, or nothing in it. */
const empty = (value: unknown): boolean =>
  value === undefined ||
  value === null ||
  value === false ||
  (typeof value === "object" && Object.keys(value).length === 0);

export interface PeftBase {
  /** base_model_name_or_path */
  readonly name: string | undefined;
  /** The commit of a hub model. */
  readonly revision?: string;
  readonly modelType: string;
  /** Paths of the layers that the adapter changes. */
  readonly paths: readonly string[];
  /** Whether matrices are stored [in, out]. */
  readonly inOut: boolean;
}

/** adapter_config.json of an adapter, keys sorted. */
export function toPeftConfig(config: AdapterConfig, base: PeftBase): Json {
  const own = Object.entries(keys).map(
    ([ours, [theirs]]) => [theirs, config[ours as keyof AdapterConfig] ?? null] as const,
  );
  const json: Record<string, unknown> = {
    ...Object.fromEntries(own),
    auto_mapping: null,
    base_model_name_or_path: base.name ?? null,
    fan_in_fan_out: base.inOut,
    inference_mode: true,
    init_lora_weights: config.initialize === "gaussian" ? "gaussian" : true,
    lora_dropout: 0,
    peft_type: "LORA",
    revision: base.revision ?? null,
    // What "all-linear" means is spelled out, as PEFT does when it saves.
    target_modules: config.target === "all-linear" ? shortNames(base.paths) : config.target,
    task_type: "CAUSAL_LM",
  };
  return Object.fromEntries(
    Object.keys(json)
      .sort()
      .map((key) => [key, json[key]]),
  );
}

/** The last names of these layers: what "all-linear" comes to. */
function shortNames(paths: readonly string[]): string[] {
  return [...new Set(paths.map((p) => p.split(".").at(-1) ?? p))].sort();
}
