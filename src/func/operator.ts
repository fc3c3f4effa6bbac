/** @file The Jacobian as a linear operator: never materialised, with the structure that the graph gives it. */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { isFloat } from "../core/dtype.ts";
import { numel, sameShape, show } from "../core/shape.ts";
import { jvp as forward } from "../diff/jvp.ts";
import {
  type Axis,
  extents,
  type Sparsity,
  sparsityOf,
  type Structure,
  structureOf,
  tied,
  untied,
} from "../diff/sparsity.ts";
import { nameOf, type Selection, selectionOf } from "../diff/selection.ts";
import { vjp as reverse } from "../diff/vjp.ts";
import type { Node } from "../graph/node.ts";
import { apply, COMPARE, LOGICAL, where } from "../ops/elementwise.ts";
import { constant, constantLike, iota, leaf } from "../ops/leaf.ts";
import { expand, flip, permute, reshape, slice } from "../ops/movement.ts";
import { checkTensors, Tensor } from "../tensor/tensor.ts";
import { dataLeaf, dataOf } from "../trace/bindings.ts";
import { transformed } from "../trace/trace.ts";
import { onVectors } from "./jacobian.ts";
import { asInputs } from "./transforms.ts";

export type { Structure };

/** The most that toDense() materialises: 2^26 elements, 256 MiB. */
const DENSE_LIMIT = 2 ** 26;

const product = (axes: readonly Axis[]): number => numel(extents(axes));
const varying = (axes: readonly Axis[]): Axis[] => axes.filter((a) => a.varies);

/** Elements with one axis for each of `axes`. */
interface Values {
  readonly node: Node;
  readonly axes: readonly Axis[];
}

/** The positions along axis k of a shape, all over it. */
function positions(shape: readonly number[], k: number): Node {
  return expand(
    reshape(
      iota([shape[k]]),
      shape.map((d, i) => (i === k ? d : 1)),
    ),
    shape,
  );
}

/** 1 where all conditions hold, else 0; or values instead of 1. */
function masked(conditions: readonly Node[], values: Node): Node {
  if (conditions.length === 0) return values;
  const all = conditions.reduce((a, b) => apply(LOGICAL.and, a, b));
  return where(all, values, constantLike(values, 0));
}

/**
 * The elements that may differ from each other, by sending one vector through the map for each place along the varying axes
 * of `from` that are not tied. It has ones wherever a tie leaves a single element of a row.
 */
function probed(
  p: Sparsity,
  from: "rows" | "columns",
  shape: readonly number[],
  map: (v: Node) => Node | null,
): Values {
  const sent = p[from];
  const found = from === "rows" ? p.columns : p.rows;
  const alone = untied(p, from);
  const each = varying(alone);
  const grid = [...extents(each), ...extents(sent)];
  const conditions = alone.map((a) => {
    const at = positions(grid, each.length + sent.indexOf(a));
    return apply(COMPARE.eq, at, a.varies ? positions(grid, each.indexOf(a)) : constantLike(at, 0));
  });
  const vectors = reshape(masked(conditions, constant(1, grid)), [product(each), ...shape]);
  const [result] = onVectors(vectors, (v) => [map(v)]);
  if (!result) return { node: constant(0), axes: [] };
  const split = reshape(result, [...extents(each), ...extents(found)]);
  const size = [...each, ...found].map((a, k) => (k < each.length || a.varies ? a.extent : 1));
  const axes = [...each, ...varying(found)];
  const kept = reshape(
    slice(
      split,
      size.map(() => 0),
      size,
    ),
    extents(axes),
  );
  // A reversed tie counts by its row.
  const back = axes.flatMap((a, k) =>
    from === "rows" && a.reversed && p.rows.includes(a) && k >= each.length ? k : [],
  );
  return { node: flip(kept, back), axes };
}

/** The values with the given axes, all that vary among them: in this order, repeated along the others. */
function laidOut({ node, axes }: Values, order: readonly Axis[]): Node {
  const sorted = permute(
    node,
    order.filter((a) => axes.includes(a)).map((a) => axes.indexOf(a)),
  );
  const shape = order.map((a) => (axes.includes(a) ? a.extent : 1));
  return expand(reshape(sorted, shape), extents(order));
}

/**
 * The Jacobian of a function at a point, a linear map from its argument to its result: see jacobianOperator. What its methods
 * return is computed when it is read, and is part of the graph as usual: it can be differentiated and compiled.
 */
export class JacobianOperator {
  /** [elements of the result, elements of the argument] */
  readonly shape: readonly [number, number];
  /** What the graph says about its elements. */
  readonly structure: Structure;
  /** Bytes of the elements that the structure leaves open: of `blocks()`, with equal ones once. None for ones and zeros. */
  readonly bytes: number;
  /** Bytes of all elements: 4 * shape[0] * shape[1]. */
  readonly denseBytes: number;
  private readonly argument: Node;
  private readonly result: Node;
  private readonly sparsity: Sparsity | null;
  /** What the sparsity does not say, of one that is a selection. */
  private readonly selection: Selection | null;

  /** @internal Use jacobianOperator(). */
  constructor(argument: Node, result: Node) {
    const tangent = leaf(argument.shape, "float32");
    const [image] = forward([result], [argument], [tangent]);
    const p = image && sparsityOf(image, tangent);
    this.argument = argument;
    this.result = result;
    this.sparsity = p;
    this.shape = [numel(result.shape), numel(argument.shape)];
    const [m, n] = this.shape;
    const structure = structureOf(p);
    const dense = structure === "dense";
    const found =
      image && (dense || (m === n && ["kronecker", "block-diagonal"].includes(structure)))
        ? selectionOf(image, tangent, dataOf)
        : null;
    const name = found ? nameOf(found, n) : "selection";
    this.selection = dense || name !== "selection" ? found : null;
    this.structure = this.selection ? name : structure;
    if (this.selection) this.bytes = this.selection.ones ? 0 : 4 * m;
    else this.bytes = !p || p.ones ? 0 : 4 * product(varying([...p.rows, ...untied(p, "columns")]));
    this.denseBytes = 4 * this.shape[0] * this.shape[1];
  }

  /**
   * J v, by forward mode: v has the shape of the argument, the product that of the result.
   * @throws ShapeError or DTypeError for a vector unlike the argument.
   */
  jvp(v: Tensor): Tensor {
    const tangent = vector("jvp", "the tangent", v, this.argument);
    return new Tensor(this.forward(tangent) ?? constantLike(this.result, 0));
  }

  /**
   * J^T u, by reverse mode: u has the shape of the result, the product that of the argument.
   * @throws ShapeError or DTypeError for a vector unlike the result.
   */
  vjp(u: Tensor): Tensor {
    const cotangent = vector("vjp", "the cotangent", u, this.result);
    return new Tensor(this.reverse(cotangent) ?? constantLike(this.argument, 0));
  }

  /**
   * The diagonal of a diagonal Jacobian, in the shape of the argument: J v is diagonal() times v.
   * @throws ValueError unless the structure is "diagonal" or "identity".
   */
  diagonal(): Tensor {
    if (!this.isDiagonal)
      throw new ValueError(`diagonal: the Jacobian ${show(this.shape)} is ${this.structure}, not diagonal`);
    const ones = constantLike(this.argument, 1);
    return new Tensor(reshape(this.forward(ones) as Node, this.argument.shape));
  }

  /**
   * The blocks, repeated or side by side, [blocks, rows, columns]: W as [1, out, in] where the structure is "kronecker" with
   * W, a block for each row of a softmax, [n, 1, 1] for a diagonal of n elements, [1, m, n] where it is "dense"; for a selection
   * the factors, [m, 1, 1], or [1, 1, 1] if all are 1.
   * @throws ValueError where it is "zero"; ShapeError if computing it would take 2^30 elements or more.
   */
  blocks(): Tensor {
    const p = this.sparsity;
    if (!p) throw new ValueError(`blocks: the Jacobian ${show(this.shape)} is zero, it has none`);
    if (this.selection) {
      const factors = this.factors(this.selection);
      return new Tensor(reshape(factors, [numel(factors.shape), 1, 1]));
    }
    const [ties, rows, columns] = [varying(tied(p)), untied(p, "rows"), untied(p, "columns")];
    const node = laidOut(this.values("blocks", p), [...ties, ...rows, ...columns]);
    return new Tensor(reshape(node, [product(ties), product(rows), product(columns)]));
  }

  /**
   * All elements, as a matrix of `shape`: rows and columns count the elements of result and argument in row-major order.
   * @throws ShapeError if they are more than 2^26.
   */
  toDense(): Tensor {
    const [m, n] = this.shape;
    const p = this.sparsity;
    if (m * n > DENSE_LIMIT) {
      const others = ["jvp", "vjp"];
      if (this.isDiagonal) others.push("diagonal");
      if (4 * m * n > this.bytes && p) others.push("blocks");
      throw new ShapeError(
        `toDense: a ${this.structure} Jacobian of ${m} x ${n} would take ${this.denseBytes} bytes, the limit is ` +
          `${4 * DENSE_LIMIT}; ${others.slice(0, -1).join(", ")} and ${others[others.length - 1]} do without`,
      );
    }
    if (!p) return new Tensor(constant(0, [m, n]));
    if (this.selection) {
      const from = dataLeaf([m, 1], "int32", this.selection.from);
      const chosen = apply(COMPARE.eq, positions([m, n], 1), expand(from, [m, n]));
      return new Tensor(masked([chosen], expand(this.factors(this.selection), [m, n])));
    }
    const side = [...p.rows, ...untied(p, "columns")];
    const grid = [...extents(p.rows), ...extents(p.columns)];
    const own = [...extents(p.rows), ...p.columns.map((a) => (p.rows.includes(a) ? 1 : a.extent))];
    const values = expand(reshape(laidOut(this.values("toDense", p), side), own), grid);
    const ties = tied(p).map((a) => {
      const row = positions(grid, p.rows.indexOf(a));
      const k = p.rows.length + p.columns.indexOf(a);
      const column = positions(grid, k);
      return apply(COMPARE.eq, row, a.reversed ? flip(column, [k]) : column);
    });
    return new Tensor(reshape(masked(ties, values), [m, n]));
  }

  /** Shape, structure and bytes, as text. */
  toString(): string {
    const [m, n] = this.shape;
    return `JacobianOperator ${m} x ${n} ${this.structure}, ${this.bytes} bytes of ${this.denseBytes}`;
  }

  private get isDiagonal(): boolean {
    return this.structure === "diagonal" || this.structure === "identity";
  }

  /** What each result multiplies its argument by, [m, 1], or one for all. */
  private factors({ ones }: Selection): Node {
    if (ones) return constant(1);
    const all = this.forward(constantLike(this.argument, 1)) as Node;
    return reshape(all, [this.shape[0], 1]);
  }

  private forward(v: Node): Node | null {
    return forward([this.result], [this.argument], [v])[0];
  }

  private reverse(u: Node): Node | null {
    return reverse([this.result], [u], [this.argument])[0];
  }

  /** The elements that may differ from each other, by whichever mode needs fewer vectors. */
  private values(op: string, p: Sparsity): Values {
    if (p.ones) return { node: constant(1), axes: [] };
    const [r, c] = [untied(p, "rows"), untied(p, "columns")].map((axes) => product(varying(axes)));
    const count = Math.min(r, c);
    if (count * Math.max(...this.shape) >= 2 ** 30)
      throw new ShapeError(
        `${op}: the ${this.structure} Jacobian of ${this.shape.join(" x ")} takes ${count} vectors, too many elements`,
      );
    return c <= r
      ? probed(p, "columns", this.argument.shape, (v) => this.forward(v))
      : probed(p, "rows", this.result.shape, (u) => this.reverse(u));
  }
}

const kindOf = (x: unknown): string => (Array.isArray(x) ? "an array" : String(x));

/** A vector for the map: like what it belongs to. */
function vector(op: string, what: string, v: Tensor, like: Node): Node {
  checkTensors(op, { [what]: v });
  if (!isFloat(v.dtype)) throw new DTypeError(`${op}: ${what} must be float32, got ${v.dtype}`);
  if (!sameShape(v.shape, like.shape))
    throw new ShapeError(`${op}: ${what} has shape ${show(v.shape)}, ${show(like.shape)} is wanted`);
  return v.node;
}

/**
 * The Jacobian of f at x, both single tensors, as a linear operator: it applies to vectors at the cost of f, knows its
 * structure, and is never materialised. The structure is read off the graph: elementwise operations are diagonal, movement is
 * a permutation, a layer is a Kronecker product with the identity, row-wise operations are block-diagonal, and products and
 * sums of these combine accordingly; a roll or an index of known values moves elements too (up to 2^19); "dense" where nothing
 * better is known.
 * @example const j = jacobianOperator((x) => x.relu(), x); // 409600 x 409600 for x of [100, 4096]
 * console.log(String(j)); const gradient = j.vjp(u);
 * @throws DTypeError unless x and f(x) are float32; ValueError unless both are tensors.
 */
export function jacobianOperator(f: (x: Tensor) => Tensor, x: Tensor): JacobianOperator {
  if (!(x instanceof Tensor)) throw new ValueError(`jacobianOperator: x must be a tensor, got ${kindOf(x)}`);
  const { tree, nodes } = asInputs("jacobianOperator", x);
  const y = transformed("jacobianOperator", f, tree);
  if (!(y instanceof Tensor)) throw new ValueError(`jacobianOperator: f must return a tensor, got ${kindOf(y)}`);
  if (!isFloat(y.dtype)) throw new DTypeError(`jacobianOperator: f must return float32, got ${y.dtype}`);
  return new JacobianOperator(nodes[0], y.node);
}
