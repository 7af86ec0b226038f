/** The recipe's `memory`: an amount, or "auto". */
import { RequestError } from "../errors.ts";

/** Bytes of "2GB", "1.5 GiB", "800 MB"; undefined for "auto". Throws for anything else. */
export function bytesOfSetting(memory: string, where?: string): number | undefined {
  if (memory === "auto") return undefined;
  const found = /^\s*(\d+(?:\.\d+)?)\s*(G|M)(i?)B?\s*$/i.exec(memory);
  if (!found) {
    throw new RequestError({
      code: "recipe-invalid",
      what: `memory: ${memory} is no amount of memory`,
      where,
      fix: "Write auto, or an amount like 2GB or 800MB",
    });
  }
  const [, number, unit, binary] = found;
  const power = unit.toUpperCase() === "G" ? 3 : 2;
  return Number(number) * (binary ? 1024 : 1000) ** power;
}
