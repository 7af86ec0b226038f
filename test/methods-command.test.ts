/** `prefopt methods`: what a reader sees of a system, of an objective, and of names that are neither. */
import { expect, it } from "vitest";
import { prefopt } from "./command.ts";

async function shown(...args: string[]): Promise<string> {
  const { status, stdout, stderr } = await prefopt(["methods", ...args]);
  expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
  return stdout;
}

it("a system without a procedure says what trains now, and gives a recipe", async () => {
  const text = await shown("fspo");
  for (const part of [
    "Few-Shot Preference Optimization (FSPO)",
    "objective only: recipes train with its loss (objective: ipo)",
    "docs/methods/fspo.md",
    "The loss\n    L = (ρ(y_w) - ρ(y_l) - 1/(2β))²",
    "What is missing or uncertain",
    "ipoAverage",
    "A complete recipe, everything else at its default:\n\nobjective: ipo\noptions:\n  beta: 0.05\n  ipoAverage: false\n",
  ])
    expect(text).toContain(part);
  expect(text).not.toMatch(/\]\(|\*\*|<!--/); // no Markdown left
});

it("one that works has its claim and the recipe of the method", async () => {
  const text = await shown("dpo");
  expect(text).toMatch(/^claim +In controlled sentiment/m);
  expect(text).toContain("\n\nmethod: dpo\n");
});

it("one that is a command says how it is called, and the command knows those options", async () => {
  const text = await shown("ches");
  const command = /^command +prefopt (.*)$/m.exec(text)?.[1] ?? "";
  expect(text).toMatch(/^status +works$/m);
  const help = await prefopt([...command.split(" ").slice(0, 2), "--help"]);
  for (const option of command.match(/--\w+/g) ?? ["none"]) expect(help.stdout).toContain(`${option} `);
});

it("an objective is shown by itself, also by an older name", async () => {
  const text = await shown("kto");
  expect(text).toMatch(/^records +unpaired, pair$/m);
  expect(text).toMatch(/^must come with +`label`$/m);
  expect(text).toMatch(/^desirableWeight +1 +≥ 0 +λ_D/m);
  expect(text).toContain("short: recipes/objectives/kto.yaml");
  expect(text).not.toContain("Binary Classifier"); // a section of the same page
  expect(await shown("exo_pair")).toContain("Efficient Exact Optimization");
});

it("as JSON: systems with their objectives, objectives with their options", async () => {
  const system = JSON.parse(await shown("npo", "--json")) as Record<string, unknown>;
  expect(system).toMatchObject({ id: "npo", status: "objective only", page: "docs/methods/npo.md" });
  expect(system.objectives).toEqual(["npo", "simnpo", "gradient-ascent", "gradient-difference", "idk"]);
  const objective = JSON.parse(await shown("lipo", "--json")) as { losses: { options: object[] }[] };
  expect(objective.losses[0].options).toContainEqual(
    expect.objectContaining({ name: "beta", default: "0.05", range: "> 0" }),
  );
});

it("names that are none are answered with the nearest, of systems and objectives", async () => {
  const { status, stderr } = await prefopt(["methods", "orppo"]);
  expect({ status, stderr }).toEqual({
    status: 2,
    stderr: 'prefopt: there is no method "orppo". Did you mean orpo?\n',
  });
});
