/** @file What nodes stand for: the values of leaves, and values that were computed before. */
import type { DType, TypedArray } from "../core/dtype.ts";
import type { Shape } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { leaf } from "../ops/leaf.ts";
import type { Session } from "../run/session.ts";
import type { Bound, State } from "../run/state.ts";

/** A value that changes and that a session holds: a Variable. */
export interface Held {
  readonly home: Session;
  readonly target: State;
  /** Its value as a node of the trace in progress, or of the lazy graph. */
  readonly node: Node;
  /** Its value as a leaf of a launch, now or after `seen` changes. */
  bound(seen?: number): Bound;
  /** Its value, now or after `seen` changes. */
  read(seen?: number): Promise<TypedArray>;
}

/** A number that programs take as it is when they are launched: a Setting. */
export interface Adjustable {
  readonly value: TypedArray;
}

/** What a leaf stands for. */
export type Binding =
  /** `cut`: a program computed it from what requires a gradient, which cannot flow through. */
  | { readonly kind: "data"; readonly array: TypedArray | Promise<TypedArray>; readonly cut?: boolean }
  | { readonly kind: "state"; readonly variable: Held; readonly seen: number }
  | { readonly kind: "setting"; readonly setting: Adjustable }
  | { readonly kind: "argument"; readonly index: number; readonly trace: object };

const bindings = new WeakMap<Node, Binding>();

/** A leaf that stands for something. */
export function boundLeaf(shape: Shape, dtype: DType, binding: Binding): Node {
  const n = leaf(shape, dtype);
  bindings.set(n, binding);
  return n;
}

export function bindingOf(n: Node): Binding | undefined {
  return bindings.get(n);
}

/** The values of a leaf that was made from them, if nothing has to be computed or awaited. */
export function dataOf(n: Node): TypedArray | undefined {
  const binding = bindings.get(n);
  return binding?.kind === "data" && ArrayBuffer.isView(binding.array) ? binding.array : undefined;
}

/** Values that were computed and read: nodes keep their place in the graph, later programs start from the value. */
const values = new WeakMap<Node, Promise<TypedArray>>();

/** Keeps the value of a node. One that could not be computed is forgotten: the next read tries again. */
export function keepValue(n: Node, value: Promise<TypedArray>): void {
  values.set(n, value);
  value.catch(() => {
    if (values.get(n) === value) values.delete(n);
  }); // reported where it is read
}

/** The value of a node, if it was computed before. */
export function keptValue(n: Node): Promise<TypedArray> | undefined {
  return values.get(n);
}

/** A leaf with a value: an array, or one that is being computed. */
export function dataLeaf(shape: Shape, dtype: DType, array: TypedArray | Promise<TypedArray>, cut?: boolean): Node {
  return boundLeaf(shape, dtype, { kind: "data", array, cut });
}
