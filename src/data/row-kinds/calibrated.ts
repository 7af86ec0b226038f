/** Pairs with samples of the calibration policy under the same prompt, any number of them (VPO, arXiv:2405.19320). */
import { type RowKind, ask, branch, numbersOf } from "./row-kind.ts";

export const calibrated: RowKind = {
  pair(contents, tools) {
    const samples = contents.several.calibration ?? [];
    const [asked] = contents.asked;
    const extra = Object.fromEntries(samples.map((s, i) => [`calibration ${i}`, s]));
    const { prompt, named, warning } = ask({ ...asked, answers: { ...asked.answers, ...extra } }, tools);
    const branches = Object.entries(named).map(([name, ids]) =>
      branch(name.startsWith("calibration ") ? "calibration" : name, ids),
    );
    return [{ trees: [{ prompt, branches }], warning, ...numbersOf(contents) }];
  },
};
