// The house of CONTRIBUTING.md, checked on every import of src/: no floor looks up, rooms of one floor form no circle,
// and only formats/, engine/backends/ and the faces know Node, so that everything else runs in a browser.
import { readFileSync, readdirSync } from "node:fs";
import { builtinModules } from "node:module";
import { posix, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../src", import.meta.url));

/** Bottom first. `errors.ts` is the ground, `index.ts` the roof. */
const floors: readonly (readonly string[])[] = [
  ["errors.ts"],
  ["engine", "formats"],
  ["nn", "optim", "text"],
  ["models", "data"],
  ["scoring", "generation", "feedback"],
  ["objectives", "evaluation", "export"],
  ["training", "pipelines"],
  ["methods"],
  ["cli", "studio"],
  ["index.ts"],
];
const knowsNode = ["formats/", "engine/backends/", "cli/", "studio/"];
const nativePackages = ["onnxruntime-node", "koffi"];

interface Import {
  /** Path of the importing file below src/. */
  readonly from: string;
  /** Path below src/, or the name of a package. */
  readonly to: string;
  readonly inside: boolean;
}

/** What a file imports, re-exports, loads lazily or for its types. */
function importsOf(from: string, text: string): Import[] {
  return ts.preProcessFile(text, true, true).importedFiles.map(({ fileName }) => {
    const inside = fileName.startsWith(".");
    return { from, to: inside ? posix.join(posix.dirname(from), fileName) : fileName, inside };
  });
}

const roomOf = (path: string) => path.split("/")[0];
const floorOf = (path: string) => floors.findIndex((rooms) => rooms.includes(roomOf(path)));

/** Imports that look up, as "from -> to". */
const lookingUp = (imports: readonly Import[]) =>
  imports.filter((i) => i.inside && floorOf(i.to) > floorOf(i.from)).map(shown);

/** Imports of Node where a browser must be able to follow. */
const needingNode = (imports: readonly Import[]) =>
  imports
    .filter(({ from, to, inside }) => {
      const name = to.split("/")[0];
      const native = to.startsWith("node:") || builtinModules.includes(to) || nativePackages.includes(name);
      return !inside && native && !knowsNode.some((place) => from.startsWith(place));
    })
    .map(shown);

/** A circle of rooms on one floor, such as ["models", "data", "models"]. */
function circle(imports: readonly Import[]): string[] | undefined {
  const sideways = imports.filter(
    (i) => i.inside && roomOf(i.from) !== roomOf(i.to) && floorOf(i.from) === floorOf(i.to),
  );
  const from = (room: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(room)) return [...path.slice(path.indexOf(room)), room];
    const next = new Set(sideways.filter((i) => roomOf(i.from) === room).map((i) => roomOf(i.to)));
    for (const room2 of next) {
      const found = from(room2, [...path, room]);
      if (found) return found;
    }
    return undefined;
  };
  for (const { from: start } of sideways) {
    const found = from(roomOf(start), []);
    if (found) return found;
  }
  return undefined;
}

const shown = ({ from, to }: Import) => `${from} -> ${to}`;

const files = readdirSync(root, { recursive: true, encoding: "utf8" })
  .map((path) => path.split(sep).join("/"))
  .filter((path) => /(?<!\.test|\.d)\.ts$/.test(path));
const imports = files.flatMap((path) => importsOf(path, readFileSync(resolve(root, path), "utf8")));

describe("the sources", () => {
  it("live in rooms of the house", () => {
    expect(files.filter((path) => floorOf(path) < 0)).toEqual([]);
    expect(imports.length).toBeGreaterThan(files.length); // the parser reads them
  });
  it("import files that exist, by their names with extension", () => {
    const known = new Set([...files, ...files.map((path) => path.replace(/\.ts$/, ".d.ts"))]);
    const missing = imports.filter((i) => i.inside && i.to.endsWith(".ts") && !known.has(i.to)).map(shown);
    expect(missing).toEqual([]);
    expect(imports.filter((i) => i.inside && !/\.(ts|json)$/.test(i.to)).map(shown)).toEqual([]);
  });
  it("never import from a floor above", () => {
    expect(lookingUp(imports)).toEqual([]);
  });
  it("form no circle on a floor", () => {
    expect(circle(imports)).toBeUndefined();
  });
  it("know Node only where files, native back ends and the faces are", () => {
    expect(needingNode(imports)).toEqual([]);
  });
});

describe("the checks themselves", () => {
  it("see every form of import", () => {
    const text = [
      `import { a } from "../training/train.ts";`,
      `import type { B } from "../methods/run.ts";`,
      `export { c } from "../cli/output.ts";`,
      `const d = () => import("../training/recipe.ts");`,
      `import fs from "fs";`,
      `import { x } from "../errors.ts";`,
    ].join("\n");
    const found = importsOf("engine/bad.ts", text);
    expect(lookingUp(found)).toEqual([
      "engine/bad.ts -> training/train.ts",
      "engine/bad.ts -> methods/run.ts",
      "engine/bad.ts -> cli/output.ts",
      "engine/bad.ts -> training/recipe.ts",
    ]);
    expect(needingNode(found)).toEqual(["engine/bad.ts -> fs"]);
  });
  it("see a circle, and none where rooms only use one another in one direction", () => {
    const between = (from: string, to: string): Import => ({
      from: `${from}/x.ts`,
      to: `${to}/y.ts`,
      inside: true,
    });
    expect(circle([between("models", "data"), between("data", "models")])).toEqual([
      "models",
      "data",
      "models",
    ]);
    expect(circle([between("models", "data")])).toBeUndefined();
  });
});
