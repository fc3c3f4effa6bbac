/** @file The graph: immutable nodes. An operation is an OpDef; what it means is attached to it, not to the graph. */
import type { DType } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";

/** Static parameters of a node: plain values, so that nodes print and compare. */
export type Attrs = Readonly<Record<string, unknown>>;

export interface Spec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** A dense array in float64, the currency of reference implementations. */
export interface RefArray {
  readonly shape: Shape;
  readonly data: Float64Array;
}

/** What an operation is. One entry per operation, in src/ops. */
export interface OpDef {
  readonly name: string;
  /**
   * elementwise: one output element per input element of the same index; linear: linear in its float operands;
   * view: linear, and moves elements without computing; leaf: has a value from outside; other: anything else.
   */
  readonly kind: "elementwise" | "linear" | "view" | "leaf" | "other";
  /** Shape and dtype of the result; throws a typed error on operands that do not fit. */
  infer(src: readonly Node[], attrs: Attrs): Spec;
  /** Cotangents of the sources, given that of the result; null where there is none. */
  vjp?(node: Node, g: Node): (Node | null)[];
  /** Tangent of the result, given those of the sources (null = zero); null if zero. */
  jvp?(node: Node, tangents: readonly (Node | null)[]): Node | null;
  /** The same in terms of simpler operations, for derivatives of any order. */
  decompose?(node: Node): Node;
  /** The value in float64. */
  ref?(src: readonly RefArray[], node: Node): Float64Array;
}

/** A value of the computation. Immutable; `id` grows with creation, so sources have smaller ids. */
export interface Node extends Spec {
  readonly id: number;
  readonly op: OpDef;
  readonly src: readonly Node[];
  readonly attrs: Attrs;
}

let nextId = 1;
const NO_ATTRS: Attrs = Object.freeze({});

/** Makes a node; the operation infers and checks. */
export function makeNode(op: OpDef, src: readonly Node[], attrs: Attrs = NO_ATTRS): Node {
  const { shape, dtype } = op.infer(src, attrs);
  return { id: nextId++, op, src, attrs, shape, dtype };
}

/**
 * All nodes the outputs need, sources first; with `stop`, nodes it names are there, but not what they were made from.
 * Iterative: graphs may be deeper than the stack.
 */
export function toposort(outputs: readonly Node[], stop?: (n: Node) => boolean): Node[] {
  const done = new Set<Node>();
  const order: Node[] = [];
  const stack: { node: Node; next: number }[] = [];
  for (const output of outputs) {
    if (done.has(output)) continue;
    done.add(output);
    stack.push({ node: output, next: 0 });
    while (stack.length > 0) {
      const top = stack[stack.length - 1];
      if (top.next < top.node.src.length && !stop?.(top.node)) {
        const child = top.node.src[top.next++];
        if (!done.has(child)) {
          done.add(child);
          stack.push({ node: child, next: 0 });
        }
      } else {
        order.push(top.node);
        stack.pop();
      }
    }
  }
  return order;
}

/** A computation: leaves in, values out. `updates[i]` is the new value of the variable leaf `targets[i]` stands for. */
export interface Graph {
  /** Leaves whose values are uploaded before each run. */
  readonly inputs: readonly Node[];
  /** Leaves whose values stay in memory between runs. */
  readonly residents: readonly Node[];
  /** Values that are read back. */
  readonly outputs: readonly Node[];
  /** New values of variables. */
  readonly updates: readonly Node[];
}
