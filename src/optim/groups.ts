/**
 * Groups of parameters with a learning rate and a weight decay of their own, by patterns of names: the first pattern that fits
 * a name wins. A group is a list of regions of the flat arrays, so that optimizers never look at names.
 */
import { RequestError, nearest } from "../errors.ts";
import type { Layout, Placement } from "../nn/parameters.ts";
import type { Region } from "./chunked.ts";

export interface GroupSetting {
  /** A parameter's name in the checkpoint; `*` stands for any characters. */
  readonly match: string;
  /** Instead of the run's; its schedule goes for both. */
  readonly learningRate?: number;
  /** Instead of the run's; of matrices only, like the run's. */
  readonly weightDecay?: number;
}

export interface GroupSettings {
  /** The run's rate; null where the optimizer sets it. */
  readonly learningRate: number | null;
  readonly weightDecay: number;
  readonly groups: readonly GroupSetting[];
}

export interface ParameterGroup {
  /** Multiple of the run's learning rate. */
  readonly rate: number;
  readonly weightDecay: number;
  readonly parameters: readonly Placement[];
  /** Where they lie, in order, neighbours joined. */
  readonly regions: readonly Region[];
}

/** Parameters of which a pattern may speak: those of one flat array, their names behind a prefix. */
export interface NamedLayout {
  readonly layout: Layout;
  readonly prefix: string;
}

/** The groups of each layout. Throws for a pattern that no parameter is left to, or a decay that touches no matrix. */
export function groupsOf(layouts: readonly NamedLayout[], settings: GroupSettings): ParameterGroup[][] {
  const patterns = settings.groups.map(({ match }) => patternOf(match));
  const taken = settings.groups.map(() => [] as Placement[]);
  const grouped = layouts.map(({ layout, prefix }) => {
    const found = new Map<string, { rate: number; weightDecay: number; parameters: Placement[] }>();
    for (const p of layout.parameters) {
      const at = patterns.findIndex((pattern) => pattern.test(prefix + p.name));
      if (at >= 0) taken[at].push(p);
      const own = settings.groups.at(at < 0 ? settings.groups.length : at);
      const rate = own?.learningRate === undefined ? 1 : own.learningRate / (settings.learningRate ?? 1);
      const weightDecay = isMatrix(p) ? (own?.weightDecay ?? settings.weightDecay) : 0;
      const key = `${rate}/${weightDecay}`;
      const group = found.get(key) ?? { rate, weightDecay, parameters: [] };
      found.set(key, group);
      group.parameters.push(p);
    }
    return [...found.values()].map((group) => ({ ...group, regions: regionsOf(group.parameters) }));
  });
  settings.groups.forEach((setting, i) => check(setting, i, taken[i], layouts, patterns));
  return grouped;
}

/** Weight decay is for these. */
const isMatrix = (p: Placement) => p.shape.length >= 2;

function patternOf(match: string): RegExp {
  const parts = match.split("*").map((part) => part.replaceAll(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  return new RegExp(`^${parts.join(".*")}$`);
}

function regionsOf(parameters: readonly Placement[]): Region[] {
  const regions: { start: number; end: number }[] = [];
  for (const { offset, elements } of [...parameters].sort((a, b) => a.offset - b.offset)) {
    const last = regions.at(-1);
    if (last?.end === offset) last.end += elements;
    else regions.push({ start: offset, end: offset + elements });
  }
  return regions;
}

function check(
  { match, learningRate, weightDecay = 0 }: GroupSetting,
  i: number,
  taken: readonly Placement[],
  layouts: readonly NamedLayout[],
  patterns: readonly RegExp[],
): void {
  const where = `train.groups[${i}]`;
  const names = layouts.flatMap(({ layout, prefix }) => layout.parameters.map((p) => prefix + p.name));
  if (taken.length === 0) {
    const shadowed = names.some((name) => patterns[i].test(name));
    const guess = nearest(match, names);
    throw new RequestError({
      code: "group-matches-nothing",
      what: `no parameter is matched by "${match}"`,
      where,
      why: shadowed ? "groups before it have taken all that it fits" : undefined,
      fix: shadowed
        ? "Put it before them"
        : guess
          ? `Did you mean ${guess}?`
          : `Parameters are called ${names.slice(0, 2).join(", ")}, …; * stands for any characters`,
    });
  }
  if (weightDecay > 0 && !taken.some(isMatrix)) {
    throw new RequestError({
      code: "group-has-no-matrices",
      what: `weightDecay ${weightDecay} for "${match}" changes nothing`,
      where,
      why: "weight decay is for matrices, and it matches only biases and norms",
      fix: learningRate === undefined ? "Leave the group out" : "Leave weightDecay out",
    });
  }
}
