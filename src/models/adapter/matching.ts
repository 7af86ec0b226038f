/** Which layers of a model an adapter changes, and with what rank and scale: PEFT's rules of matching (tuners_utils). */
import { RequestError } from "../../errors.ts";
import type { ParameterSpec } from "../../nn/parameters.ts";
import type { AdapterConfig } from "./config.ts";

export interface AdaptedModule {
  /** The path of the layer: the name of its weight without ".weight". */
  readonly path: string;
  readonly weight: ParameterSpec;
  readonly rank: number;
  readonly alpha: number;
  /** α/r, or α/√r. */
  readonly scale: number;
}

const suffix = ".weight";

/** The modules that the settings choose, in the order of the parameters. Throws where they choose none. */
export function adaptedModules(
  parameters: readonly ParameterSpec[],
  config: AdapterConfig,
  where: string,
): AdaptedModule[] {
  const linear = parameters.filter((p) => p.linear !== undefined && p.name.endsWith(suffix));
  const chosen = chooser(config.target, where, "target");
  const excluded = config.exclude === undefined ? () => false : chooser(config.exclude, where, "exclude");
  const inLayers = layerFilter(config, where);
  const modules = linear.flatMap((weight) => {
    const path = weight.name.slice(0, -suffix.length);
    if (!chosen(path) || excluded(path) || !inLayers(path)) return [];
    const rank = byPattern(config.rankPattern, path, where) ?? config.rank;
    const alpha = byPattern(config.alphaPattern, path, where) ?? config.alpha;
    return [{ path, weight, rank, alpha, scale: alpha / (config.rslora ? Math.sqrt(rank) : rank) }];
  });
  checkFound(parameters, config, modules, where);
  return modules;
}

/** Whether a list entry means a module: it is its path, or the end of it after a dot. */
export const meansModule = (entry: string, path: string): boolean =>
  path === entry || path.endsWith(`.${entry}`);

function chooser(choice: AdapterConfig["target"], where: string, key: string): (path: string) => boolean {
  if (choice === "all-linear") return () => true;
  if (typeof choice === "string") {
    const pattern = regex(`^(?:${choice})$`, where, key);
    return (path) => pattern.test(path);
  }
  return (path) => choice.some((entry) => meansModule(entry, path));
}

/** Every entry of a list must mean something: a misspelt one would leave layers out unseen. */
function checkFound(
  parameters: readonly ParameterSpec[],
  { target, layers }: AdapterConfig,
  modules: readonly AdaptedModule[],
  where: string,
): void {
  const paths = parameters.map((p) => p.name.replace(/\.(weight|bias)$/, ""));
  const linear = new Set(parameters.flatMap((p) => (p.linear ? [p.name.slice(0, -suffix.length)] : [])));
  for (const entry of Array.isArray(target) ? target : []) {
    const meant = paths.filter((path) => meansModule(entry, path));
    if (meant.some((path) => linear.has(path))) continue;
    throw new RequestError({
      code: "adapter-target",
      what: `target ${entry} means no linear layer of this model`,
      where,
      why: meant.length > 0 ? `${meant[0]} is an embedding, a head or a norm` : undefined,
      fix:
        meant.length > 0
          ? "Train it in full with modulesToSave"
          : `Choose among ${[...new Set([...linear].map((p) => p.split(".").at(-1)))].join(", ")}, or write all-linear`,
    });
  }
  if (modules.length === 0)
    throw new RequestError({
      code: "adapter-target",
      what: "the adapter changes no layer of this model",
      where,
      why: layers
        ? `layers ${layers.join(", ")} leave none of its target`
        : `its target is ${String(target)}`,
      fix: "Write target: all-linear",
    });
}

/** `layers` and `layersPattern`: the number is the one behind the pattern, else the first one of the path. */
function layerFilter({ layers, layersPattern }: AdapterConfig, where: string): (path: string) => boolean {
  if (layers === undefined) return () => true;
  const names = layersPattern === undefined ? ["[^.]*"] : [layersPattern].flat();
  const patterns = names.map((name) => regex(`^.*?\\.(?:${name})\\.(\\d+)\\.`, where, "layersPattern"));
  return (path) =>
    patterns.some((p) => {
      const number = p.exec(path)?.[1];
      return number !== undefined && layers.includes(Number(number));
    });
}

function byPattern(patterns: Readonly<Record<string, number>>, path: string, where: string) {
  const found = Object.entries(patterns).find(([key]) =>
    regex(`^(?:.*\\.)?(?:${key})$`, where, "a pattern").test(path),
  );
  return found?.[1];
}

function regex(source: string, where: string, key: string): RegExp {
  try {
    return new RegExp(source);
  } catch (cause) {
    throw new RequestError(
      {
        code: "adapter-pattern",
        what: `${key} is no regular expression`,
        where,
        why: (cause as Error).message,
      },
      { cause },
    );
  }
}
