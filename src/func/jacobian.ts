/** @file Whole derivatives: a basis of vectors sent through one mode at once, by vmap. */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { numel, show } from "../core/shape.ts";
import { jvp as forward } from "../diff/jvp.ts";
import { vjp as reverse } from "../diff/vjp.ts";
import { vmapAll } from "../diff/vmap.ts";
import type { Node } from "../graph/node.ts";
import { apply, cast, COMPARE } from "../ops/elementwise.ts";
import { constantLike, iota, leaf } from "../ops/leaf.ts";
import { expand, permute, reshape } from "../ops/movement.ts";
import type { Tensor } from "../tensor/tensor.ts";
import { mapTree } from "../trace/tree.ts";
import { type Gradients, outputsOf, selectInputs } from "./transforms.ts";

/** A Jacobian: for each tensor of the result the tree of the argument(s), with tensors [...result's shape, ...argument's]. */
export type Jacobian<Result, Args extends unknown[], N> = Result extends Tensor
  ? Gradients<Args, N>
  : { [K in keyof Result]: Jacobian<Result[K], Args, N> };

type Argnums = number | readonly number[];

/** What f computed, and with respect to what its derivative is wanted. */
interface Traced {
  readonly result: unknown;
  readonly outputs: readonly Node[];
  readonly inputs: readonly Node[];
  readonly shaped: (nodes: readonly (Node | null)[]) => unknown;
}

function traced<Args extends unknown[]>(
  op: string,
  f: (...args: Args) => unknown,
  args: Args,
  argnums: Argnums,
): Traced {
  const { args: inputs, nodes, shaped } = selectInputs(op, args, argnums);
  const { result, outputs } = outputsOf(op, f, inputs);
  if (outputs.length === 0) throw new ValueError(`${op}: the function must return a tensor, got ${String(result)}`);
  for (const y of outputs)
    if (!isFloat(y.dtype)) throw new DTypeError(`${op}: the function must return float32, got ${y.dtype}`);
  const [m, n] = [outputs, nodes].map(total);
  if (m * n >= 2 ** 30)
    throw new ShapeError(`${op}: a Jacobian of ${m} x ${n} has too many elements; jacobianOperator applies it unmade`);
  return { result, outputs, inputs: nodes, shaped };
}

function total(nodes: readonly Node[]): number {
  return nodes.reduce((s, n) => s + numel(n.shape), 0);
}

/** All unit vectors of the shape of n, [elements, ...shape]. */
function basis(n: Node): Node {
  const count = numel(n.shape);
  const square = [count, count];
  const row = expand(iota([count]), square);
  const column = expand(reshape(iota([count]), [count, 1]), square);
  return reshape(cast(apply(COMPARE.eq, row, column), "float32"), [count, ...n.shape]);
}

/** The linear map of a vector like `n` to nodes, applied to all unit vectors: [elements of n, ...shape] for each. */
function onBasis(n: Node, map: (vector: Node) => (Node | null)[]): (Node | null)[] {
  if (numel(n.shape) === 1) return map(constantLike(n, 1)).map((y) => y && reshape(y, [1, ...y.shape]));
  return onVectors(basis(n), map);
}

/** @internal A linear map of a vector to nodes, applied to `count` vectors, [count, ...shape]: [count, ...shape] for each. */
export function onVectors(vectors: Node, map: (vector: Node) => (Node | null)[]): (Node | null)[] {
  const [count, ...shape] = vectors.shape;
  const vector = leaf(shape, vectors.dtype);
  return vmapAll(map(vector), [vector], [vectors], count);
}

const zeros = (y: Node, x: Node): Node => constantLike({ shape: [...y.shape, ...x.shape], dtype: "float32" }, 0);

function byRows({ result, outputs, inputs, shaped }: Traced): unknown {
  let i = 0;
  return mapTree(result, () => {
    const y = outputs[i++];
    const rows = onBasis(y, (u) => reverse([y], [u], inputs));
    return shaped(inputs.map((x, k) => (rows[k] ? reshape(rows[k], [...y.shape, ...x.shape]) : zeros(y, x))));
  });
}

function byColumns({ result, outputs, inputs, shaped }: Traced): unknown {
  const columns = inputs.map((x, k) =>
    onBasis(x, (t) =>
      forward(
        outputs,
        inputs,
        inputs.map((_, j) => (j === k ? t : null)),
      ),
    ),
  );
  let i = 0;
  return mapTree(result, () => {
    const k = i++;
    const y = outputs[k];
    const last = [...y.shape.map((_, d) => d + 1), 0];
    return shaped(
      inputs.map((x, j) => {
        const c = columns[j][k];
        return c ? reshape(permute(c, last), [...y.shape, ...x.shape]) : zeros(y, x);
      }),
    );
  });
}

/**
 * The Jacobian of f with respect to the argument(s) `argnums`, by reverse mode: row by row, all rows at once. It costs one
 * backward pass per element of the result: use it for few outputs of many inputs.
 * @returns A function that gives, for a result of shape [...m] and an argument of shape [...n], a tensor [...m, ...n].
 * @throws DTypeError unless all is float32; ShapeError for 2^30 elements and more.
 */
export function jacrev<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
): (...args: Args) => Jacobian<Result, Args, 0>;
export function jacrev<Args extends unknown[], Result, const N extends Argnums>(
  f: (...args: Args) => Result,
  argnums: N,
): (...args: Args) => Jacobian<Result, Args, N>;
export function jacrev<Args extends unknown[], Result, const N extends Argnums = 0>(
  f: (...args: Args) => Result,
  argnums: N = 0 as N,
): (...args: Args) => Jacobian<Result, Args, N> {
  return (...args) => byRows(traced("jacrev", f, args, argnums)) as Jacobian<Result, Args, N>;
}

/**
 * Like jacrev, but by forward mode: column by column, all columns at once. It costs one forward pass per element of the
 * argument: use it for few inputs and many outputs.
 */
export function jacfwd<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
): (...args: Args) => Jacobian<Result, Args, 0>;
export function jacfwd<Args extends unknown[], Result, const N extends Argnums>(
  f: (...args: Args) => Result,
  argnums: N,
): (...args: Args) => Jacobian<Result, Args, N>;
export function jacfwd<Args extends unknown[], Result, const N extends Argnums = 0>(
  f: (...args: Args) => Result,
  argnums: N = 0 as N,
): (...args: Args) => Jacobian<Result, Args, N> {
  return (...args) => byColumns(traced("jacfwd", f, args, argnums)) as Jacobian<Result, Args, N>;
}

/** Forward mode takes a pass for each input, reverse mode one for each output and keeps the values on the way. */
function choose({ outputs, inputs }: Traced): { byColumns: boolean; why: string } {
  const [m, n] = [outputs, inputs].map(total);
  const [few, many, mode, other] = n < m ? [n, m, "forward", "reverse"] : [m, n, "reverse", "forward"];
  return {
    byColumns: n < m,
    why:
      `${mode} mode: the Jacobian is ${m} x ${n} (outputs ${outputs.map((y) => show(y.shape)).join(" ")}, ` +
      `inputs ${inputs.map((x) => show(x.shape)).join(" ")}), so ${mode} mode sends ${few} vectors through the function, ` +
      `${other} mode would send ${many}`,
  };
}

/** A function that can say how it computes its value. */
type Explained<Args extends unknown[], Result> = ((...args: Args) => Result) & { explain(...args: Args): string };

/**
 * The Jacobian of f by whichever of jacfwd and jacrev is cheaper for the shapes at hand; `explain(...args)` says which, and why.
 * @example await jacobian(f)(x).array(); console.log(jacobian(f).explain(x));
 */
export function jacobian<Args extends unknown[], Result>(
  f: (...args: Args) => Result,
): Explained<Args, Jacobian<Result, Args, 0>>;
export function jacobian<Args extends unknown[], Result, const N extends Argnums>(
  f: (...args: Args) => Result,
  argnums: N,
): Explained<Args, Jacobian<Result, Args, N>>;
export function jacobian<Args extends unknown[], Result, const N extends Argnums = 0>(
  f: (...args: Args) => Result,
  argnums: N = 0 as N,
): Explained<Args, Jacobian<Result, Args, N>> {
  const whole = (...args: Args): Jacobian<Result, Args, N> => {
    const t = traced("jacobian", f, args, argnums);
    return (choose(t).byColumns ? byColumns(t) : byRows(t)) as Jacobian<Result, Args, N>;
  };
  return Object.assign(whole, {
    explain: (...args: Args): string => choose(traced("jacobian", f, args, argnums)).why,
  });
}

/**
 * The second derivatives of a function that returns one element, by forward mode over reverse mode: for an argument of shape
 * [...n] a tensor [...n, ...n]; for several, or trees of them, trees of trees. hvp, their product with a vector, is far cheaper.
 */
export function hessian<Args extends unknown[]>(
  f: (...args: Args) => Tensor,
): (...args: Args) => Jacobian<Gradients<Args, 0>, Args, 0>;
export function hessian<Args extends unknown[], const N extends Argnums>(
  f: (...args: Args) => Tensor,
  argnums: N,
): (...args: Args) => Jacobian<Gradients<Args, N>, Args, N>;
export function hessian<Args extends unknown[], const N extends Argnums = 0>(
  f: (...args: Args) => Tensor,
  argnums: N = 0 as N,
): (...args: Args) => Jacobian<Gradients<Args, N>, Args, N> {
  return jacfwd(jacrev(f, argnums), argnums) as (...args: Args) => Jacobian<Gradients<Args, N>, Args, N>;
}
