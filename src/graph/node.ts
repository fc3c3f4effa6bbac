/** @file The graph: immutable nodes. An operation is an OpDef; what it means is attached to it, not to the graph. */
import type { DType } from "../core/dtype.ts";
import { checkSize, type Shape } from "../core/shape.ts";

/** Static parameters of a node: plain values, so that nodes print and compare. */
export type Attrs = Readonly<Record<string, unknown>>;

/** Of an operation that has none. */
export type NoAttrs = Readonly<Record<string, never>>;

export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A dense array in float64, the currency of reference implementations. */
export interface RefArray {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** The axis of a source that an axis of the result runs along, forwards or backwards, or what it does instead. */
export type Along = number | { readonly reversed: number } | "free" | "mixed";

// Written as methods, so that an operation with attributes of its own is one among others.
interface Rules<A extends Attrs> {
  reference(src: readonly RefArray[], node: Node<A>, functionOf?: FunctionOf): Float64Array;
  along(node: Node<A>, source: number): readonly Along[];
}

/** What derivatives and batches of a loop are: several nodes are results of one. */
interface LoopRules<A extends Attrs> {
  /** Whether two nodes are results of one loop. */
  together(a: Node<A>, b: Node<A>): boolean;
  /** Cotangents of the sources, given those of results of one loop. */
  back(nodes: readonly Node<A>[], gs: readonly (Node | null)[], vjp: Pull): (Node | null)[];
  /** The tangent of a result, given those of the sources. */
  forward(node: Node<A>, tangents: readonly (Node | null)[], jvp: Push): Node | null;
  /** The result for a batch of `size`; see OpDef.batch. */
  batch(node: Node<A>, src: readonly Node[], has: readonly boolean[], size: number, vmap: Spread): Node;
}

type Pull = (outputs: readonly Node[], cotangents: readonly Node[], inputs: readonly Node[]) => (Node | null)[];
type Push = (outputs: readonly Node[], inputs: readonly Node[], tangents: readonly (Node | null)[]) => (Node | null)[];
type Spread = (
  outputs: readonly Node[],
  inputs: readonly Node[],
  values: readonly Node[],
  size: number,
) => (Node | null)[];

/** Nodes as a function of others, in float64; see src/ops/interpret.ts. */
export type FunctionOf = (
  outputs: readonly Node[],
  inputs: readonly Node[],
  known: ReadonlyMap<Node, Float64Array>,
) => (...values: Float64Array[]) => Float64Array[];

/** Computes a node's value in float64. For one that is a graph for each of many steps there is who computes graphs. */
export type Reference<A extends Attrs = Attrs> = Rules<A>["reference"];

/** What an operation is, and what attributes its nodes have. One entry per operation, in src/ops. */
export interface OpDef<A extends Attrs = Attrs> {
  readonly name: string;
  /**
   * elementwise: one output element per input element of the same index; linear: linear in its float operands;
   * view: linear, and moves elements without computing; identity: its first source's value, only derivatives tell the two
   * apart; leaf: has a value from outside; other: anything else.
   */
  readonly kind: "elementwise" | "linear" | "view" | "identity" | "leaf" | "other";
  /** What backward does to the gradient, in a word: add distributes it, mul switches, max routes, a sum copies, a copy sums. */
  readonly pattern: string;
  /** Shape and dtype of the result; throws a typed error on operands that do not fit. */
  infer(src: readonly Node[], attrs: A): Spec;
  /** Cotangents of the sources, given that of the result; null where there is none. */
  vjp?(node: Node<A>, g: Node): (Node | null)[];
  /** Tangent of the result, given those of the sources (null = zero); null if zero. */
  jvp?(node: Node<A>, tangents: readonly (Node | null)[]): Node | null;
  /** The same in terms of simpler operations, for derivatives of any order. */
  decompose?(node: Node<A>): Node;
  /**
   * The same for a batch: some of the sources (`has`) have an axis more, in front. Without a rule, or where it returns
   * nothing, all sources get one, and the operation is the same, with attributes that `lift` adjusts.
   */
  batch?(node: Node<A>, src: readonly Node[], has: readonly boolean[]): Node | undefined;
  /** The attributes where operands have an axis of `size` more, in front: what names axes or extents. Default: as they are. */
  lift?(attrs: A, size: number): Attrs;
  /**
   * Of an operation that is linear in a source: for each axis of the result the axis of that source it runs along, place by
   * place. Along a "free" axis every place is the same sum, or what another source makes of it; a "mixed" one may be anything.
   * Axes of the source that are not named are summed over. "flat": elements keep their row-major order. Elementwise
   * operations run along all axes.
   */
  readonly along?: "flat" | Rules<A>["along"];
  /** What users call it, and an index of it that is out of range: the labels of a cross-entropy. Default: its name, index, rows. */
  readonly called?: { readonly name: string; readonly index: string; readonly of: string };
  /** Whether it draws random numbers: not for one example what it is for another. */
  readonly random?: true;
  /** Rules of an operation that is a graph for each of many steps. They are given the walk to take over that graph. */
  readonly loop?: LoopRules<A>;
  /** The value in float64. Operations that are not elementwise have theirs in src/ops/reference/. */
  readonly ref?: Reference<A>;
}

/** A value of the computation. Immutable; `id` grows with creation, so sources have smaller ids. */
export interface Node<A extends Attrs = Attrs> extends Spec {
  readonly id: number;
  readonly op: OpDef<A>;
  readonly src: readonly Node[];
  readonly attrs: A;
  /** The checkpointed call that made it: its value is not kept for derivatives, but computed again. */
  readonly region?: object;
}

let nextId = 1;
const NO_ATTRS: NoAttrs = Object.freeze({});

let region: object | undefined;
type Observer = (n: Node, copied?: Node) => void;
let observer: Observer | undefined;

/**
 * Runs f, and tells `each` of every node it makes, and of what it is a copy with other sources, if it is. Who looks on already still
 * is told too.
 */
export function observed<T>(each: Observer, f: () => T): T {
  const before = observer;
  observer = before
    ? (n, copied) => {
        before(n, copied);
        each(n, copied);
      }
    : each;
  try {
    return f();
  } finally {
    observer = before;
  }
}

/** Runs f; the nodes it makes belong to a region (none if undefined), but those made in a region already stay there. */
export function inRegion<T>(r: object | undefined, f: () => T): T {
  const before = region;
  region = before ?? r;
  try {
    return f();
  } finally {
    region = before;
  }
}

/** Whether the nodes made now belong to region r. */
export function isOpen(r: object): boolean {
  return r === region;
}

/** Whether n is a node of this operation, and so has its attributes. */
export function isOp<A extends Attrs>(n: Node, op: OpDef<A>): n is Node<A> {
  return n.op === op;
}

/** Makes a node; the operation infers and checks. Attributes may be left out where the operation needs none. */
export function makeNode<A extends Attrs>(
  op: OpDef<A>,
  src: readonly Node[],
  ...given: NoAttrs extends A ? [attrs?: NoInfer<A>] : [attrs: NoInfer<A>]
): Node<A> {
  const attrs = given[0] ?? (NO_ATTRS as Attrs as A);
  const { shape, dtype } = op.infer(src, attrs);
  if (shape !== src[0]?.shape) checkSize(op.name, shape);
  const n: Node<A> = { id: nextId++, op, src, attrs, shape, dtype, region };
  observer?.(n);
  return n;
}

/** n with other sources, of the same shapes and dtypes: what was inferred when it was made still holds. */
export function withSources(n: Node, src: readonly Node[]): Node {
  const copy: Node = { id: nextId++, op: n.op, src, attrs: n.attrs, shape: n.shape, dtype: n.dtype };
  observer?.(copy, n);
  return copy;
}

/** n with each of its sources replaced; n itself if they stay what they are. */
export function mapSources(n: Node, replace: (s: Node) => Node): Node {
  let src: Node[] | undefined;
  for (let i = 0; i < n.src.length; i++) {
    const s = replace(n.src[i]);
    if (s !== n.src[i]) src ??= [...n.src];
    if (src) src[i] = s;
  }
  return src ? withSources(n, src) : n;
}

/**
 * All nodes the outputs need, sources first; with `stop`, nodes it names are there, but not what they were made from.
 * Iterative: graphs may be deeper than the stack.
 */
export function toposort(outputs: readonly Node[], stop?: (n: Node) => boolean): Node[] {
  const done = new Set<Node>();
  const order: Node[] = [];
  // The nodes above the one in hand, and how many of their sources are behind them.
  const path: Node[] = [];
  const behind: number[] = [];
  for (const output of outputs) {
    if (done.has(output)) continue;
    done.add(output);
    let n = output;
    let next = stop?.(n) ? n.src.length : 0;
    for (;;) {
      if (next < n.src.length) {
        const s = n.src[next++];
        if (done.has(s)) continue;
        done.add(s);
        path.push(n);
        behind.push(next);
        n = s;
        next = stop?.(n) ? n.src.length : 0;
      } else {
        order.push(n);
        const above = path.pop();
        if (!above) break;
        n = above;
        next = behind.pop() as number;
      }
    }
  }
  return order;
}

/** A computation: leaves in, values out. `updates[i]` is the new value of the variable leaf `targets[i]` stands for. */
export interface Computation {
  /** Leaves whose values are uploaded before each run. */
  readonly inputs: readonly Node[];
  /** Leaves whose values stay in memory between runs. */
  readonly residents: readonly Node[];
  /** Values that are read back. */
  readonly outputs: readonly Node[];
  /** New values of variables. */
  readonly updates: readonly Node[];
}

/** An attribute that is a graph: equal ones have equal keys, made of the keys of computations. */
export interface GraphAttr {
  keyOf(key: (graph: Computation) => string): string;
}

export function holdsGraph(v: unknown): v is GraphAttr {
  return typeof v === "object" && v !== null && "keyOf" in v;
}
