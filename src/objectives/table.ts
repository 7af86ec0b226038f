/** All objectives: one line each. A name that is an alias stands for its objective; an unknown one is an error that helps. */
import { RequestError, nearest } from "../errors.ts";
import { alphapo } from "./alphapo.ts";
import { bco } from "./bco.ts";
import { cpo } from "./cpo.ts";
import { dove } from "./dove.ts";
import { pairObjective } from "./dpo-family.ts";
import { dpo } from "./dpo.ts";
import { fDpo } from "./f-dpo.ts";
import { apoZeroUnpaired, kto } from "./kto.ts";
import { lipo } from "./lipo.ts";
import { gradientAscent, gradientDifference, idk, npo, simnpo } from "./npo.ts";
import type { ObjectiveFamily } from "./definition.ts";
import { ofsDpo } from "./ofs-dpo.ts";
import { orpo } from "./orpo.ts";
import { pairLosses } from "./pair-losses/table.ts";
import { plackettLuce } from "./plackett-luce.ts";
import { preflexor } from "./preflexor.ts";
import { rationalePo } from "./rationale-po.ts";
import { reward } from "./reward.ts";
import { rso } from "./rso.ts";
import { selfImprovingPo } from "./self-improving-po.ts";
import { selfSupervisedPo } from "./self-supervised-po.ts";
import { sft } from "./sft.ts";
import { simpo } from "./simpo.ts";
import { sppo } from "./sppo.ts";
import { stepDpo } from "./step-dpo.ts";
import { tReg } from "./t-reg.ts";
import { tdpo } from "./tdpo.ts";
import { triplePo } from "./triple-po.ts";
import { unlikelihood } from "./unlikelihood.ts";
import { upo } from "./upo.ts";
import { vpo } from "./vpo.ts";
import { xpo } from "./xpo.ts";

/** `sigmoid` is dpo itself and `sft` has records of its own; every other loss of the family gets its name. */
const named = pairLosses.filter((loss) => !["sigmoid", "sft"].includes(loss.id)).map(pairObjective);

const table: ObjectiveFamily[] = [
  dpo,
  ...named,
  fDpo,
  sft,
  simpo,
  orpo,
  cpo,
  alphapo,
  unlikelihood,
  triplePo,
  stepDpo,
  rso,
  kto,
  apoZeroUnpaired,
  bco,
  reward,
  plackettLuce,
  lipo,
  tdpo,
  tReg,
  npo,
  simnpo,
  gradientAscent,
  gradientDifference,
  idk,
  dove,
  rationalePo,
  selfImprovingPo,
  xpo,
  sppo,
  vpo,
  upo,
  ofsDpo,
  preflexor,
  selfSupervisedPo((id) => objectiveNamed(id)),
];

/** Every registered objective, in the order of registration. */
export function objectives(): readonly ObjectiveFamily[] {
  return table;
}

/** Adds an objective of one's own, so that recipes and `prefopt loss` know it by its id. */
export function registerObjective(family: ObjectiveFamily): void {
  const names = [family.id, ...family.aliases];
  const taken = table.flatMap((o) => [o.id, ...o.aliases]).find((name) => names.includes(name));
  if (taken) {
    throw new RequestError({
      code: "objective-exists",
      what: `an objective called "${taken}" exists`,
      fix: "Choose another id",
    });
  }
  table.push(family);
}

/** The objective of that id or alias; underscores may stand for hyphens. Undefined where there is none. */
export function findObjective(name: string): ObjectiveFamily | undefined {
  const wanted = name.replaceAll("_", "-");
  return table.find((o) => o.id === wanted || o.aliases.includes(wanted));
}

/** The objective of that id or alias. Throws where there is none, naming the nearest. */
export function objectiveNamed(name: string, where?: string): ObjectiveFamily {
  const found = findObjective(name);
  if (found) return found;
  const known = table.flatMap((o) => [o.id, ...o.aliases]);
  const guess = nearest(name.replaceAll("_", "-"), known);
  throw new RequestError({
    code: "unknown-objective",
    what: `there is no objective "${name}"`,
    where,
    fix: guess ? `Did you mean ${guess}?` : `Known: ${known.join(", ")}`,
  });
}
