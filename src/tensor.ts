/** @file Tensors: what users touch. A tensor is a node of the lazy graph; reading it computes it. */
import { arrayType, checkNumbers, converted, holds, type Numbers } from "./core/convert.ts";
import { allocate, checkDType, type DType, isFloat, promote, resultType, type TypedArray } from "./core/dtype.ts";
import { DisposedError, DTypeError, FourlaneError, IndexError, ShapeError, ValueError } from "./core/errors.ts";
import { checkOptions } from "./core/options.ts";
import {
  broadcast,
  checkCount,
  checkShape,
  inferReshape,
  normalizeAxes,
  normalizeAxis,
  numel,
  sameShape,
  type Shape,
  show,
  stridesOf,
} from "./core/shape.ts";
import { vjp } from "./diff/vjp.ts";
import { makeNode, type Node, type OpDef, toposort } from "./graph/node.ts";
import * as contract from "./ops/contract.ts";
import { cumsum } from "./ops/cumulative.ts";
import { add, apply, BINARY, cast, COMPARE, LOGICAL, SELECT, sub, UNARY } from "./ops/elementwise.ts";
import * as fused from "./ops/fused.ts";
import { constant, constantLike, constantValue } from "./ops/leaf.ts";
import * as lookup from "./ops/lookup.ts";
import { argsort } from "./ops/order.ts";
import * as structure from "./ops/structure.ts";
import * as window from "./ops/windows.ts";
import { bindingOf, dataLeaf, dataOf, keepValue, keptValue } from "./trace/bindings.ts";
import { evaluate } from "./trace/evaluate.ts";
import { currentTrace, guard, refuseRead } from "./trace/trace.ts";
import { Variable, variableOf } from "./trace/variable.ts";

/** Nested arrays of numbers or booleans. */
export type NestedArray = number | boolean | readonly NestedArray[];

/** What operations take beside tensors. */
export type TensorLike = Tensor | number | boolean | NestedArray;

export interface TensorOptions {
  /** Default: float32 for numbers, bool for booleans, the array's own type for typed arrays. */
  dtype?: DType;
  /** Whether backward() fills `.grad`. */
  requiresGrad?: boolean;
}

type Unary = { [K in keyof typeof UNARY]: () => Tensor };
type Binary = { [K in keyof typeof BINARY | keyof typeof COMPARE]: (other: TensorLike) => Tensor };

/** Which tensor's gradient a node's gradient is. */
const owners = new WeakMap<Node, WeakRef<Tensor>>();
/** The parameters that variables are the values of. */
const parameters = new WeakMap<Variable, WeakRef<Tensor>>();

/** @internal The tensor that a node is the value of, if backward() may fill its gradient. */
export function ownerOf(n: Node): Tensor | undefined {
  const variable = variableOf(n);
  return (owners.get(n) ?? (variable && parameters.get(variable)))?.deref();
}

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

  // --- gradients -------------------------------------------------------------------------------------------------------------

  /** Whether backward() fills `.grad`; only for float32. */
  get requiresGrad(): boolean {
    return this.needsGrad;
  }

  set requiresGrad(value: boolean) {
    if (value && !isFloat(this.dtype))
      throw new DTypeError(`requiresGrad: only float32 tensors have gradients, this one is ${this.dtype}`);
    this.needsGrad = value;
    if (value) owners.set(this.node, new WeakRef(this));
  }

  /** The gradient backward() left, or null. Assign null (or call zeroGrad of an optimiser) to start anew. */
  get grad(): Tensor | null {
    return this.gradient;
  }

  set grad(value: Tensor | null) {
    const trace = currentTrace();
    if (trace) {
      const before = this.gradient;
      trace.undo.push(() => {
        this.gradient = before;
      });
      if (value === null) trace.zeroed.add(this);
      else
        trace.checks.push(() => {
          if (this.gradient !== null && !trace.zeroed.has(this))
            throw new FourlaneError(
              "TRACE",
              `compile: the gradient of a tensor of shape ${show(this.shape)} would have to survive from one call to the ` +
                "next; call zeroGrad() inside the compiled function",
            );
        });
    }
    this.gradient = value;
  }

  /**
   * Adds the gradient of this tensor to `.grad` of every tensor with requiresGrad that it was made from. Without an
   * argument the tensor must have one element.
   */
  backward(gradient?: Tensor): void {
    const y = this.node;
    if (gradient) checkTensors("backward", { "the gradient": gradient });
    if (!gradient && numel(y.shape) !== 1)
      throw new ShapeError(
        `backward: the tensor has shape ${show(y.shape)}; give a gradient, or reduce it to one element`,
      );
    if (gradient && !sameShape(gradient.shape, y.shape))
      throw new ShapeError(`backward: the gradient has shape ${show(gradient.shape)}, the tensor ${show(y.shape)}`);
    const leaves: Node[] = [];
    const tensors: Tensor[] = [];
    for (const n of toposort([y], structure.isDetached)) {
      const binding = bindingOf(n);
      if (binding?.kind === "data" && binding.cut)
        throw new FourlaneError(
          "NO_GRADIENT",
          `backward: no gradient flows through a compiled function's result of shape ${show(n.shape)}; detach() it, or ` +
            "compile all of it",
        );
      const t = ownerOf(n);
      if (!t || !guard(() => t.requiresGrad)) continue;
      leaves.push(n);
      tensors.push(t);
    }
    if (leaves.length === 0)
      throw new FourlaneError(
        "NO_GRADIENT",
        "backward: the tensor does not depend on any tensor that requires a gradient",
      );
    const grads = vjp([y], [gradient ? gradient.node : constantLike(y, 1)], leaves);
    grads.forEach((g, i) => {
      if (!g) return;
      const t = tensors[i];
      t.grad = t.grad ? new Tensor(add(t.grad.node, g)) : new Tensor(g);
    });
  }

  /** The same value; no gradient flows through it. */
  detach(): Tensor {
    return new Tensor(structure.detach(this.node));
  }

  // --- reading ---------------------------------------------------------------------------------------------------------------

  /** Computes the tensor and resolves to its elements in row-major order. */
  async data(): Promise<TypedArray> {
    const { node } = this;
    const refused = refuseRead();
    if (refused) return refused;
    const binding = bindingOf(node);
    if (binding?.kind === "data") return (await binding.array).slice();
    const before = keptValue(node);
    if (before) return (await before).slice();
    // A parameter as it was when this was made of it.
    if (binding?.kind === "state") return binding.variable.read(binding.seen);
    const result = evaluate([node]).then(([array]) => array);
    // The node stays what it was: reading a tensor changes no gradient.
    keepValue(node, result);
    return (await result).slice();
  }

  /** Computes the tensor and resolves to its only element. */
  async item(): Promise<number> {
    if (this.numel() !== 1) throw new ShapeError(`item: the tensor has shape ${show(this.shape)}, not one element`);
    return (await this.data())[0];
  }

  /** Computes the tensor and resolves to nested arrays (a number for a scalar); booleans for bool. */
  async array(): Promise<NestedArray> {
    checkCount("array", "nested arrays", numel(this.shape.slice(0, -1)), 2 ** 24);
    const flat = await this.data();
    let at = 0;
    const build = (axis: number): NestedArray => {
      if (axis === this.shape.length) {
        const v = flat[at++];
        return this.dtype === "bool" ? v !== 0 : v;
      }
      return Array.from({ length: this.shape[axis] }, () => build(axis + 1));
    };
    return build(0);
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
    throw new TypeError(
      `${this.toString()} is no number: x.add(y), x.gt(y) and where(...) compute with tensors, outside of a compiled function ` +
        "await x.item() reads one",
    );
  }

  /** Later uses throw a DisposedError. Only of interest for large values: what is not referred to is freed anyway. */
  dispose(): void {
    if (this.isDisposed) return;
    this.isDisposed = true;
    this.own = dataLeaf(this.shape, this.dtype, allocate(this.dtype, 0));
  }

  // --- arithmetic beyond the tables ------------------------------------------------------------------------------------------

  /** Conversion to another dtype; to integers toward zero. */
  to(dtype: DType): Tensor {
    return new Tensor(cast(this.node, checkDType("to", dtype)));
  }

  /** Converted to float32. */
  float(): Tensor {
    return this.to("float32");
  }

  /**
   * The product of matrices over the last two axes, with broadcasting of the others; vectors as in PyTorch. Of integers modulo
   * 2^32 (2^8 for uint8), at a third of the speed.
   * @throws DTypeError unless both have one dtype: float32, int32 or uint8.
   */
  matmul(other: Tensor): Tensor {
    const a = this.node;
    checkTensors("matmul", { "the operand": other });
    const b = other.node;
    if (a.shape.length === 0 || b.shape.length === 0)
      throw new ShapeError(
        `matmul: shapes ${show(a.shape)} and ${show(b.shape)}: scalars cannot be multiplied as matrices`,
      );
    if (a.dtype !== b.dtype || a.dtype === "bool")
      throw new DTypeError(`matmul: dtypes ${a.dtype} and ${b.dtype}: both must be float32, int32 or uint8`);
    const x = wide(a.shape.length === 1 ? structure.reshape(a, [1, a.shape[0]]) : a);
    const y = wide(b.shape.length === 1 ? structure.reshape(b, [b.shape[0], 1]) : b);
    const [m, k] = x.shape.slice(-2);
    const [k2, n] = y.shape.slice(-2);
    if (k !== k2) throw new ShapeError(`matmul: shapes ${show(a.shape)} and ${show(b.shape)} cannot be multiplied`);
    let z: Node;
    let lead: readonly number[];
    if (y.shape.length === 2) {
      // One matrix on the right: all rows of the left are rows of one product.
      lead = x.shape.slice(0, -2);
      z = contract.matmul(structure.reshape(x, [numel(lead) * m, k]), y);
    } else {
      lead = broadcast("matmul", x.shape.slice(0, -2), y.shape.slice(0, -2));
      z = contract.matmul(structure.expand(x, [...lead, m, k]), structure.expand(y, [...lead, k, n]));
    }
    const shape = [...lead, ...(a.shape.length === 1 ? [] : [m]), ...(b.shape.length === 1 ? [] : [n])];
    return new Tensor(cast(structure.reshape(z, shape), a.dtype));
  }

  // --- reductions ------------------------------------------------------------------------------------------------------------

  /** Sum over the axes (default all), pairwise; integers and bool give int32. Backward copies the gradient. */
  sum(axis?: number | readonly number[], keepdim = false): Tensor {
    return reduce("sum", wide(this.node), axis, keepdim, structure.sum);
  }

  /** Product over the axes (default all); integers and bool give int32. Its derivatives are right where elements are 0. */
  prod(axis?: number | readonly number[], keepdim = false): Tensor {
    return reduce("prod", wide(this.node), axis, keepdim, structure.prod);
  }

  /** Sums of all elements up to each one along an axis; integers and bool give int32. */
  cumsum(axis: number): Tensor {
    const a = normalizeAxis("cumsum", axis, this.ndim);
    return ranked(this, (x) => new Tensor(cumsum(wide(x.node), a)));
  }

  /** Mean over the axes (default all). */
  mean(axis?: number | readonly number[], keepdim = false): Tensor {
    return reduce("mean", floatNode("mean", this.node), axis, keepdim, structure.mean);
  }

  /** Largest element over the axes (default all), NaN if there is one. Backward shares the gradient among ties. */
  max(axis?: number | readonly number[], keepdim = false): Tensor {
    return reduce("max", wide(this.node), axis, keepdim, structure.max).to(this.dtype);
  }

  /** Smallest element over the axes (default all), NaN if there is one. */
  min(axis?: number | readonly number[], keepdim = false): Tensor {
    return reduce("min", wide(this.node), axis, keepdim, structure.min).to(this.dtype);
  }

  /** int32 index of the first largest element along an axis; of the flattened tensor without one. */
  argmax(axis?: number, keepdim = false): Tensor {
    return argReduce("argmax", this.node, axis, keepdim, structure.argmax);
  }

  /** int32 index of the first smallest element along an axis; of the flattened tensor without one. */
  argmin(axis?: number, keepdim = false): Tensor {
    return argReduce("argmin", this.node, axis, keepdim, structure.argmin);
  }

  /** Variance over the axes, divided by n - correction. */
  var(axis?: number | readonly number[], options: { correction?: number; keepdim?: boolean } = {}): Tensor {
    const { correction = 1, keepdim = false } = checkOptions("var", options, { correction: true, keepdim: true });
    const x = floatNode("var", this.node);
    const axes = normalizeAxes("var", axis, x.shape.length);
    const centered = sub(x, structure.expandBack(structure.mean(x, axes), x.shape, axes));
    const total = structure.sum(apply(UNARY.square, centered), axes, keepdim);
    const count = numel(axes.map((a) => x.shape[a]));
    return new Tensor(apply(BINARY.div, total, constantLike(total, Math.max(0, count - correction))));
  }

  // --- rows ------------------------------------------------------------------------------------------------------------------

  /** e^x over its sum along an axis. */
  softmax(axis = -1): Tensor {
    return alongAxis("softmax", floatNode("softmax", this.node), axis, fused.softmax);
  }

  /** Logarithm of softmax, stable. */
  logSoftmax(axis = -1): Tensor {
    return alongAxis("logSoftmax", floatNode("logSoftmax", this.node), axis, fused.logSoftmax);
  }

  // --- order -----------------------------------------------------------------------------------------------------------------

  /** int32 positions along an axis in sorted order; stable, NaN counts as the largest. */
  argsort(axis = -1, descending = false): Tensor {
    const a = normalizeAxis("argsort", axis, this.ndim);
    return ranked(this, (x) => new Tensor(alongLast(wide(x.node), a, (n) => argsort(n, descending))));
  }

  /** [the elements along an axis in order, their int32 positions]; stable, NaN counts as the largest. */
  sort(axis = -1, descending = false): [Tensor, Tensor] {
    const positions = this.argsort(axis, descending);
    return [this.gather(axis, positions), positions];
  }

  /** [the k largest (or smallest) elements along an axis in order, their int32 positions]; the first of equals first. */
  topk(k: number, axis = -1, largest = true): [Tensor, Tensor] {
    const a = normalizeAxis("topk", axis, this.ndim);
    const extent = this.shape[a] ?? 1;
    if (!Number.isInteger(k) || k < 0 || k > extent)
      throw new ValueError(`topk: k must be from 0 to ${extent}, the extent of axis ${axis}, got ${k}`);
    const order = this.argsort(a, largest);
    const positions = this.ndim === 0 ? order : order.narrow(a, 0, k);
    return [this.gather(a, positions), positions];
  }

  // --- elements by index -------------------------------------------------------------------------------------------------------

  /**
   * What NumPy's x[...] gives, and PyTorch's: one item for each axis, from the first on.
   * An integer picks one place and drops the axis; "a:b", "a:b:step" with any of them left out is a slice; "..." stands for
   * as many ":" as fit; null inserts an axis; an integer tensor or array picks places (several are broadcast together); a
   * bool tensor or array picks where it is true, if its values are known (see maskedSelect).
   * @throws IndexError for an integer outside its axis; for one in a tensor, when the value is read.
   */
  index(...given: (number | string | null | Tensor | readonly number[] | readonly boolean[])[]): Tensor {
    const items = given.map((item) =>
      item === null || typeof item === "number" || typeof item === "string" ? item : indexTensor("index", item),
    );
    const axesOf = (item: (typeof items)[number]): number =>
      item === null || item === "..." ? 0 : item instanceof Tensor && item.dtype === "bool" ? item.ndim : 1;
    const named = items.reduce<number>((s, item) => s + axesOf(item), 0);
    if (named > this.ndim)
      throw new ShapeError(`index: ${named} axes are named, the tensor has shape ${show(this.shape)}`);
    if (items.filter((item) => item === "...").length > 1) throw new ValueError('index: only one item may be "..."');
    let x = asItIs(this);
    let axis = 0;
    const picked: { axis: number; index: Tensor }[] = [];
    for (const item of items) {
      if (item === null) x = x.unsqueeze(axis++);
      else if (item === "...") axis += this.ndim - named;
      else if (typeof item === "number") x = x.select(axis, item);
      else if (typeof item === "string") x = sliced(x, axis++, item);
      else if (item.dtype !== "bool") picked.push({ axis: axis++, index: item });
      else for (const places of whereTrue(item, x.shape.slice(axis))) picked.push({ axis: axis++, index: places });
    }
    return picked.length === 0 ? x : pick(x, picked);
  }

  /** The place `at` of an axis, which is dropped. */
  select(axis: number, at: number): Tensor {
    const a = normalizeAxis("select", axis, this.ndim);
    const extent = this.shape[a];
    if (extent === undefined) throw new ShapeError("select: a scalar has no axis to select from");
    if (!Number.isInteger(at) || at < -extent || at >= extent)
      throw new IndexError(
        `select: ${at} is out of range for axis ${axis} of shape ${show(this.shape)}`,
        at,
        extent,
        0,
      );
    return this.narrow(a, at, 1).squeeze(a);
  }

  /** The places along an axis that an integer index of rank 1 names. */
  indexSelect(axis: number, index: Tensor | readonly number[]): Tensor {
    const a = normalizeAxis("indexSelect", axis, this.ndim);
    const at = indexTensor("indexSelect", index, 1);
    const x = this.ndim === 0 ? this.reshape([1]) : this;
    const node = lookup.gather(wide(x.node), lookup.alongAxis(at.node, x.shape, a), a);
    const result = new Tensor(node).to(this.dtype);
    return this.ndim === 0 && at.numel() === 1 ? result.reshape([]) : result;
  }

  /** Element [..., index[..., i, ...], ...] along an axis; the index has as many axes and no larger extents off this one. */
  gather(axis: number, index: Tensor): Tensor {
    const { a, x, at } = lookedUp("gather", this, axis, index);
    const source = corner(x, at.shape, a);
    return new Tensor(lookup.gather(wide(source.node), at.node, a)).to(this.dtype).reshape(index.shape);
  }

  /** This, plus each element of source at the place along an axis that its index names. */
  scatterAdd(axis: number, index: Tensor, source: Tensor): Tensor {
    const { a, x, at } = lookedUp("scatterAdd", this, axis, index);
    const values = scattered("scatterAdd", x, at, source);
    if (at.numel() === 0) return asItIs(this);
    const sums = lookup.scatterAdd(wide(values.node), at.node, a, x.shape[a]);
    return x.add(new Tensor(padTo(sums, x.shape)).to(this.dtype)).reshape(this.shape);
  }

  /**
   * This, with each element of source (or a number) at the place along an axis that its index names; of several for one
   * place the last. With `reduce`, what is there is added to or multiplied instead.
   */
  scatter(axis: number, index: Tensor, source: Tensor | number, options: { reduce?: "add" | "multiply" } = {}): Tensor {
    const { a, x, at } = lookedUp("scatter", this, axis, index);
    const given = typeof source === "number" ? full(at.shape, source, { dtype: this.dtype }) : source;
    const { reduce: how } = checkOptions("scatter", options, { reduce: true });
    if (how === "add") return this.scatterAdd(axis, index, given);
    if (how !== undefined && how !== "multiply")
      throw new ValueError(`scatter: reduce must be "add" or "multiply", got ${String(how)}`);
    const values = scattered("scatter", x, at, given);
    if (at.numel() === 0) return asItIs(this);
    const last = new Tensor(lookup.scatterLast(at.node, a, x.shape[a]));
    const touched = last.ge(0);
    let written: Tensor;
    if (how === undefined) written = values.gather(a, where(touched, last, 0));
    else {
      // All factors of each place, side by side: [..., place, factor, ...].
      const place = arange(x.shape[a]).reshape(x.shape.flatMap((_, i) => (i === a ? [x.shape[a], 1] : [1])));
      const factors = where(at.unsqueeze(a).eq(place), values.unsqueeze(a), 1).prod(a + 1);
      written = corner(x, touched.shape, a).mul(factors);
    }
    const inside = new Tensor(padTo(touched.node, x.shape));
    return where(inside, new Tensor(padTo(written.to(this.dtype).node, x.shape)), x).reshape(this.shape);
  }

  /** This, plus alpha times each place of source along an axis, at the place an index of rank 1 names. */
  indexAdd(axis: number, index: Tensor, source: Tensor, options: { alpha?: number } = {}): Tensor {
    const a = normalizeAxis("indexAdd", axis, this.ndim);
    const at = indexTensor("indexAdd", index, 1);
    checkTensors("indexAdd", { "the source": source });
    const x = this.ndim === 0 ? this.reshape([1]) : this;
    const from = source.ndim === 0 ? source.reshape([1]) : source;
    const wanted = x.shape.map((d, i) => (i === a ? at.shape[0] : d));
    if (!sameShape(from.shape, wanted))
      throw new ShapeError(`indexAdd: the source has shape ${show(source.shape)}, ${show(wanted)} is wanted`);
    const { alpha = 1 } = checkOptions("indexAdd", options, { alpha: true });
    return x.scatterAdd(a, new Tensor(lookup.alongAxis(at.node, wanted, a)), from.mul(alpha)).reshape(this.shape);
  }

  // --- movement --------------------------------------------------------------------------------------------------------------

  /** The same elements under another shape; one extent may be -1. */
  reshape(...shape: number[] | [Shape]): Tensor {
    const to = (Array.isArray(shape[0]) ? shape[0] : shape) as number[];
    return new Tensor(structure.reshape(this.node, inferReshape("reshape", this.shape, to)));
  }

  /** Axes startAxis to endAxis merged into one. */
  flatten(startAxis = 0, endAxis = -1): Tensor {
    const r = this.ndim;
    const a = normalizeAxis("flatten", startAxis, r);
    const b = normalizeAxis("flatten", endAxis, r);
    if (a > b) throw new ValueError(`flatten: startAxis ${startAxis} lies behind endAxis ${endAxis}`);
    if (r === 0) return this.reshape([1]);
    return this.reshape([...this.shape.slice(0, a), numel(this.shape.slice(a, b + 1)), ...this.shape.slice(b + 1)]);
  }

  /** Axes in another order. */
  permute(...axes: number[] | [readonly number[]]): Tensor {
    const list = (Array.isArray(axes[0]) ? axes[0] : axes) as number[];
    const order = list.map((a) => normalizeAxis("permute", a, this.ndim));
    if (order.length !== this.ndim || new Set(order).size !== order.length)
      throw new ValueError(`permute: axes ${show(list)} do not name each axis of shape ${show(this.shape)} once`);
    return new Tensor(structure.permute(this.node, order));
  }

  /** Two axes swapped. */
  transpose(axis0: number, axis1: number): Tensor {
    const order = this.shape.map((_, i) => i);
    const a = normalizeAxis("transpose", axis0, this.ndim);
    const b = normalizeAxis("transpose", axis1, this.ndim);
    if (this.ndim === 0) return asItIs(this);
    order[a] = b;
    order[b] = a;
    return new Tensor(structure.permute(this.node, order));
  }

  /** The transpose of a matrix. */
  t(): Tensor {
    if (this.ndim > 2) throw new ShapeError(`t: the tensor has shape ${show(this.shape)}, more than 2 axes`);
    return this.ndim < 2 ? asItIs(this) : this.transpose(0, 1);
  }

  /** An axis of extent 1 inserted. */
  unsqueeze(axis: number): Tensor {
    const a = normalizeAxis("unsqueeze", axis, this.ndim + 1);
    return this.reshape([...this.shape.slice(0, a), 1, ...this.shape.slice(a)]);
  }

  /** Axes of extent 1 removed: all, or the named one. */
  squeeze(axis?: number): Tensor {
    const a = axis === undefined ? -1 : normalizeAxis("squeeze", axis, this.ndim);
    return this.reshape(this.shape.filter((d, i) => d !== 1 || (axis !== undefined && i !== a)));
  }

  /** Broadcast to a shape; -1 keeps an extent. */
  expand(...shape: number[] | [Shape]): Tensor {
    const to = (Array.isArray(shape[0]) ? shape[0] : shape) as number[];
    const lead = to.length - this.ndim;
    const full = to.map((d, i) => (d === -1 ? this.shape[i - lead] : d));
    if (!sameShape(broadcast("expand", this.shape, checkShape("expand", full)), full))
      throw new ShapeError(`expand: cannot expand ${show(this.shape)} to ${show(to)}`);
    return new Tensor(structure.expand(this.node, full));
  }

  /** `length` elements along an axis, from `start` on. */
  narrow(axis: number, start: number, length: number): Tensor {
    const a = normalizeAxis("narrow", axis, this.ndim);
    if (this.ndim === 0) throw new ShapeError("narrow: a scalar has no axis to narrow");
    const from = start < 0 ? start + this.shape[a] : start;
    if (
      !Number.isInteger(start) ||
      !Number.isInteger(length) ||
      from < 0 ||
      length < 0 ||
      from + length > this.shape[a]
    )
      throw new ValueError(
        `narrow: ${length} elements from ${start} on leave axis ${axis} of shape ${show(this.shape)}`,
      );
    const begin = this.shape.map((_, i) => (i === a ? from : 0));
    const size = this.shape.map((d, i) => (i === a ? length : d));
    return new Tensor(structure.slice(this.node, begin, size));
  }

  /** Elements begin[i], begin[i] + step[i], ... below end[i] of each axis; as NumPy's begin:end:step. */
  slice(begin: readonly number[], end?: readonly number[], step?: readonly number[]): Tensor {
    const { shape } = this;
    const clampTo = (v: number, d: number): number => Math.min(d, Math.max(0, v < 0 ? v + d : v));
    const from = shape.map((d, i) => clampTo(begin?.[i] ?? 0, d));
    const steps = shape.map((_, i) => step?.[i] ?? 1);
    const lists = [begin, end ?? [], step ?? []];
    if (
      lists.some((l) => !Array.isArray(l) || l.length > shape.length || l.some((v) => !Number.isInteger(v))) ||
      steps.some((s) => s < 1)
    )
      throw new ValueError(
        `slice: begin ${String(begin)}, end ${String(end)}, step ${String(step)} must be integers, at most one for each ` +
          `axis of shape ${show(shape)}, steps above 0`,
      );
    const size = shape.map((d, i) => Math.max(0, Math.ceil((clampTo(end?.[i] ?? d, d) - from[i]) / steps[i])));
    return new Tensor(structure.slice(this.node, from, size, steps));
  }

  /** Windows of `size` elements along an axis, `step` apart: [..., L, ...] to [..., count, ..., size]. */
  unfold(axis: number, size: number, step: number): Tensor {
    const a = normalizeAxis("unfold", axis, this.ndim);
    if (this.ndim === 0) return this.reshape([1]).unfold(0, size, step).reshape([size]);
    return new Tensor(window.windows(this.node, a, { size, step, dilation: 1 }));
  }

  /** Reversed along axes. */
  flip(axes: number | readonly number[]): Tensor {
    return new Tensor(structure.flip(this.node, normalizeAxes("flip", axes, this.ndim)));
  }

  // --- logic -----------------------------------------------------------------------------------------------------------------

  /** Elementwise not, of bool. */
  logicalNot(): Tensor {
    return new Tensor(apply(LOGICAL.not, cast(this.node, "bool")));
  }

  /** This where the condition holds, else other. */
  where(condition: Tensor, other: TensorLike): Tensor {
    return where(condition, this, other);
  }

  /** Limited to [low, high], numbers or tensors; the gradient flows to what the value is. */
  clamp(low?: TensorLike | null, high?: TensorLike | null): Tensor {
    const [min, max] = [low, high].map((v) => v != null && { limit: operand("clamp", v) });
    if (!min && !max) throw new ValueError("clamp: give at least one of low and high");
    // NaN is neither inside nor outside: it stays, and as a limit it spreads.
    const limited = (x: Tensor, limit: Tensor | number, inside: Tensor): Tensor =>
      where(new Tensor(apply(LOGICAL.or, inside.node, structure.expand(x.ne(x).node, inside.shape))), x, limit);
    let x: Tensor = this;
    if (min) x = limited(x, min.limit, x.ge(min.limit));
    if (max) x = limited(x, max.limit, x.le(max.limit));
    return x;
  }
}

export interface Tensor extends Unary, Binary {}

for (const [name, op] of Object.entries(UNARY))
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor): Tensor {
      return unary(op, this);
    },
  });
for (const [name, op] of Object.entries({ ...BINARY, ...COMPARE }))
  Object.defineProperty(Tensor.prototype, name, {
    value(this: Tensor, other: TensorLike): Tensor {
      return binary(op, this, other);
    },
  });
// What console.log shows in Node.
Object.defineProperty(Tensor.prototype, Symbol.for("nodejs.util.inspect.custom"), {
  value(this: Tensor): string {
    return this.toString();
  },
});
if (typeof Symbol.dispose === "symbol")
  Object.defineProperty(Tensor.prototype, Symbol.dispose, {
    value(this: Tensor): void {
      this.dispose();
    },
  });

// --- helpers -------------------------------------------------------------------------------------------------------------------

/**
 * @internal The result of an operation that leaves a tensor as it is. Not the tensor itself: a parameter would follow its
 * later changes.
 */
export function asItIs(x: Tensor): Tensor {
  return new Tensor(x.node);
}

/** bool and uint8 as int32, where a kernel takes elements of 4 bytes. */
function wide(n: Node): Node {
  return isFloat(n.dtype) ? n : cast(n, "int32");
}

function floatNode(op: string, n: Node): Node {
  if (!isFloat(n.dtype)) throw new DTypeError(`${op}: dtype ${n.dtype} is not supported, only float32`);
  return n;
}

function reduce(
  op: string,
  x: Node,
  axis: number | readonly number[] | undefined,
  keepdim: boolean,
  f: (x: Node, axes: readonly number[], keepdim?: boolean) => Node,
): Tensor {
  return new Tensor(f(x, normalizeAxes(op, axis, x.shape.length), keepdim));
}

function argReduce(
  op: string,
  x: Node,
  axis: number | undefined,
  keepdim: boolean,
  f: (x: Node, axis: number, keepdim?: boolean) => Node,
): Tensor {
  const n = wide(x);
  const a = axis === undefined ? 0 : normalizeAxis(op, axis, n.shape.length);
  const flat = axis === undefined || n.shape.length === 0 ? structure.reshape(n, [numel(n.shape)]) : n;
  return new Tensor(n.shape.length === 0 ? f(flat, 0) : f(flat, a, axis !== undefined && keepdim));
}

function alongAxis(op: string, x: Node, axis: number, f: (x: Node) => Node): Tensor {
  const a = normalizeAxis(op, axis, x.shape.length);
  return ranked(new Tensor(x), (y) => new Tensor(alongLast(y.node, a, f)));
}

/** f, which takes tensors of rank 1 or more; scalars too. */
function ranked(x: Tensor, f: (x: Tensor) => Tensor): Tensor {
  return x.ndim === 0 ? f(x.reshape([1])).reshape([]) : f(x);
}

/** f, which works along the last axis, along axis a. */
function alongLast(x: Node, a: number, f: (x: Node) => Node): Node {
  const last = x.shape.length - 1;
  if (a === last) return f(x);
  const order = x.shape.map((_, i) => (i === a ? last : i === last ? a : i));
  return structure.permute(f(structure.permute(x, order)), order);
}

/** Unary operations on integers, which stay integers; others convert them to float32. */
const ON_INTEGERS = new Map<OpDef, (x: Tensor) => Tensor>([
  ...[UNARY.neg, UNARY.abs, UNARY.sign].map((op) => [op, (x: Tensor) => new Tensor(apply(op, x.node))] as const),
  ...[UNARY.floor, UNARY.ceil, UNARY.round, UNARY.trunc].map((op) => [op, asItIs] as const),
  [UNARY.square, (x) => x.mul(x)],
  [UNARY.relu, (x) => x.maximum(0)],
]);

function unary(op: OpDef, x: Tensor): Tensor {
  const n = x.node;
  if (isFloat(n.dtype)) return new Tensor(apply(op, n));
  const onIntegers = ON_INTEGERS.get(op);
  if (onIntegers) {
    if (n.dtype === "bool") throw new DTypeError(`${op.name}: dtype bool is not supported`);
    return onIntegers(x);
  }
  // A function of real numbers: integers are converted, as in PyTorch.
  return new Tensor(apply(op, cast(n, "float32")));
}

/** What an operand counts for in the dtype of the result. An integer a tensor's dtype cannot hold counts as float32. */
function standing(x: Tensor | number): Parameters<typeof resultType>[0][number] {
  if (x instanceof Tensor) return { dtype: x.dtype, standing: x.ndim > 0 ? "tensor" : "scalar" };
  return { dtype: Number.isInteger(x) && Math.abs(x) < 2 ** 31 ? "int32" : "float32", standing: "number" };
}

/** Operands with one dtype and shape. */
function alike(xs: readonly (Tensor | number)[], shape: Shape, dtype: DType): Node[] {
  return xs.map((x) => {
    if (x instanceof Tensor) {
      const { node } = x;
      const value = node.shape.length === 0 ? constantValue(node) : undefined;
      return value === undefined || node.dtype !== dtype
        ? structure.expand(cast(node, dtype), shape)
        : constant(value, shape, dtype);
    }
    return constant(dtype === "uint8" ? x & 255 : dtype === "bool" ? Number(x !== 0) : x, shape, dtype);
  });
}

/** What arithmetic is on bool. */
const ON_BOOL = new Map<OpDef, OpDef>([
  [BINARY.add, LOGICAL.or],
  [BINARY.mul, LOGICAL.and],
  [BINARY.maximum, LOGICAL.or],
  [BINARY.minimum, LOGICAL.and],
]);

function binary(op: OpDef, a: Tensor, b: TensorLike): Tensor {
  const y = operand(op.name, b);
  let dtype = resultType([a, y].map(standing));
  const comparison = op.name in COMPARE;
  if (op === BINARY.div || op === BINARY.atan2) dtype = "float32";
  // Compared as numbers, not as what is left of them in 8 bits.
  else if (comparison && dtype === "uint8" && typeof y === "number") dtype = "int32";
  const shape = y instanceof Tensor ? broadcast(op.name, a.shape, y.shape) : a.shape;
  const onBool = dtype === "bool" && !comparison ? ON_BOOL.get(op) : op;
  if (!onBool) throw new DTypeError(`${op.name}: dtypes bool and bool are not supported`);
  return new Tensor(makeNode(onBool, alike([a, y], shape, dtype)));
}

// --- elements by index -----------------------------------------------------------------------------------------------------------

/** An index as an int32 (or bool) tensor; of rank 1 if that is wanted, where a scalar counts as one element. */
function indexTensor(op: string, index: Tensor | readonly (number | boolean)[], rank?: number): Tensor {
  if (!(index instanceof Tensor || Array.isArray(index)))
    throw new DTypeError(`${op}: an index must be a tensor or an array of integers, got ${String(index)}`);
  let t = index instanceof Tensor ? index : tensor(index as NestedArray);
  if (t !== index && t.dtype === "float32" && dataOf(t.node)?.every(Number.isInteger))
    t = tensor(index as NestedArray, { dtype: "int32" });
  if (isFloat(t.dtype) || (t.dtype === "bool" && rank !== undefined))
    throw new DTypeError(`${op}: an index holds integers (dtype int32), got ${t.dtype}`);
  const at = rank === 1 && t.ndim === 0 ? t.reshape([1]) : t;
  if (rank !== undefined && at.ndim !== rank)
    throw new ShapeError(`${op}: the index must have rank ${rank}, got shape ${show(t.shape)}`);
  return t.dtype === "uint8" ? at.to("int32") : at;
}

/** The operands of gather and scatter with scalars as rank 1, checked. */
function lookedUp(op: string, x: Tensor, axis: number, index: Tensor): { a: number; x: Tensor; at: Tensor } {
  checkTensors(op, { "the index": index });
  const a = normalizeAxis(op, axis, x.ndim);
  const t = indexTensor(op, index);
  if (t.dtype === "bool") throw new DTypeError(`${op}: an index holds integers (dtype int32), got bool`);
  const [y, at] = [x, t].map((v) => (v.ndim === 0 ? v.reshape([1]) : v));
  if (y.ndim !== at.ndim || at.shape.some((d, i) => i !== a && d > y.shape[i]))
    throw new ShapeError(
      `${op}: the index ${show(index.shape)} does not fit ${show(x.shape)}: as many axes, none larger but axis ${axis}`,
    );
  return { a, x: y, at };
}

/** The first elements of source along each axis, as many as the index has. */
function scattered(op: string, x: Tensor, index: Tensor, source: Tensor): Tensor {
  checkTensors(op, { "the source": source });
  const from = source.ndim === 0 ? source.reshape([1]) : source;
  if (source.dtype !== x.dtype)
    throw new DTypeError(`${op}: the source has dtype ${source.dtype}, the tensor ${x.dtype}`);
  if (from.ndim !== index.ndim || index.shape.some((d, i) => d > from.shape[i]))
    throw new ShapeError(`${op}: the index ${show(index.shape)} leaves the source ${show(source.shape)}`);
  return corner(from, index.shape);
}

/** The first elements along each axis but one, as many as in `shape`. */
function corner(x: Tensor, shape: Shape, except = -1): Tensor {
  const size = shape.map((d, i) => (i === except ? x.shape[i] : d));
  return new Tensor(
    structure.slice(
      x.node,
      size.map(() => 0),
      size,
    ),
  );
}

/** With zeros behind along each axis, up to a shape. */
function padTo(n: Node, shape: Shape): Node {
  return structure.pad(
    n,
    shape.map(() => 0),
    shape,
  );
}

/** A slice "begin:end:step" of an axis. */
function sliced(x: Tensor, axis: number, text: string): Tensor {
  const parts = /^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(\d+)?\s*)?$/.exec(text);
  if (!parts) throw new ValueError(`index: "${text}" is no slice begin:end:step (with a step above 0), and not "..."`);
  const [begin, end, step] = parts.slice(1).map((v) => (v === undefined ? undefined : Number(v)));
  const along = <T>(v: T, others: T[]): T[] => others.map((o, i) => (i === axis ? v : o));
  return x.slice(
    along(
      begin ?? 0,
      x.shape.map(() => 0),
    ),
    along(end ?? x.shape[axis], [...x.shape]),
    along(
      step ?? 1,
      x.shape.map(() => 1),
    ),
  );
}

/** Where a mask over the first axes of a shape is true: one index for each of its axes. */
function whereTrue(mask: Tensor, shape: Shape): Tensor[] {
  if (mask.ndim === 0) throw new ShapeError("index: a mask must have an axis, one element alone is none");
  if (!sameShape(mask.shape, shape.slice(0, mask.ndim)))
    throw new ShapeError(`index: the mask ${show(mask.shape)} does not fit the axes ${show(shape)}`);
  const values = dataOf(mask.node);
  if (!values)
    throw new FourlaneError(
      "TRACE",
      "index: the mask's values are not known yet: await maskedSelect or nonzero, or use where",
    );
  return truePlaces(values, mask.shape);
}

/** @internal Where the elements of a tensor of this shape are not 0: one int32 index for each axis. */
export function truePlaces(values: TypedArray, shape: Shape): Tensor[] {
  const places: number[] = [];
  values.forEach((v, i) => {
    if (v !== 0) places.push(i);
  });
  return stridesOf(shape).map((s, axis) =>
    tensor(
      Int32Array.from(places, (p) => Math.floor(p / s) % shape[axis]),
      [places.length],
    ),
  );
}

/** The elements of x that index tensors along some of its axes name, as in NumPy: the new axes stand where the old ones did. */
function pick(x: Tensor, picked: readonly { axis: number; index: Tensor }[]): Tensor {
  const axes = picked.map((p) => p.axis);
  const shape = picked.map((p) => p.index.shape).reduce((s, t) => broadcast("index", s, t));
  const rest = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const extents = axes.map((a) => x.shape[a]);
  const strides = stridesOf(extents);
  const places = picked.map(({ axis, index }, k) => {
    const extent = x.shape[axis];
    const at = where(index.lt(0), index.add(extent), index);
    if (picked.length === 1) return at;
    // Looked up once by itself: one that is out of range must not become another place of the axes taken together.
    return arange(extent).indexSelect(0, at.flatten()).reshape(at.shape).mul(strides[k]);
  });
  const flat = places.reduce((s, t) => s.add(t)).expand(shape);
  const moved = x.permute([...axes, ...rest]).reshape([numel(extents), ...rest.map((i) => x.shape[i])]);
  const result = moved.indexSelect(0, flat.flatten()).reshape([...shape, ...rest.map((i) => x.shape[i])]);
  // Neighbouring axes keep their place; others move to the front.
  const front = axes.every((a, k) => k === 0 || a === axes[k - 1] + 1) ? axes[0] : 0;
  const order = [...rest.keys()].map((i) => i + shape.length);
  return result.permute([...order.slice(0, front), ...shape.keys(), ...order.slice(front)]);
}

/** @internal Throws a DTypeError unless all of these, by their names, are tensors. */
export function checkTensors(op: string, given: Readonly<Record<string, unknown>>): void {
  for (const [name, x] of Object.entries(given))
    if (!(x instanceof Tensor)) throw new DTypeError(`${op}: ${name} must be a tensor, got ${String(x)}`);
}

/** @internal Numbers, which have no dtype of their own, and tensors as they are; arrays and booleans as tensors. */
export function operand(op: string, x: TensorLike): Tensor | number {
  if (typeof x === "number") return x;
  if (typeof x !== "boolean" && !Array.isArray(x)) checkTensors(op, { "the operand": x });
  return x instanceof Tensor ? x : tensor(x);
}

// --- making tensors ----------------------------------------------------------------------------------------------------------

/**
 * A tensor of the given values: a number, nested arrays, or a typed array with a shape. Values are copied.
 * @param values Numbers or booleans. Float64Array is rounded to float32.
 * @param shapeOrOptions The shape (default: as nested), or options.
 */
export function tensor(
  values: NestedArray | TypedArray | Float64Array | Uint8ClampedArray,
  shapeOrOptions?: Shape | TensorOptions,
  options?: TensorOptions,
): Tensor {
  const given = Array.isArray(shapeOrOptions) ? (shapeOrOptions as Shape) : undefined;
  const named = options === undefined && !given ? (shapeOrOptions as TensorOptions | undefined) : options;
  const opts = checkOptions("tensor", named, { dtype: true, requiresGrad: true });
  let flat: ArrayLike<number>;
  let shape: Shape;
  let dtype: DType;
  if (ArrayBuffer.isView(values)) {
    checkNumbers("tensor: the values", values);
    const type = arrayType(values);
    if (type.startsWith("Big"))
      throw new DTypeError(
        "tensor: there is no int64; give the numbers as an Int32Array (or Array.from(values, Number))",
      );
    flat = values as ArrayLike<number>;
    shape = given ?? [flat.length];
    dtype = type === "Int32Array" ? "int32" : type.startsWith("Uint8") ? "uint8" : "float32";
  } else {
    const nested = flatten(values);
    flat = nested.flat;
    shape = given ?? nested.shape;
    dtype = nested.boolean ? "bool" : "float32";
  }
  checkShape("tensor", shape);
  if (opts.dtype !== undefined) dtype = checkDType("tensor", opts.dtype);
  if (numel(shape) !== flat.length)
    throw new ShapeError(`tensor: ${flat.length} values do not fill shape ${show(shape)}`);
  const array = allocate(dtype, flat.length);
  if (dtype === "bool") for (let i = 0; i < flat.length; i++) array[i] = flat[i] ? 1 : 0;
  else array.set(flat);
  if ((dtype === "int32" || dtype === "uint8") && array.constructor !== values.constructor) {
    const bad = array.findIndex((v, i) => v !== Math.trunc(flat[i]));
    if (bad >= 0) throw new ValueError(`tensor: ${flat[bad]} is no value of dtype ${dtype}`);
  }
  const t = new Tensor(dataLeaf([...shape], dtype, array));
  if (opts.requiresGrad) t.requiresGrad = true;
  return t;
}

/** Deepest nesting of arrays: no shape has as many axes. */
const DEEPEST = 64;

function flatten(values: NestedArray): { flat: number[]; shape: number[]; boolean: boolean } {
  const shape: number[] = [];
  for (let v: NestedArray = values; Array.isArray(v); v = v[0]) {
    if (shape.push(v.length) > DEEPEST)
      throw new ShapeError(`tensor: arrays are nested more than ${DEEPEST} deep, or hold themselves`);
  }
  // Few arrays that hold each other many times are a lot to walk.
  checkCount("tensor", "numbers in nested arrays", numel(shape.map((d) => d || 1)), 2 ** 26);
  const flat: number[] = [];
  let boolean = true;
  const walk = (v: NestedArray, axis: number): void => {
    if (!Array.isArray(v)) {
      if (axis !== shape.length) throw new ShapeError("tensor: nested arrays have different depths");
      if (typeof v !== "number" && typeof v !== "boolean")
        throw new DTypeError(`tensor: values must be numbers or booleans, got ${typeof v}`);
      if (typeof v === "number") boolean = false;
      flat.push(Number(v));
      return;
    }
    if (axis >= shape.length || v.length !== shape[axis])
      throw new ShapeError(`tensor: nested arrays have different lengths at depth ${axis}`);
    for (const x of v) walk(x, axis + 1);
  };
  walk(values, 0);
  return { flat, shape, boolean: boolean && flat.length > 0 };
}

function filled(op: string, shape: Shape, value: number, options: { dtype?: DType }): Tensor {
  return new Tensor(
    constant(
      value,
      checkShape(op, shape),
      checkDType(op, checkOptions(op, options, { dtype: true }).dtype ?? "float32"),
    ),
  );
}

/** A tensor of one value. */
export function full(shape: Shape, value: number, options: { dtype?: DType } = {}): Tensor {
  if (typeof value !== "number" && typeof value !== "boolean")
    throw new DTypeError(`full: value must be a number or a boolean, got ${String(value)}`);
  const { dtype = "float32" } = options ?? {};
  // As tensor() has it: fractions are cut off, what is out of range is no value.
  if ((dtype === "int32" || dtype === "uint8") && !holds(dtype, Math.trunc(Number(value))))
    throw new ValueError(`full: ${value} is no value of dtype ${dtype}`);
  return filled("full", shape, Number(value), options);
}

export function zeros(shape: Shape, options: { dtype?: DType } = {}): Tensor {
  return filled("zeros", shape, 0, options);
}

export function ones(shape: Shape, options: { dtype?: DType } = {}): Tensor {
  return filled("ones", shape, 1, options);
}

/** start, start + step, ... below end; int32 if all three are integers, else float32. */
export function arange(start: number, end?: number, step = 1): Tensor {
  const [from, to] = end === undefined ? [0, start] : [start, end];
  if (!Number.isFinite(from) || !Number.isFinite(to) || !Number.isFinite(step) || step === 0)
    throw new ValueError(`arange: start ${from}, end ${to} and step ${step} must be finite, the step not 0`);
  const n = Math.max(0, Math.ceil((to - from) / step));
  const i = new Tensor(structure.iota(checkShape("arange", [n])));
  return [from, step].every(Number.isInteger) && Number.isInteger(to)
    ? i.mul(step).add(from)
    : i.float().mul(step).add(from);
}

// --- functions of several tensors ----------------------------------------------------------------------------------------------

/**
 * a where the condition holds, else b; with broadcasting. The gradient of the branch not taken is 0, whatever its slope, through
 * the elementwise operations that made it too: where(x.gt(0), x.log(), 0) has a gradient at 0, unlike PyTorch's (NaN).
 */
export function where(condition: Tensor, a: TensorLike, b: TensorLike): Tensor {
  checkTensors("where", { "the condition": condition });
  const branches = [a, b].map((v) => operand("where", v));
  // Two bare numbers are float32, as in tensor().
  const dtype = branches.some((v) => v instanceof Tensor) ? resultType(branches.map(standing)) : "float32";
  const shape = branches.reduce<Shape>(
    (s, v) => (typeof v === "number" ? s : broadcast("where", s, v.shape)),
    condition.shape,
  );
  const c = structure.expand(cast(condition.node, "bool"), shape);
  return new Tensor(makeNode(SELECT.where, [c, ...alike(branches, shape, dtype)]));
}

function checkList(op: string, tensors: readonly Tensor[]): void {
  if (!Array.isArray(tensors)) throw new ValueError(`${op}: an array of tensors is wanted, got ${String(tensors)}`);
  if (tensors.length === 0) throw new ValueError(`${op}: give at least one tensor`);
  tensors.forEach((t, i) => checkTensors(op, { [`tensor ${i}`]: t }));
}

/** Tensors side by side along an axis. */
export function cat(tensors: readonly Tensor[], axis = 0): Tensor {
  checkList("cat", tensors);
  if (tensors.some((t) => t.ndim === 0)) throw new ShapeError("cat: scalars cannot be put side by side; use stack");
  const a = normalizeAxis("cat", axis, tensors[0].ndim);
  const dtype = tensors.map((t) => t.dtype).reduce(promote);
  return new Tensor(
    structure.concat(
      tensors.map((t) => cast(t.node, dtype)),
      a,
    ),
  );
}

/** Tensors of one shape along a new axis. */
export function stack(tensors: readonly Tensor[], axis = 0): Tensor {
  checkList("stack", tensors);
  for (const t of tensors)
    if (!sameShape(t.shape, tensors[0].shape))
      throw new ShapeError(`stack: shapes ${show(tensors[0].shape)} and ${show(t.shape)} differ`);
  return cat(
    tensors.map((t) => t.unsqueeze(axis)),
    normalizeAxis("stack", axis, tensors[0].ndim + 1),
  );
}

/** The product of matrices; see Tensor.matmul. */
export function matmul(a: Tensor, b: Tensor): Tensor {
  checkTensors("matmul", { a });
  return a.matmul(b);
}

// --- parameters ----------------------------------------------------------------------------------------------------------------

/** A tensor that training changes. Its value lives in the workers' memory between steps. */
export class Parameter extends Tensor {
  /** @internal */
  readonly variable: Variable;

  /** Takes a tensor's value; a lazy one is computed with the first use. */
  constructor(value: Tensor, options: { requiresGrad?: boolean } = {}) {
    checkTensors("Parameter", { "the value": value });
    const variable = new Variable(value.shape, value.dtype, dataOf(value.node)?.slice() ?? value.node);
    super(value.node);
    this.variable = variable;
    parameters.set(variable, new WeakRef(this));
    const { requiresGrad = isFloat(value.dtype) } = checkOptions("Parameter", options, { requiresGrad: true });
    if (requiresGrad) this.requiresGrad = true;
  }

  override get node(): Node {
    // A compiled step was recorded for parameters that train, or do not: whichever it was must still hold.
    if (currentTrace()) guard(() => this.requiresGrad);
    return this.variable.node;
  }

  /**
   * Sets the value, from a tensor of the same shape and dtype, or from its elements in row-major order (copied).
   * @throws ValueError for an element that the dtype cannot hold; float32 is rounded, integers must be exact.
   */
  assign(value: Tensor | Numbers): void {
    if (value instanceof Tensor) {
      this.variable.assign(value.node);
      return;
    }
    checkNumbers("assign: the value", value);
    if (value.length !== this.numel())
      throw new ShapeError(`assign: ${value.length} values for a parameter of shape ${show(this.shape)}`);
    this.variable.set(converted("assign", value, this.dtype));
  }

  override get [Symbol.toStringTag](): string {
    return "Parameter";
  }

  override async data(): Promise<TypedArray> {
    const refused = refuseRead();
    if (refused) return refused;
    return this.variable.read();
  }

  override dispose(): void {
    this.variable.dispose();
  }
}

/** A value that belongs to a module's state but is not trained: running statistics, counts. */
export class Buffer extends Parameter {
  constructor(value: Tensor) {
    super(value, { requiresGrad: false });
  }

  override get [Symbol.toStringTag](): string {
    return "Buffer";
  }
}
