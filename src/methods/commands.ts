/** The systems that are no training but a command of their own: how it is called. One line each. */
export const commands: Readonly<Record<string, string>> = {
  ches: "prefopt data check DATA --model MODEL --ches --keep 0.05 --out FILE",
};
