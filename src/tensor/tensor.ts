/** @file Tensors: what users touch. A tensor is a node of the lazy graph; reading it computes it. */
import { allocate, checkDType, type DType, isFloat, type TypedArray } from "../core/dtype.ts";
import { DisposedError, DTypeError, ShapeError } from "../core/errors.ts";
import { checkCount, numel, type Shape, show } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { add, apply, cast, LOGICAL } from "../ops/elementwise.ts";
import { detach } from "../ops/identity.ts";
import { dataLeaf } from "../trace/bindings.ts";
import { refuseInStep } from "../trace/trace.ts";
import { gradients, setOwner, traceGradient } from "./autograd.ts";
import { type Binary, deriveMethods, type Unary } from "./derived.ts";
import * as elementwise from "./elementwise.ts";
import { index } from "./indexing.ts";
import * as lookup from "./lookup.ts";
import * as movement from "./movement.ts";
import { matmul } from "./product.ts";
import type { Operand } from "./promotion.ts";
import { nested, noNumber, read } from "./reading.ts";
import * as reduction from "./reduction.ts";
import * as rows from "./rows.ts";
import { type NestedArray, valuesLeaf } from "./values.ts";

/** What operations take beside tensors. */
export type TensorLike = Tensor | number | boolean | NestedArray;

/**
 * An n-dimensional array of float32, int32, uint8 or bool. Immutable and lazy: operations build a graph, reading computes
 * it on the workers. Nothing needs to be disposed of.
 */
export class Tensor {
  private own: Node;
  private gradient: Tensor | null = null;
  private needsGrad = false;
  private isDisposed = false;

  /** @internal Use tensor(), zeros(), ... */
  constructor(node: Node) {
    this.own = node;
  }

  /** @internal */
  get node(): Node {
    if (this.isDisposed) throw new DisposedError(`a tensor of shape ${show(this.own.shape)} was used after dispose()`);
    return this.own;
  }

  /** Extents, outermost first. */
  get shape(): Shape {
    return this.own.shape;
  }

  get dtype(): DType {
    return this.own.dtype;
  }

  /** Number of axes. */
  get ndim(): number {
    return this.own.shape.length;
  }

  /** Number of elements. */
  numel(): number {
    return numel(this.own.shape);
  }

  // --- gradients: autograd.ts ------------------------------------------------------------------------------------------------

  /** Whether backward() fills `.grad`; only for float32. */
  get requiresGrad(): boolean {
    return this.needsGrad;
  }

  set requiresGrad(value: boolean) {
    if (value && !isFloat(this.dtype))
      throw new DTypeError(`requiresGrad: only float32 tensors have gradients, this one is ${this.dtype}`);
    this.needsGrad = value;
    if (value) setOwner(this.node, this);
  }

  /** The gradient backward() left, or null. Assign null (or call zeroGrad of an optimiser) to start anew. */
  get grad(): Tensor | null {
    return this.gradient;
  }

  set grad(value: Tensor | null) {
    const before = this.gradient;
    traceGradient(this, value, () => {
      this.gradient = before;
    });
    this.gradient = value;
  }

  /**
   * Adds the gradient of this tensor to `.grad` of every tensor with requiresGrad that it was made from. Without an
   * argument the tensor must have one element.
   */
  backward(gradient?: Tensor): void {
    refuseInStep("backward");
    const given = gradient ? nodeOf("backward", "the gradient", gradient) : undefined;
    for (const [t, g] of gradients(this.node, given)) t.grad = new Tensor(t.grad ? add(t.grad.node, g) : g);
  }

  /** The same value; no gradient flows through it. */
  detach(): Tensor {
    return new Tensor(detach(this.node));
  }

  // --- reading: reading.ts ---------------------------------------------------------------------------------------------------

  /** Computes the tensor and resolves to its elements in row-major order. */
  data(): Promise<TypedArray> {
    return read(this);
  }

  /** Computes the tensor and resolves to its only element. */
  async item(): Promise<number> {
    if (this.numel() !== 1) throw new ShapeError(`item: the tensor has shape ${show(this.shape)}, not one element`);
    return (await this.data())[0];
  }

  /** Computes the tensor and resolves to nested arrays (a number for a scalar); booleans for bool. */
  async array(): Promise<NestedArray> {
    checkCount("array", "nested arrays", numel(this.shape.slice(0, -1)), 2 ** 24);
    return nested(await this.data(), this.shape, this.dtype);
  }

  /** Dtype and shape; the values are read with data(), item() or array(). */
  toString(): string {
    return `${this[Symbol.toStringTag]} ${this.dtype}${show(this.shape)}`;
  }

  /** The class, as text: whatever makes pages smaller may rename classes. */
  get [Symbol.toStringTag](): string {
    return "Tensor";
  }

  /** Text is dtype and shape; as a number, in a comparison or an operator of JavaScript, a tensor is refused. */
  [Symbol.toPrimitive](hint: string): string {
    if (hint === "string") return this.toString();
    throw noNumber(this.toString());
  }

  /** Later uses throw a DisposedError. Only of interest for large values: what is not referred to is freed anyway. */
  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    this.own = dataLeaf(this.shape, this.dtype, allocate(this.dtype, 0));
  }

  // --- arithmetic beyond the tables: elementwise.ts, product.ts --------------------------------------------------------------

  /** Conversion to another dtype; to integers toward zero. */
  to(dtype: DType): Tensor {
    return new Tensor(cast(this.node, checkDType("to", dtype)));
  }

  /** Converted to float32. */
  float(): Tensor {
    return this.to("float32");
  }

  /** Elementwise not, of bool. */
  logicalNot(): Tensor {
    return new Tensor(apply(LOGICAL.not, cast(this.node, "bool")));
  }

  /** This where the condition holds, else other. */
  where(condition: Tensor, other: TensorLike): Tensor {
    const c = nodeOf("where", "the condition", condition);
    return new Tensor(elementwise.where(c, this.node, operand("where", other)));
  }

  /** Limited to [low, high], numbers or tensors; the gradient flows to what the value is. */
  clamp(low?: TensorLike | null, high?: TensorLike | null): Tensor {
    const [min, max] = [low, high].map((v) => (v == null ? undefined : operand("clamp", v)));
    return new Tensor(elementwise.clamp(this.node, min, max));
  }

  /**
   * The product of matrices over the last two axes, with broadcasting of the others; vectors as in PyTorch. Of integers modulo
   * 2^32 (2^8 for uint8), at a third of the speed.
   * @throws DTypeError unless both have one dtype: float32, int32 or uint8.
   */
  matmul(other: Tensor): Tensor {
    return new Tensor(matmul(this.node, nodeOf("matmul", "the operand", other)));
  }

  // --- reductions: reduction.ts; along one axis: rows.ts --------------------------------------------------------------------

  /** Sum over the axes (default all), pairwise; integers and bool give int32. Backward copies the gradient. */
  sum(axis?: number | readonly number[], keepdim = false): Tensor {
    return new Tensor(reduction.sum(this.node, axis, keepdim));
  }

  /** Product over the axes (default all); integers and bool give int32. Its derivatives are right where elements are 0. */
  prod(axis?: number | readonly number[], keepdim = false): Tensor {
    return new Tensor(reduction.prod(this.node, axis, keepdim));
  }

  /** Mean over the axes (default all). */
  mean(axis?: number | readonly number[], keepdim = false): Tensor {
    return new Tensor(reduction.mean(this.node, axis, keepdim));
  }

  /** Largest element over the axes (default all), NaN if there is one. Backward shares the gradient among ties. */
  max(axis?: number | readonly number[], keepdim = false): Tensor {
    return new Tensor(reduction.max(this.node, axis, keepdim));
  }

  /** Smallest element over the axes (default all), NaN if there is one. */
  min(axis?: number | readonly number[], keepdim = false): Tensor {
    return new Tensor(reduction.min(this.node, axis, keepdim));
  }

  /** int32 index of the first largest element along an axis; of the flattened tensor without one. */
  argmax(axis?: number, keepdim = false): Tensor {
    return new Tensor(reduction.argmax(this.node, axis, keepdim));
  }

  /** int32 index of the first smallest element along an axis; of the flattened tensor without one. */
  argmin(axis?: number, keepdim = false): Tensor {
    return new Tensor(reduction.argmin(this.node, axis, keepdim));
  }

  /** Variance over the axes, divided by n - correction. */
  var(axis?: number | readonly number[], options: { correction?: number; keepdim?: boolean } = {}): Tensor {
    return new Tensor(reduction.variance(this.node, axis, options));
  }

  /** Sums of all elements up to each one along an axis; integers and bool give int32. */
  cumsum(axis: number): Tensor {
    return new Tensor(rows.cumsum(this.node, axis));
  }

  /** e^x over its sum along an axis. */
  softmax(axis = -1): Tensor {
    return new Tensor(rows.softmax(this.node, axis));
  }

  /** Logarithm of softmax, stable. */
  logSoftmax(axis = -1): Tensor {
    return new Tensor(rows.logSoftmax(this.node, axis));
  }

  /** int32 positions along an axis in sorted order; stable, NaN counts as the largest. */
  argsort(axis = -1, descending = false): Tensor {
    return new Tensor(rows.argsort(this.node, axis, descending));
  }

  /** [the elements along an axis in order, their int32 positions]; stable, NaN counts as the largest. */
  sort(axis = -1, descending = false): [Tensor, Tensor] {
    return rows.sort(this.node, axis, descending).map((n) => new Tensor(n)) as [Tensor, Tensor];
  }

  /** [the k largest (or smallest) elements along an axis in order, their int32 positions]; the first of equals first. */
  topk(k: number, axis = -1, largest = true): [Tensor, Tensor] {
    return rows.topk(this.node, k, axis, largest).map((n) => new Tensor(n)) as [Tensor, Tensor];
  }

  // --- elements by index: indexing.ts, lookup.ts -----------------------------------------------------------------------------

  /**
   * What NumPy's x[...] gives, and PyTorch's: one item for each axis, from the first on.
   * An integer picks one place and drops the axis; "a:b", "a:b:step" with any of them left out is a slice; "..." stands for
   * as many ":" as fit; null inserts an axis; an integer tensor or array picks places (several are broadcast together); a
   * bool tensor or array picks where it is true, if its values are known (see maskedSelect).
   * @throws IndexError for an integer outside its axis; for one in a tensor, when the value is read.
   */
  index(...given: (number | string | null | Tensor | readonly number[] | readonly boolean[])[]): Tensor {
    const items = given.map((item) =>
      item === null || typeof item === "number" || typeof item === "string" ? item : indexNode("index", item),
    );
    return new Tensor(index(this.node, items));
  }

  /** The place `at` of an axis, which is dropped. */
  select(axis: number, at: number): Tensor {
    return new Tensor(lookup.select(this.node, axis, at));
  }

  /** The places along an axis that an integer index of rank 1 names. */
  indexSelect(axis: number, index: Tensor | readonly number[]): Tensor {
    return new Tensor(lookup.indexSelect(this.node, axis, indexNode("indexSelect", index)));
  }

  /** Element [..., index[..., i, ...], ...] along an axis; the index has as many axes and no larger extents off this one. */
  gather(axis: number, index: Tensor): Tensor {
    return new Tensor(lookup.gather(this.node, axis, nodeOf("gather", "the index", index)));
  }

  /** This, plus each element of source at the place along an axis that its index names. */
  scatterAdd(axis: number, index: Tensor, source: Tensor): Tensor {
    const at = nodeOf("scatterAdd", "the index", index);
    return new Tensor(lookup.scatterAdd(this.node, axis, at, nodeOf("scatterAdd", "the source", source)));
  }

  /**
   * This, with each element of source (or a number) at the place along an axis that its index names; of several for one
   * place the last. With `reduce`, what is there is added to or multiplied instead.
   */
  scatter(axis: number, index: Tensor, source: Tensor | number, options: { reduce?: "add" | "multiply" } = {}): Tensor {
    const at = nodeOf("scatter", "the index", index);
    const values = typeof source === "number" ? source : nodeOf("scatter", "the source", source);
    return new Tensor(lookup.scatter(this.node, axis, at, values, options));
  }

  /** This, plus alpha times each place of source along an axis, at the place an index of rank 1 names. */
  indexAdd(axis: number, index: Tensor, source: Tensor, options: { alpha?: number } = {}): Tensor {
    const at = indexNode("indexAdd", index);
    return new Tensor(lookup.indexAdd(this.node, axis, at, nodeOf("indexAdd", "the source", source), options));
  }

  // --- movement: movement.ts -------------------------------------------------------------------------------------------------

  /** The same elements under another shape; one extent may be -1. */
  reshape(...shape: number[] | [Shape]): Tensor {
    return new Tensor(movement.reshape(this.node, movement.listed(shape)));
  }

  /** Axes startAxis to endAxis merged into one. */
  flatten(startAxis = 0, endAxis = -1): Tensor {
    return new Tensor(movement.flatten(this.node, startAxis, endAxis));
  }

  /** Axes in another order. */
  permute(...axes: number[] | [readonly number[]]): Tensor {
    return new Tensor(movement.permute(this.node, movement.listed(axes)));
  }

  /** Two axes swapped. */
  transpose(axis0: number, axis1: number): Tensor {
    return new Tensor(movement.transpose(this.node, axis0, axis1));
  }

  /** The transpose of a matrix. */
  t(): Tensor {
    return new Tensor(movement.t(this.node));
  }

  /** An axis of extent 1 inserted. */
  unsqueeze(axis: number): Tensor {
    return new Tensor(movement.unsqueeze(this.node, axis));
  }

  /** Axes of extent 1 removed: all, or the named one. */
  squeeze(axis?: number): Tensor {
    return new Tensor(movement.squeeze(this.node, axis));
  }

  /** Broadcast to a shape; -1 keeps an extent. */
  expand(...shape: number[] | [Shape]): Tensor {
    return new Tensor(movement.expand(this.node, movement.listed(shape)));
  }

  /** `length` elements along an axis, from `start` on. */
  narrow(axis: number, start: number, length: number): Tensor {
    return new Tensor(movement.narrow(this.node, axis, start, length));
  }

  /** Elements begin[i], begin[i] + step[i], ... below end[i] of each axis; as NumPy's begin:end:step. */
  slice(begin: readonly number[], end?: readonly number[], step?: readonly number[]): Tensor {
    return new Tensor(movement.slice(this.node, begin, end, step));
  }

  /** Windows of `size` elements along an axis, `step` apart: [..., L, ...] to [..., count, ..., size]. */
  unfold(axis: number, size: number, step: number): Tensor {
    return new Tensor(movement.unfold(this.node, axis, size, step));
  }

  /** Reversed along axes. */
  flip(axes: number | readonly number[]): Tensor {
    return new Tensor(movement.flip(this.node, axes));
  }
}

export interface Tensor extends Unary<Tensor>, Binary<Tensor, TensorLike> {}

deriveMethods(Tensor, operand);

/** @internal Throws a DTypeError unless all of these, by their names, are tensors. */
export function checkTensors(op: string, given: Readonly<Record<string, unknown>>): void {
  for (const [name, x] of Object.entries(given))
    if (!(x instanceof Tensor)) throw new DTypeError(`${op}: ${name} must be a tensor, got ${String(x)}`);
}

/** @internal The node of a tensor; what is none is named. */
export function nodeOf(op: string, name: string, x: Tensor): Node {
  checkTensors(op, { [name]: x });
  return x.node;
}

/** @internal Numbers, which have no dtype of their own, as they are; tensors, arrays and booleans as nodes. */
export function operand(op: string, x: TensorLike): Operand {
  if (typeof x === "number") return x;
  return typeof x === "boolean" || Array.isArray(x) ? valuesLeaf(x) : nodeOf(op, "the operand", x as Tensor);
}

/** An index, a tensor or an array, as a node. */
function indexNode(op: string, index: Tensor | readonly (number | boolean)[]): Node {
  return index instanceof Tensor ? index.node : lookup.indexLeaf(op, index);
}
