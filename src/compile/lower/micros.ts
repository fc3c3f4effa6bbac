/** @file Elementwise nodes as micro-operations. */
import { Micro } from "../../../assembly/isa.ts";
import { FourlaneError } from "../../core/errors.ts";
import { isFloat } from "../../core/dtype.ts";
import type { Node } from "../../graph/node.ts";
import { type BINARY, type COMPARE, type LOGICAL, SELECT, type UNARY } from "../../ops/elementwise.ts";

/** Those with a micro-operation of their own: all but conversions, where it depends on both dtypes. */
type Elementwise =
  | keyof typeof UNARY
  | keyof typeof BINARY
  | keyof typeof COMPARE
  | keyof typeof LOGICAL
  | Exclude<keyof typeof SELECT, "cast">;

/**
 * For operands of float32, and for those of a whole number, which are int32 inside of an instruction. An operation without an
 * entry does not compile; undefined is what its dtypes leave out.
 */
const MICROS: Readonly<Record<Elementwise, readonly [float?: Micro, whole?: Micro]>> = {
  neg: [Micro.Neg, Micro.NegI],
  abs: [Micro.Abs, Micro.AbsI],
  exp: [Micro.Exp],
  log: [Micro.Log],
  log1p: [Micro.Log1p],
  expm1: [Micro.Expm1],
  tanh: [Micro.Tanh],
  sigmoid: [Micro.Sigmoid],
  sqrt: [Micro.Sqrt],
  rsqrt: [Micro.Rsqrt],
  reciprocal: [Micro.Reciprocal],
  sin: [Micro.Sin],
  cos: [Micro.Cos],
  tan: [Micro.Tan],
  erf: [Micro.Erf],
  sinh: [Micro.Sinh],
  cosh: [Micro.Cosh],
  asin: [Micro.Asin],
  acos: [Micro.Acos],
  atan: [Micro.Atan],
  square: [Micro.Square],
  sign: [Micro.Sign, Micro.SignI],
  floor: [Micro.Floor],
  ceil: [Micro.Ceil],
  round: [Micro.Round],
  trunc: [Micro.Trunc],
  frac: [Micro.Frac],
  relu: [Micro.Relu],
  relu6: [Micro.Relu6],
  softplus: [Micro.Softplus],
  gelu: [Micro.Gelu],
  geluSlope: [Micro.GeluSlope],
  silu: [Micro.Silu],
  add: [Micro.Add, Micro.AddI],
  sub: [Micro.Sub, Micro.SubI],
  mul: [Micro.Mul, Micro.MulI],
  div: [Micro.Div],
  pow: [Micro.Pow, Micro.PowI],
  maximum: [Micro.Maximum, Micro.MaximumI],
  minimum: [Micro.Minimum, Micro.MinimumI],
  clampMin: [Micro.Maximum, Micro.MaximumI],
  clampMax: [Micro.Minimum, Micro.MinimumI],
  atan2: [Micro.Atan2],
  remainder: [Micro.Remainder, Micro.RemainderI],
  eq: [Micro.Eq, Micro.EqI],
  ne: [Micro.Ne, Micro.NeI],
  lt: [Micro.Lt, Micro.LtI],
  le: [Micro.Le, Micro.LeI],
  gt: [Micro.Gt, Micro.GtI],
  ge: [Micro.Ge, Micro.GeI],
  and: [undefined, Micro.AndI],
  or: [undefined, Micro.OrI],
  xor: [undefined, Micro.XorI],
  not: [undefined, Micro.NotI],
  // By the condition, which is a whole number.
  where: [undefined, Micro.Where],
  reluMask: [Micro.ReluMask],
  relu6Mask: [Micro.Relu6Mask],
};

/** A micro-operation, and the numbers it takes as its last operands. */
export type Step = readonly [micro: Micro, ...immediates: number[]];

/** Between instructions a uint8 has 8 bits, inside of one 32. */
const LOW_BYTE: Step = [Micro.AndI, 255];

function castSteps(n: Node): Step[] {
  const from = n.src[0].dtype;
  const to = n.dtype;
  if (to === "float32") return [[Micro.ToFloat]];
  if (to === "bool") return [isFloat(from) ? [Micro.ToBool] : [Micro.NeI, 0]];
  const low = to === "uint8" ? [LOW_BYTE] : [];
  if (isFloat(from)) return [[Micro.ToInt], ...low];
  return low.length > 0 && from !== "bool" ? low : [[Micro.Copy]];
}

/** Steps of an elementwise node: micro-operations from its (4-byte) operands to its 4-byte result. */
export function microsOf(n: Node): Step[] {
  if (n.op === SELECT.cast) return castSteps(n);
  const { dtype } = n.src[0];
  const micro = MICROS[n.op.name as keyof typeof MICROS]?.[isFloat(dtype) ? 0 : 1];
  if (micro === undefined) throw new FourlaneError("NO_KERNEL", `${n.op.name}: no kernel for ${dtype}`);
  return n.dtype === "uint8" && n.op !== SELECT.where ? [[micro], LOW_BYTE] : [[micro]];
}
