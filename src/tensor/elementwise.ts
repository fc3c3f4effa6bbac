/** @file Elementwise operations of users' operands: of any dtypes, broadcast, numbers among them. */
import { isFloat, resultType } from "../core/dtype.ts";
import { DTypeError, ValueError } from "../core/errors.ts";
import { broadcast, type Shape } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { apply, BINARY, cast, COMPARE, LOGICAL, SELECT, UNARY } from "../ops/elementwise.ts";
import { expand } from "../ops/movement.ts";
import { alike, type Operand, standing } from "./promotion.ts";

/** Unary operations on integers, which stay integers; others convert them to float32. */
const ON_INTEGERS = new Map<OpDef, (x: Node) => Node>([
  ...[UNARY.neg, UNARY.abs, UNARY.sign].map((op) => [op, (x: Node) => apply(op, x)] as const),
  ...[UNARY.floor, UNARY.ceil, UNARY.round, UNARY.trunc].map((op) => [op, (x: Node) => x] as const),
  [UNARY.square, (x) => binary(BINARY.mul, x, x)],
  [UNARY.relu, (x) => binary(BINARY.maximum, x, 0)],
]);

export function unary(op: OpDef, x: Node): Node {
  if (isFloat(x.dtype)) return apply(op, x);
  const onIntegers = ON_INTEGERS.get(op);
  if (onIntegers) {
    if (x.dtype === "bool") throw new DTypeError(`${op.name}: dtype bool is not supported`);
    return onIntegers(x);
  }
  // A function of real numbers: integers are converted, as in PyTorch.
  return apply(op, cast(x, "float32"));
}

/** What arithmetic is on bool. */
const ON_BOOL = new Map<OpDef, OpDef>([
  [BINARY.add, LOGICAL.or],
  [BINARY.mul, LOGICAL.and],
  [BINARY.maximum, LOGICAL.or],
  [BINARY.minimum, LOGICAL.and],
]);

export function binary(op: OpDef, a: Node, b: Operand): Node {
  let dtype = resultType([a, b].map(standing));
  const comparison = op.name in COMPARE;
  if (op === BINARY.div || op === BINARY.atan2) dtype = "float32";
  // Compared as numbers, not as what is left of them in 8 bits.
  else if (comparison && dtype === "uint8" && typeof b === "number") dtype = "int32";
  const shape = typeof b === "number" ? a.shape : broadcast(op.name, a.shape, b.shape);
  const onBool = dtype === "bool" && !comparison ? ON_BOOL.get(op) : op;
  if (!onBool) throw new DTypeError(`${op.name}: dtypes bool and bool are not supported`);
  return makeNode(onBool, alike([a, b], shape, dtype));
}

/** a where the condition holds, else b. */
export function where(condition: Node, ...branches: [a: Operand, b: Operand]): Node {
  // Two bare numbers are float32, as in tensor().
  const dtype = branches.some((v) => typeof v !== "number") ? resultType(branches.map(standing)) : "float32";
  const shape = branches.reduce<Shape>(
    (s, v) => (typeof v === "number" ? s : broadcast("where", s, v.shape)),
    condition.shape,
  );
  return makeNode(SELECT.where, [expand(cast(condition, "bool"), shape), ...alike(branches, shape, dtype)]);
}

/** Limited to [low, high]; the gradient flows to what the value is. */
export function clamp(n: Node, low: Operand | undefined, high: Operand | undefined): Node {
  if (low === undefined && high === undefined) throw new ValueError("clamp: give at least one of low and high");
  let x = n;
  if (low !== undefined) x = binary(BINARY.clampMin, x, low);
  if (high !== undefined) x = binary(BINARY.clampMax, x, high);
  return x;
}
