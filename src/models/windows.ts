/** Which layers see only a window of the latest positions: an explicit `layer_types` wins over the architecture's own rule. */
import type { ConfigReader } from "./config-reader.ts";

const kinds = ["full_attention", "sliding_attention"];

/**
 * The window of every layer, undefined for full attention. `slides` is the rule where the configuration has no list.
 * Throws where the list does not fit, or a layer slides and no `sliding_window` says how far.
 */
export function layerWindows(
  read: ConfigReader,
  layers: number,
  slides: (layer: number) => boolean,
): (number | undefined)[] {
  const window = read.optionalCount("sliding_window");
  const list = read.values.layer_types ?? undefined;
  if (list === undefined) return Array.from({ length: layers }, (_, i) => (slides(i) ? window : undefined));
  if (!Array.isArray(list) || list.length !== layers)
    throw read.invalid("layer_types", `it must be a list of ${layers} kinds, one a layer`);
  return list.map((kind: unknown) => {
    if (typeof kind !== "string" || !kinds.includes(kind))
      throw read.invalid("layer_types", `${JSON.stringify(kind)} is not supported (${kinds.join(", ")})`);
    if (kind === "full_attention") return undefined;
    if (window === undefined)
      throw read.invalid("sliding_window", "it is not given, and layer_types has layers that slide");
    return window;
  });
}

/** Qwen's rule and its keys: with `use_sliding_window` the layers from `max_window_layers` on slide. */
export function qwenWindows(read: ConfigReader, layers: number) {
  const use = read.flag("use_sliding_window");
  // 0 is allowed: every layer slides.
  const first = read.values.max_window_layers === 0 ? 0 : read.count("max_window_layers");
  const windows = layerWindows(read, layers, (i) => use && i >= first);
  const window = windows.find((w) => w !== undefined);
  return {
    windows,
    // Some versions of `transformers` look at one of the first two keys, some at both: they never disagree in what is written.
    config: {
      use_sliding_window: window !== undefined,
      sliding_window: window ?? null,
      max_window_layers: first,
    },
  };
}
