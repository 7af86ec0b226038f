/**
 * Programs of packed batches, kept by their shape. On the CPU one compiled program runs at all sizes, so that batches are laid out without
 * rounding and nothing is compiled again. Devices have memory and kernels for fixed sizes: there each shape has a program of its own.
 */
import type { Backend } from "../engine/backends/backend.ts";
import { type FamilyOptions, ProgramFamily } from "../engine/program-family.ts";
import { type Arrays, type Built, type Program, compile } from "../engine/program.ts";
import type { Rounding } from "./layout.ts";
import { type PackShape, likeShapes } from "./pack-shape.ts";
import { ProgramCache, mostPrograms } from "./program-cache.ts";
import { ReusableProgram } from "./reusable-program.ts";

/** What a program is made of. */
export interface ProgramParts {
  readonly build: (shape: PackShape) => Built;
  /** Arrays that stay the same from run to run, and those that take outputs. */
  readonly arrays: () => { readonly fixed: Arrays; readonly into?: Arrays };
}

export class ShapePrograms {
  readonly #backend: Backend;
  readonly #options: FamilyOptions;
  readonly #family: ProgramFamily | undefined;
  readonly #compiled = new ProgramCache();
  readonly #ready = new WeakMap<Program, ReusableProgram>();
  readonly #arrays = new Map<string, ReturnType<ProgramParts["arrays"]>>();

  constructor(backend: Backend, options: FamilyOptions = {}) {
    this.#backend = backend;
    this.#options = options;
    if (backend.device === "cpu") this.#family = new ProgramFamily(backend, options, mostPrograms);
  }

  /** Whether each shape is compiled on its own: then they should be few. */
  get fixed(): boolean {
    return !this.#family;
  }

  /** How batches are best rounded for it. */
  get rounding(): Rounding {
    return this.fixed ? "few" : "none";
  }

  /** The program of this shape; `key` tells programs apart that are made of something else. */
  async get(key: string, shape: PackShape, { build, arrays }: ProgramParts): Promise<ReusableProgram> {
    const own = JSON.stringify([key, shape]);
    const ready = (program: Program, keep: boolean) => {
      const { fixed, into } = this.#arrays.get(key) ?? arrays();
      this.#arrays.set(key, { fixed, into });
      return new ReusableProgram(program, fixed, into, keep);
    };
    if (!this.#family) {
      return this.#compiled.get(own, async () => {
        const { graph, outputs } = build(shape);
        return ready(await compile(this.#backend, graph, outputs, this.#options), true);
      });
    }
    const program = await this.#family.program(own, {
      build: () => build(shape),
      others: () => likeShapes(shape).map((like) => () => build(like)),
    });
    const found = this.#ready.get(program) ?? ready(program, false);
    this.#ready.set(program, found);
    return found;
  }

  /** Frees them all. */
  async release(): Promise<void> {
    await this.#compiled.release();
    this.#family?.release();
  }
}
