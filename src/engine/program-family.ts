/**
 * One compiled program for graphs that are alike: the same operations on the same values, of other sizes. Where two such graphs differ the
 * program is left open: sizes of values are symbols in it, and constants (shapes, places, counts) are inputs. Every further graph is
 * compared with it, value by value, and run by it with its own sizes and constants; one that is not alike gets a program of its own.
 */
import { type Outline, alike, outlineOf, placeOfOperand, sameConstant, sameNumbers } from "./alike.ts";
import type { Backend, CompileOptions, Session, TensorArray } from "./backends/backend.ts";
import { collectHeap } from "./backends/heap-trim.ts";
import { type Constant, Graph } from "./graph.ts";
import { constantArray, emit } from "./onnx.ts";
import { type Built, type Program, bindable, placeOf } from "./program.ts";
import { type Shape, Tensor, dim, freeDim } from "./tensor.ts";

export type FamilyOptions = Omit<CompileOptions, "externalData">;

/** How a graph is made. */
export interface Makers {
  readonly build: () => Built;
  /**
   * Graphs that should be like it, with sizes of 2 and more that differ wherever they may; no two agree that do not always. The first that
   * is alike says what to leave open. Without any, the program is for these sizes alone.
   */
  readonly others: () => readonly (() => Built)[];
}

/** Graphs of which is remembered how their program runs them. */
const mostRemembered = 64;

export class ProgramFamily {
  readonly #backend: Backend;
  readonly #options: FamilyOptions;
  readonly #most: number;
  /** In the order of their last use, as are the programs by their keys. */
  readonly #members = new Set<Member>();
  readonly #programs = new Map<string, { readonly program: Program; readonly member: Member }>();

  /** `most` compiled programs are kept, those that were last used; default: all. */
  constructor(backend: Backend, options: FamilyOptions = {}, most = Infinity) {
    this.#backend = backend;
    this.#options = options;
    this.#most = most;
  }

  /**
   * The program of a graph, which is made where this key has none. It stays usable until those of `most` other graphs have been asked for,
   * and is not to be released: others run in the same one.
   */
  async program(key: string, { build, others }: Makers): Promise<Program> {
    const known = this.#programs.get(key);
    const found = known ?? (await this.#find(build(), others));
    this.#programs.delete(key);
    this.#programs.set(key, found);
    this.#members.delete(found.member);
    this.#members.add(found.member);
    for (const old of beyond(this.#programs.keys(), mostRemembered)) this.#programs.delete(old);
    for (const old of beyond(this.#members, this.#most)) this.#drop(old);
    return found.program;
  }

  /** How many compiled programs there are. */
  get size(): number {
    return this.#members.size;
  }

  /** Frees them all. */
  release(): void {
    for (const member of this.#members) this.#drop(member);
  }

  async #find(built: Built, others: Makers["others"]): Promise<{ program: Program; member: Member }> {
    const own = outlineOf(this.#backend, built, this.#options);
    for (const member of this.#members) {
      const program = member.programOf(own);
      if (!program) continue;
      await collectHeap(); // the graph was needed for its constants alone
      return { program, member };
    }
    const member = await Member.compile(this.#backend, own, others, this.#options);
    const program = member.programOf(own);
    if (!program) throw new TypeError("a graph is not like itself");
    return { program, member };
  }

  #drop(member: Member): void {
    this.#members.delete(member);
    for (const [key, { member: its }] of this.#programs) if (its === member) this.#programs.delete(key);
    member.release();
  }
}

/** The first of a list, as many as it has more than `most`. */
function beyond<T>(list: Iterable<T>, most: number): T[] {
  const all = [...list];
  return all.slice(0, Math.max(0, all.length - most));
}

/** What two graphs that are alike differ in. */
interface Openings {
  /** Shapes of values by their names in the first, free where they differ or were free. */
  readonly shapes: ReadonlyMap<string, Shape>;
  /** Names of the inputs that stand for constants, by the places of these. */
  readonly names: ReadonlyMap<string, string>;
  /** These constants as they are in the first, and whether their lengths differ. */
  readonly constants: ReadonlyMap<string, { readonly constant: Constant; readonly free: boolean }>;
}

/** What is left open between two graphs; undefined where they are not alike. */
function openings(own: Outline, other: Outline): Openings | undefined {
  const shapes = new Map<string, Shape>();
  const symbols = new Map<string, string>();
  const names = new Map<string, string>();
  const pairs = new Map<string, string>();
  const constants = new Map<string, { constant: Constant; free: boolean }>();
  const found = alike(own, other, {
    values: (a, b) => {
      const opened = a.shape.map(({ name, size, free }, i) => {
        const another = b.shape[i].size;
        if (size === another && !free) return dim(name, size);
        const key = free ? name : `${size} ${another}`;
        const symbol = symbols.get(key) ?? `size ${symbols.size}`;
        symbols.set(key, symbol);
        return freeDim(symbol, size);
      });
      shapes.set(a.id, opened);
      return true;
    },
    constants: (a, b, place) => {
      if (sameConstant(a, b)) return true;
      const key = `${a.id} ${b.id}`;
      const name = pairs.get(key) ?? `open/${pairs.size}`;
      pairs.set(key, name);
      names.set(place, name);
      constants.set(name, { constant: a, free: a.values.length !== b.values.length });
      return a.sizes.length === b.sizes.length;
    },
  });
  return found ? { shapes, names, constants } : undefined;
}

const nothing: Openings = { shapes: new Map(), names: new Map(), constants: new Map() };

/** A compiled program, the graph that it was made of, and what is open in it. */
class Member {
  readonly #outline: Outline;
  readonly #session: Session;
  readonly #open: Openings;

  private constructor(outline: Outline, session: Session, open: Openings) {
    this.#outline = outline;
    this.#session = session;
    this.#open = open;
  }

  /** Leaves open what differs between the graph and the first of others that is like it; where none is, nothing. */
  static async compile(
    backend: Backend,
    own: Outline,
    others: Makers["others"],
    options: FamilyOptions,
  ): Promise<Member> {
    let open: Openings | undefined;
    for (const other of others()) open ??= openings(own, outlineOf(backend, other(), options));
    const { graph, outputs } = open ? opened(own, open) : own.written;
    const session = await placeOf(backend, own.built).compile(emit(graph, outputs), options);
    return new Member(own, session, open ?? nothing);
  }

  /** This program with the sizes and constants of a graph that is like its own; undefined for another. */
  programOf(other: Outline): Program | undefined {
    const { shapes, names, constants: differing } = this.#open;
    const sizes = new Map<string, number>();
    const constants = new Map<string, Constant>();
    const fits = alike(this.#outline, other, {
      values: (a, b) =>
        (shapes.get(a.id) ?? a.shape).every(({ name, size, free }, i) => {
          const own = b.shape[i].size;
          if (!free || own < 2) return own === size; // a size of 1 stretches: it is another graph's
          const known = sizes.get(name) ?? own;
          sizes.set(name, known);
          return known === own;
        }),
      constants: (a, b, place) => {
        const name = names.get(place);
        if (name === undefined) return sameConstant(a, b);
        const known = constants.get(name) ?? b;
        constants.set(name, known);
        const fitting = differing.get(name)?.free === true || sameNumbers(a.sizes, b.sizes);
        return fitting && sameConstant(known, b);
      },
    });
    return fits ? this.#bindable(other, constants) : undefined;
  }

  /** Holds nothing of the other graph but shapes, as there may be many programs. */
  #bindable(
    { inputs: declared, built, written }: Outline,
    constants: ReadonlyMap<string, Constant>,
  ): Program {
    const graph = new Graph(built.graph.float);
    const kept = ({ id, dtype, shape }: Tensor) => new Tensor(graph, id, dtype, shape);
    const inputs = new Map(declared.map((t) => [t.id, kept(t)]));
    const arrays: Record<string, TensorArray> = {};
    for (const [name, c] of constants) {
      arrays[name] = constantArray(c, graph.float);
      inputs.set(name, new Tensor(graph, name, c.dtype, shapeOf(c)));
    }
    const outputs = Object.fromEntries(Object.entries(built.outputs).map(([name, t]) => [name, kept(t)]));
    const parts = written.parts.map((p) => ({ ...p, tensor: kept(p.tensor) }));
    return bindable(this.#session, { graph, outputs }, { parts, inputs }, arrays);
  }

  release(): void {
    this.#session.release();
  }
}

const shapeOf = ({ sizes }: Constant): Shape => sizes.map((n) => dim("values", n));

/** A graph with its openings: symbols for sizes, inputs for constants. */
function opened({ written, nodes, inputs }: Outline, { shapes, names, constants }: Openings): Built {
  const { graph, outputs } = written;
  const general = new Graph(graph.float, graph.standard);
  const open = (t: Tensor) => new Tensor(general, t.id, t.dtype, shapes.get(t.id) ?? t.shape);
  general.inputs.push(...inputs.map(open));
  for (const [name, { constant, free }] of constants) {
    const shape = shapeOf(constant);
    general.input(name, constant.dtype, free ? shape.map((d) => freeDim(`${name} values`, d.size)) : shape);
  }
  general.constants.push(...graph.constants);
  nodes.forEach((node, i) => {
    const operands = node.inputs.map((id, k) => names.get(placeOfOperand(i, k)) ?? id);
    general.nodes.push({ ...node, inputs: operands });
    for (const id of node.outputs) {
      const value = graph.values.get(id);
      if (value) general.values.set(id, open(value));
    }
  });
  return {
    graph: general,
    outputs: Object.fromEntries(Object.entries(outputs).map(([name, t]) => [name, open(t)])),
  };
}
