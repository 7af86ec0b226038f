/** The losses of the DPO family: one line each. */
import { aotUnpaired } from "./aot-unpaired.ts";
import { aot } from "./aot.ts";
import { apoDown } from "./apo-down.ts";
import { apoZero } from "./apo-zero.ts";
import { bcoPair } from "./bco-pair.ts";
import { chosenNll } from "./chosen-nll.ts";
import { discopop } from "./discopop.ts";
import { exoPair } from "./exo-pair.ts";
import { hinge } from "./hinge.ts";
import { ipo } from "./ipo.ts";
import { ktoPair } from "./kto-pair.ts";
import { ncaPair } from "./nca-pair.ts";
import type { PairLoss } from "./pair-loss.ts";
import { robust } from "./robust.ts";
import { sigmoid } from "./sigmoid.ts";
import { sigmoidNorm } from "./sigmoid-norm.ts";
import { sppoHard } from "./sppo-hard.ts";

export const pairLosses: readonly PairLoss[] = [
  sigmoid,
  hinge,
  ipo,
  exoPair,
  ncaPair,
  robust,
  bcoPair,
  sppoHard,
  aot,
  aotUnpaired,
  apoZero,
  apoDown,
  discopop,
  sigmoidNorm,
  ktoPair,
  chosenNll,
];

/** The loss of that id or alias; underscores may stand for hyphens. Undefined where there is none. */
export const pairLossNamed = (name: string): PairLoss | undefined => {
  const wanted = name.replaceAll("_", "-");
  return pairLosses.find((l) => l.id === wanted || l.aliases?.includes(wanted));
};
