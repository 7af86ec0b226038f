/**
 * Python for the peers: a virtual environment outside this repository, made at the first call with packages by their names, and
 * used as it is afterwards.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { existsSync, mkdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";

const packages = ["torch", "transformers", "trl", "datasets", "peft"];

/** The Python of the environment in `folder` (default: one in the system's temporary folder). */
export function python(folder = join(tmpdir(), "prefopt-peers")): string {
  const place = resolve(folder);
  const program = join(place, "bin", "python");
  if (!existsSync(program)) {
    mkdirSync(place, { recursive: true });
    console.error(`making a Python environment in ${place}`);
    execFileSync("python3", ["-m", "venv", place], { stdio: ["ignore", 2, 2] });
  }
  const known = spawnSync(program, ["-c", `import ${packages.join(", ")}`], { stdio: "ignore" });
  if (known.status !== 0) {
    console.error(`installing ${packages.join(", ")} there; this takes minutes`);
    execFileSync(program, ["-m", "pip", "install", "--quiet", ...packages], { stdio: ["ignore", 2, 2] });
  }
  return program;
}
