/** @file defineOp: a custom op, with the derivative its author gives it. */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { sameShape, show } from "../core/shape.ts";
import { vmapAll } from "../diff/vmap.ts";
import { makeNode, type Node, type OpDef, type Spec } from "../graph/node.ts";
import { leaf } from "../ops/leaf.ts";
import { detach, identity } from "../ops/identity.ts";
import { forEveryExample } from "../ops/movement.ts";
import { Tensor } from "../tensor/tensor.ts";
import { transformed } from "../trace/trace.ts";
import { leavesOf } from "../trace/tree.ts";

/** What a derivative may use: the inputs the op was called with, and its output. */
export interface OpContext<Inputs extends unknown[]> {
  readonly inputs: Inputs;
  readonly output: Tensor;
}

/** One for each input; null for inputs that are not float32 tensors, and where there is none. */
type EachInput<Inputs extends unknown[]> = { [K in keyof Inputs]: Tensor | null };

/** An operation: what it computes, and how gradients flow through it. */
export interface OpDefinition<Inputs extends unknown[]> {
  /** Shown in printed graphs and in errors. */
  readonly name: string;
  /** What backward does to the gradient, in one word, for `explain`; default "its own". */
  readonly pattern?: string;
  /** Computes the output, a float32 tensor, with tensor functions; no gradient flows through these. */
  forward(...inputs: Inputs): Tensor;
  /**
   * The gradients of the loss with respect to the inputs (Caffe's bottom_diff), given the one with respect to the output
   * (top_diff): linear in it, computed with tensor functions, each of its input's shape. With one input, just the tensor will do.
   */
  backward(
    dTop: Tensor,
    context: OpContext<Inputs>,
  ): EachInput<Inputs> | (Inputs extends [unknown] ? Tensor | null : never);
  /** The tangent of the output, given those of the inputs (null = zero); null if zero. Default: backward, transposed. */
  jvp?(tangents: EachInput<Inputs>, context: OpContext<Inputs>): Tensor | null;
}

/** Checks that a derivative is like what it belongs to, and takes its node. */
function checked(what: string, t: unknown, like: Spec): Node | null {
  if (t === null) return null;
  if (!(t instanceof Tensor)) throw new ValueError(`${what} must be a tensor or null, got ${String(t)}`);
  const spec = ({ shape, dtype }: Spec): string => `${dtype}${show(shape)}`;
  if (!isFloat(like.dtype)) throw new DTypeError(`${what} must be null, it belongs to ${spec(like)}`);
  if (!isFloat(t.dtype)) throw new DTypeError(`${what} is ${spec(t)}, what it belongs to ${spec(like)}`);
  if (!sameShape(t.shape, like.shape)) throw new ShapeError(`${what} is ${spec(t)}, what it belongs to ${spec(like)}`);
  return t.node;
}

interface Rules {
  readonly pattern: string;
  readonly vjp: NonNullable<OpDef["vjp"]>;
  readonly jvp: OpDef["jvp"];
}

/** The value of its first source; differentiation takes it for a function of the others. */
function operation(name: string, rules: Rules): OpDef {
  return {
    ...identity(name, false),
    ...rules,
    batch: (n, src, has) => {
      const size = src[has.indexOf(true)].shape[0];
      return makeNode(operation(name, overExamples(n, rules)), forEveryExample(src, has, size));
    },
  };
}

/** The rules of node n for a batch of such nodes: its own, for each example. */
function overExamples(n: Node, { pattern, vjp, jvp }: Rules): Rules {
  /** f of one example and what belongs to it, for all examples of m. */
  const forAll = (
    m: Node,
    given: readonly (Node | null)[],
    f: (one: Node, given: (Node | null)[]) => (Node | null)[],
  ): (Node | null)[] => {
    const one = makeNode(
      n.op,
      n.src.map((s) => leaf(s.shape, s.dtype)),
    );
    const each = given.map((v) => v && leaf(v.shape.slice(1), v.dtype));
    const real = (list: readonly (Node | null)[]): Node[] => list.filter((v) => v !== null);
    return vmapAll(f(one, each), real([...one.src, one, ...each]), real([...m.src, m, ...given]), m.shape[0]);
  };
  return {
    pattern,
    vjp: (m, g) => forAll(m, [g], (one, [u]) => vjp(one, u as Node)),
    jvp: jvp && ((m, ts) => forAll(m, ts, (one, each) => [jvp(one, each)])[0]),
  };
}

/**
 * Defines a custom op: a gate with a forward and a backward, like PyTorch's autograd.Function or a layer of Caffe. It is
 * recorded like any other, so it works in `compile`, `backward()`, `grad`, `vmap`, `hessian` and inside itself. What backward
 * recomputes of forward costs nothing: common subexpressions are computed once.
 *
 * Inputs are tensors, or other values, passed on unchanged. Derivatives may use what the context holds, parameters and
 * constants; a tensor that forward captures from outside gets no gradient. Second derivatives are those of backward.
 *
 * @returns A function of the inputs.
 * @throws ValueError, ShapeError or DTypeError, when it is used, if forward does not return a float32 tensor, or backward does
 * not return one gradient of the right shape per input.
 * @example
 * const sigmoid = defineOp({
 *   name: "mySigmoid",
 *   forward: (x) => x.neg().exp().add(1).reciprocal(),
 *   backward: (dTop, { output }) => dTop.mul(output).mul(output.neg().add(1)),
 * });
 */
export function defineOp<Inputs extends unknown[]>(definition: OpDefinition<Inputs>): (...inputs: Inputs) => Tensor {
  const { name, pattern = "its own", forward, backward, jvp } = definition ?? {};
  if (typeof name !== "string" || name === "")
    throw new ValueError(`defineOp: the name must be a text that is not empty, got ${String(name)}`);
  for (const [what, f] of Object.entries({ forward, backward, jvp }))
    if (typeof f !== "function" && !(what === "jvp" && f === undefined))
      throw new ValueError(`defineOp: ${what} of ${name} must be a function, got ${String(f)}`);

  checkOptions(`defineOp: ${name}`, definition, {
    name: true,
    pattern: true,
    forward: true,
    backward: true,
    jvp: true,
  });

  return (...inputs) => {
    const sources: Node[] = [];
    /** Where the tensors are among the inputs; elsewhere is the input itself. */
    const places = inputs.map((x) => {
      if (x instanceof Tensor) return sources.push(x.node);
      if (leavesOf(x).length > 0)
        throw new ValueError(`${name}: tensors must be inputs of their own, not parts of one`);
      return { value: x };
    });
    if (sources.length === 0) throw new ValueError(`${name}: there is no tensor among the inputs`);
    const fill = (tensors: readonly (Tensor | null)[], other: (x: unknown) => unknown): unknown[] =>
      places.map((p) => (typeof p === "number" ? tensors[p] : other(p.value)));
    const contextOf = (n: Node): OpContext<Inputs> => ({
      inputs: fill(
        n.src.map((s) => new Tensor(s)),
        (x) => x,
      ) as Inputs,
      output: new Tensor(n),
    });

    const op = operation(name, {
      pattern,
      vjp: (n, g) => {
        // What it compiles is part of what is differentiated.
        const given = transformed(name, () => backward.call(definition, new Tensor(g), contextOf(n))) as unknown;
        const list: unknown[] = Array.isArray(given) ? given : [given];
        if (list.length !== inputs.length)
          throw new ValueError(`${name}: backward gave ${list.length} gradients for ${inputs.length} inputs`);
        const grads: (Node | null)[] = [null];
        places.forEach((p, i) => {
          const what = `${name}: gradient ${i} of backward`;
          if (typeof p === "number") grads.push(checked(what, list[i], n.src[p]));
          else if (list[i] !== null) throw new ValueError(`${what} must be null, input ${i} is no tensor`);
        });
        return grads;
      },
      jvp:
        jvp &&
        ((n, ts) => {
          const tangents = fill(
            ts.map((t) => t && new Tensor(t)),
            () => null,
          );
          const tangent = transformed(name, () => jvp.call(definition, tangents as never, contextOf(n)));
          return checked(`${name}: the tangent of jvp`, tangent, n);
        }),
    });
    const y = forward.call(definition, ...inputs) as unknown;
    if (!(y instanceof Tensor)) throw new ValueError(`${name}: forward must return a tensor, got ${String(y)}`);
    if (!isFloat(y.dtype)) throw new DTypeError(`${name}: forward must return float32, got ${y.dtype}`);
    return new Tensor(makeNode(op, [detach(y.node), ...sources]));
  };
}
