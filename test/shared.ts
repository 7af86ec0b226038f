/** Files that stand beside the repository and not in it: large models. Tests that want them say so and skip where they are not. */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const folder = process.env.PREFOPT_SHARED ?? fileURLToPath(new URL("../../shared", import.meta.url));

/** The path of a shared file; undefined, with a line that says so, where it is not there. */
export function sharedFile(path: string): string | undefined {
  const place = `${folder}/${path}`;
  if (existsSync(place)) return place;
  console.log(`skipped: there is no ${path} in ../shared (PREFOPT_SHARED names another folder)`);
  return undefined;
}

export const smolLm2 = "models/SmolLM2-135M-Instruct.Q4_1.gguf";
