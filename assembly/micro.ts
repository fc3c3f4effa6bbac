// The micro-operations of Map that compute: each a class of one method, and an exported loop over it.
import {
  acos,
  asin,
  atan,
  atan2,
  cos,
  cosh,
  erf,
  exp,
  expm1,
  gelu,
  geluSlope,
  log,
  log1p,
  pow,
  remainder,
  sigmoid,
  silu,
  sin,
  sinh,
  softplus,
  tan,
  tanh,
} from "./math";
import { Micro } from "./isa";

// Loops ---------------------------------------------------------------------------------------------------------------
//
// F is the class of the operation; it has no state, so its instance may be the null pointer. dst may be an input. n is a
// multiple of 4: Map sees to ragged ends.

// @ts-ignore: decorator
@inline
function each1<F>(dst: usize, a: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 4, dst += 16, a += 16) {
    // @ts-ignore: F is a class with the method `of`
    v128.store(dst, f.of(v128.load(a)));
  }
}

// @ts-ignore: decorator
@inline
function each2<F>(dst: usize, a: usize, b: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 4, dst += 16, a += 16, b += 16) {
    // @ts-ignore: F is a class with the method `of`
    v128.store(dst, f.of(v128.load(a), v128.load(b)));
  }
}

// @ts-ignore: decorator
@inline
function each3<F>(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n > 0; n -= 4, dst += 16, a += 16, b += 16, c += 16) {
    // @ts-ignore: F is a class with the method `of`
    v128.store(dst, f.of(v128.load(a), v128.load(b), v128.load(c)));
  }
}

/** each1 with two vectors at a time, for functions whose operations wait for one another. */
// @ts-ignore: decorator
@inline
function each1Pair<F>(dst: usize, a: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n >= 8; n -= 8, dst += 32, a += 32) {
    // @ts-ignore: F is a class with the method `of`
    const x: v128 = f.of(v128.load(a));
    // @ts-ignore: as above
    const y: v128 = f.of(v128.load(a, 16));
    v128.store(dst, x);
    v128.store(dst, y, 16);
  }
  each1<F>(dst, a, n);
}

/** each1 with four vectors at a time, for operations of a few instructions. */
// @ts-ignore: decorator
@inline
function each1Wide<F>(dst: usize, a: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n >= 16; n -= 16, dst += 64, a += 64) {
    // @ts-ignore: F is a class with the method `of`
    v128.store(dst, f.of(v128.load(a)));
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 16)), 16);
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 32)), 32);
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 48)), 48);
  }
  each1<F>(dst, a, n);
}

// @ts-ignore: decorator
@inline
function each2Wide<F>(dst: usize, a: usize, b: usize, n: i32): void {
  const f = changetype<F>(0);
  for (; n >= 16; n -= 16, dst += 64, a += 64, b += 64) {
    // @ts-ignore: F is a class with the method `of`
    v128.store(dst, f.of(v128.load(a), v128.load(b)));
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 16), v128.load(b, 16)), 16);
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 32), v128.load(b, 32)), 32);
    // @ts-ignore: as above
    v128.store(dst, f.of(v128.load(a, 48), v128.load(b, 48)), 48);
  }
  each2<F>(dst, a, b, n);
}

// Helpers -------------------------------------------------------------------------------------------------------------

/** 1 where the mask is set. */
// @ts-ignore: decorator
@inline
function bit(mask: v128): v128 {
  return i32x4.neg(mask);
}

/** -1, 0 or 1; 0 for NaN. */
// @ts-ignore: decorator
@inline
function signOf(x: v128): v128 {
  const zero = f32x4.splat(0);
  const one = f32x4.splat(1);
  return v128.or(v128.and(f32x4.gt(x, zero), one), v128.and(f32x4.lt(x, zero), f32x4.neg(one)));
}

/** floor(a / b) of the low two int32 in the low halves of two int64: exact in float64, and wraps for INT_MIN / -1. */
// @ts-ignore: decorator
@inline
function floorDivideLow(a: v128, b: v128): v128 {
  const q = f64x2.floor(f64x2.div(f64x2.convert_low_i32x4_s(a), f64x2.convert_low_i32x4_s(b)));
  return f64x2.add(q, f64x2.splat(6755399441055744)); // 1.5 * 2^52 leaves a whole number in the low bits
}

/** floor(a / b) of int32; 0 where b is 0, for the low halves of infinities and of the canonical NaN are 0. */
// @ts-ignore: decorator
@inline
function floorDivide(a: v128, b: v128): v128 {
  const low = floorDivideLow(a, b);
  const high = floorDivideLow(v128.shuffle<i64>(a, a, 1, 1), v128.shuffle<i64>(b, b, 1, 1));
  return v128.shuffle<i32>(low, high, 0, 2, 4, 6);
}

// Unary, float32 ------------------------------------------------------------------------------------------------------

@unmanaged class Copy { @inline of(a: v128): v128 { return a; } }
export function microCopy(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Copy>(dst, a, n); }

@unmanaged class Neg { @inline of(a: v128): v128 { return f32x4.neg(a); } }
export function microNeg(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Neg>(dst, a, n); }

@unmanaged class Abs { @inline of(a: v128): v128 { return f32x4.abs(a); } }
export function microAbs(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Abs>(dst, a, n); }

@unmanaged class Exp { @inline of(a: v128): v128 { return exp(a); } }
export function microExp(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Exp>(dst, a, n); }

@unmanaged class Log { @inline of(a: v128): v128 { return log(a); } }
export function microLog(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Log>(dst, a, n); }

@unmanaged class Log1p { @inline of(a: v128): v128 { return log1p(a); } }
export function microLog1p(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Log1p>(dst, a, n); }

@unmanaged class Expm1 { @inline of(a: v128): v128 { return expm1(a); } }
export function microExpm1(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Expm1>(dst, a, n); }

@unmanaged class Tanh { @inline of(a: v128): v128 { return tanh(a); } }
export function microTanh(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Tanh>(dst, a, n); }

@unmanaged class Sigmoid { @inline of(a: v128): v128 { return sigmoid(a); } }
export function microSigmoid(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Sigmoid>(dst, a, n); }

@unmanaged class Sqrt { @inline of(a: v128): v128 { return f32x4.sqrt(a); } }
export function microSqrt(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Sqrt>(dst, a, n); }

@unmanaged class Rsqrt { @inline of(a: v128): v128 { return f32x4.div(f32x4.splat(1), f32x4.sqrt(a)); } }
export function microRsqrt(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Rsqrt>(dst, a, n); }

@unmanaged class Reciprocal { @inline of(a: v128): v128 { return f32x4.div(f32x4.splat(1), a); } }
export function microReciprocal(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each1Wide<Reciprocal>(dst, a, n);
}

@unmanaged class Sin { @inline of(a: v128): v128 { return sin(a); } }
export function microSin(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Sin>(dst, a, n); }

@unmanaged class Cos { @inline of(a: v128): v128 { return cos(a); } }
export function microCos(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Cos>(dst, a, n); }

@unmanaged class Tan { @inline of(a: v128): v128 { return tan(a); } }
export function microTan(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Tan>(dst, a, n); }

@unmanaged class Erf { @inline of(a: v128): v128 { return erf(a); } }
export function microErf(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Erf>(dst, a, n); }

@unmanaged class Sinh { @inline of(a: v128): v128 { return sinh(a); } }
export function microSinh(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Sinh>(dst, a, n); }

@unmanaged class Cosh { @inline of(a: v128): v128 { return cosh(a); } }
export function microCosh(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Cosh>(dst, a, n); }

@unmanaged class Asin { @inline of(a: v128): v128 { return asin(a); } }
export function microAsin(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Asin>(dst, a, n); }

@unmanaged class Acos { @inline of(a: v128): v128 { return acos(a); } }
export function microAcos(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Acos>(dst, a, n); }

@unmanaged class Atan { @inline of(a: v128): v128 { return atan(a); } }
export function microAtan(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1<Atan>(dst, a, n); }

@unmanaged class Square { @inline of(a: v128): v128 { return f32x4.mul(a, a); } }
export function microSquare(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Square>(dst, a, n); }

@unmanaged class Sign { @inline of(a: v128): v128 { return signOf(a); } }
export function microSign(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Sign>(dst, a, n); }

@unmanaged class Floor { @inline of(a: v128): v128 { return f32x4.floor(a); } }
export function microFloor(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Floor>(dst, a, n); }

@unmanaged class Ceil { @inline of(a: v128): v128 { return f32x4.ceil(a); } }
export function microCeil(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Ceil>(dst, a, n); }

@unmanaged class Round { @inline of(a: v128): v128 { return f32x4.nearest(a); } }
export function microRound(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Round>(dst, a, n); }

@unmanaged class Trunc { @inline of(a: v128): v128 { return f32x4.trunc(a); } }
export function microTrunc(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Trunc>(dst, a, n); }

@unmanaged class Frac { @inline of(a: v128): v128 { return f32x4.sub(a, f32x4.trunc(a)); } }
export function microFrac(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Frac>(dst, a, n); }

/** pmax keeps its first operand where that is NaN, and is one instruction where max is eight. */
@unmanaged class Relu { @inline of(a: v128): v128 { return f32x4.pmax(a, f32x4.splat(0)); } }
export function microRelu(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Relu>(dst, a, n); }

@unmanaged class Relu6 { @inline of(a: v128): v128 { return f32x4.pmin(f32x4.pmax(a, f32x4.splat(0)), f32x4.splat(6)); } }
export function microRelu6(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<Relu6>(dst, a, n); }

@unmanaged class Softplus { @inline of(a: v128): v128 { return softplus(a); } }
export function microSoftplus(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Softplus>(dst, a, n); }

@unmanaged class Gelu { @inline of(a: v128): v128 { return gelu(a); } }
export function microGelu(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Gelu>(dst, a, n); }

@unmanaged class GeluSlope { @inline of(a: v128): v128 { return geluSlope(a); } }
export function microGeluSlope(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<GeluSlope>(dst, a, n); }

@unmanaged class Silu { @inline of(a: v128): v128 { return silu(a); } }
export function microSilu(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Pair<Silu>(dst, a, n); }

// Binary, float32 -----------------------------------------------------------------------------------------------------

@unmanaged class Add { @inline of(a: v128, b: v128): v128 { return f32x4.add(a, b); } }
export function microAdd(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Add>(dst, a, b, n); }

@unmanaged class Sub { @inline of(a: v128, b: v128): v128 { return f32x4.sub(a, b); } }
export function microSub(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Sub>(dst, a, b, n); }

@unmanaged class Mul { @inline of(a: v128, b: v128): v128 { return f32x4.mul(a, b); } }
export function microMul(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Mul>(dst, a, b, n); }

@unmanaged class Div { @inline of(a: v128, b: v128): v128 { return f32x4.div(a, b); } }
export function microDiv(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Div>(dst, a, b, n); }

@unmanaged class Pow { @inline of(a: v128, b: v128): v128 { return pow(a, b); } }
export function microPow(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2<Pow>(dst, a, b, n); }

@unmanaged class Maximum { @inline of(a: v128, b: v128): v128 { return f32x4.max(a, b); } }
export function microMaximum(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<Maximum>(dst, a, b, n);
}

@unmanaged class Minimum { @inline of(a: v128, b: v128): v128 { return f32x4.min(a, b); } }
export function microMinimum(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<Minimum>(dst, a, b, n);
}

@unmanaged class Atan2 { @inline of(a: v128, b: v128): v128 { return atan2(a, b); } }
export function microAtan2(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2<Atan2>(dst, a, b, n); }

@unmanaged class ReluMask { @inline of(a: v128, b: v128): v128 { return v128.andnot(a, f32x4.le(b, f32x4.splat(0))); } }
export function microReluMask(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<ReluMask>(dst, a, b, n);
}

@unmanaged class Relu6Mask { @inline of(a: v128, b: v128): v128 {
  return v128.andnot(a, v128.or(f32x4.le(b, f32x4.splat(0)), f32x4.ge(b, f32x4.splat(6))));
} }
export function microRelu6Mask(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<Relu6Mask>(dst, a, b, n);
}

@unmanaged class Eq { @inline of(a: v128, b: v128): v128 { return bit(f32x4.eq(a, b)); } }
export function microEq(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Eq>(dst, a, b, n); }

@unmanaged class Ne { @inline of(a: v128, b: v128): v128 { return bit(f32x4.ne(a, b)); } }
export function microNe(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Ne>(dst, a, b, n); }

@unmanaged class Lt { @inline of(a: v128, b: v128): v128 { return bit(f32x4.lt(a, b)); } }
export function microLt(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Lt>(dst, a, b, n); }

@unmanaged class Le { @inline of(a: v128, b: v128): v128 { return bit(f32x4.le(a, b)); } }
export function microLe(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Le>(dst, a, b, n); }

@unmanaged class Gt { @inline of(a: v128, b: v128): v128 { return bit(f32x4.gt(a, b)); } }
export function microGt(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Gt>(dst, a, b, n); }

@unmanaged class Ge { @inline of(a: v128, b: v128): v128 { return bit(f32x4.ge(a, b)); } }
export function microGe(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<Ge>(dst, a, b, n); }

@unmanaged class Remainder { @inline of(a: v128, b: v128): v128 { return remainder(a, b); } }
export function microRemainder(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2<Remainder>(dst, a, b, n);
}

// int32 ---------------------------------------------------------------------------------------------------------------

@unmanaged class NegI { @inline of(a: v128): v128 { return i32x4.neg(a); } }
export function microNegI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<NegI>(dst, a, n); }

@unmanaged class AbsI { @inline of(a: v128): v128 { return i32x4.abs(a); } }
export function microAbsI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<AbsI>(dst, a, n); }

@unmanaged
class SignI {
  @inline
  of(a: v128): v128 {
    return v128.or(i32x4.shr_s(a, 31), bit(i32x4.gt_s(a, i32x4.splat(0))));
  }
}
export function microSignI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<SignI>(dst, a, n); }

@unmanaged class AddI { @inline of(a: v128, b: v128): v128 { return i32x4.add(a, b); } }
export function microAddI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<AddI>(dst, a, b, n); }

@unmanaged class SubI { @inline of(a: v128, b: v128): v128 { return i32x4.sub(a, b); } }
export function microSubI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<SubI>(dst, a, b, n); }

@unmanaged class MulI { @inline of(a: v128, b: v128): v128 { return i32x4.mul(a, b); } }
export function microMulI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<MulI>(dst, a, b, n); }

@unmanaged
class RemainderI {
  @inline
  of(a: v128, b: v128): v128 {
    return v128.and(i32x4.sub(a, i32x4.mul(floorDivide(a, b), b)), i32x4.ne(b, i32x4.splat(0)));
  }
}
export function microRemainderI(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2<RemainderI>(dst, a, b, n);
}

@unmanaged class MaximumI { @inline of(a: v128, b: v128): v128 { return i32x4.max_s(a, b); } }
export function microMaximumI(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<MaximumI>(dst, a, b, n);
}

@unmanaged class MinimumI { @inline of(a: v128, b: v128): v128 { return i32x4.min_s(a, b); } }
export function microMinimumI(dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  each2Wide<MinimumI>(dst, a, b, n);
}

@unmanaged class EqI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.eq(a, b)); } }
export function microEqI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<EqI>(dst, a, b, n); }

@unmanaged class NeI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.ne(a, b)); } }
export function microNeI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<NeI>(dst, a, b, n); }

@unmanaged class LtI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.lt_s(a, b)); } }
export function microLtI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<LtI>(dst, a, b, n); }

@unmanaged class LeI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.le_s(a, b)); } }
export function microLeI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<LeI>(dst, a, b, n); }

@unmanaged class GtI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.gt_s(a, b)); } }
export function microGtI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<GtI>(dst, a, b, n); }

@unmanaged class GeI { @inline of(a: v128, b: v128): v128 { return bit(i32x4.ge_s(a, b)); } }
export function microGeI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<GeI>(dst, a, b, n); }

@unmanaged class AndI { @inline of(a: v128, b: v128): v128 { return v128.and(a, b); } }
export function microAndI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<AndI>(dst, a, b, n); }

@unmanaged class OrI { @inline of(a: v128, b: v128): v128 { return v128.or(a, b); } }
export function microOrI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<OrI>(dst, a, b, n); }

@unmanaged class XorI { @inline of(a: v128, b: v128): v128 { return v128.xor(a, b); } }
export function microXorI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2Wide<XorI>(dst, a, b, n); }

@unmanaged class NotI { @inline of(a: v128): v128 { return bit(i32x4.eq(a, i32x4.splat(0))); } }
export function microNotI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<NotI>(dst, a, n); }

@unmanaged
class PowI {
  @inline
  of(a: v128, b: v128): v128 {
    const one = i32x4.splat(1);
    let power = one;
    let square = a;
    for (let bits = b, i = 0; i < 32; i++, bits = i32x4.shr_u(bits, 1)) {
      power = i32x4.mul(power, v128.bitselect(square, one, i32x4.ne(v128.and(bits, one), i32x4.splat(0))));
      square = i32x4.mul(square, square);
    }
    return v128.andnot(power, v128.and(i32x4.shr_s(b, 31), i32x4.ne(i32x4.abs(a), one)));
  }
}
export function microPowI(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each2<PowI>(dst, a, b, n); }

// Conversions ---------------------------------------------------------------------------------------------------------

@unmanaged class ToFloat { @inline of(a: v128): v128 { return f32x4.convert_i32x4_s(a); } }
export function microToFloat(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<ToFloat>(dst, a, n); }

@unmanaged class ToInt { @inline of(a: v128): v128 { return i32x4.trunc_sat_f32x4_s(a); } }
export function microToInt(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<ToInt>(dst, a, n); }

@unmanaged class ToBool { @inline of(a: v128): v128 { return bit(f32x4.ne(a, f32x4.splat(0))); } }
export function microToBool(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each1Wide<ToBool>(dst, a, n); }

// Ternary -------------------------------------------------------------------------------------------------------------

@unmanaged
class Where {
  @inline
  of(a: v128, b: v128, c: v128): v128 {
    return v128.bitselect(b, c, i32x4.ne(a, i32x4.splat(0)));
  }
}
export function microWhere(dst: usize, a: usize, b: usize, c: usize, n: i32): void { each3<Where>(dst, a, b, c, n); }

/** Carries out a micro-operation that computes, on n elements, a multiple of 4. */
export function runMicro(op: i32, dst: usize, a: usize, b: usize, c: usize, n: i32): void {
  switch (op) {
    case Micro.Copy: return microCopy(dst, a, b, c, n);
    case Micro.Neg: return microNeg(dst, a, b, c, n);
    case Micro.Abs: return microAbs(dst, a, b, c, n);
    case Micro.Exp: return microExp(dst, a, b, c, n);
    case Micro.Log: return microLog(dst, a, b, c, n);
    case Micro.Log1p: return microLog1p(dst, a, b, c, n);
    case Micro.Expm1: return microExpm1(dst, a, b, c, n);
    case Micro.Tanh: return microTanh(dst, a, b, c, n);
    case Micro.Sigmoid: return microSigmoid(dst, a, b, c, n);
    case Micro.Sqrt: return microSqrt(dst, a, b, c, n);
    case Micro.Rsqrt: return microRsqrt(dst, a, b, c, n);
    case Micro.Reciprocal: return microReciprocal(dst, a, b, c, n);
    case Micro.Sin: return microSin(dst, a, b, c, n);
    case Micro.Cos: return microCos(dst, a, b, c, n);
    case Micro.Tan: return microTan(dst, a, b, c, n);
    case Micro.Erf: return microErf(dst, a, b, c, n);
    case Micro.Sinh: return microSinh(dst, a, b, c, n);
    case Micro.Cosh: return microCosh(dst, a, b, c, n);
    case Micro.Asin: return microAsin(dst, a, b, c, n);
    case Micro.Acos: return microAcos(dst, a, b, c, n);
    case Micro.Atan: return microAtan(dst, a, b, c, n);
    case Micro.Square: return microSquare(dst, a, b, c, n);
    case Micro.Sign: return microSign(dst, a, b, c, n);
    case Micro.Floor: return microFloor(dst, a, b, c, n);
    case Micro.Ceil: return microCeil(dst, a, b, c, n);
    case Micro.Round: return microRound(dst, a, b, c, n);
    case Micro.Trunc: return microTrunc(dst, a, b, c, n);
    case Micro.Frac: return microFrac(dst, a, b, c, n);
    case Micro.Relu: return microRelu(dst, a, b, c, n);
    case Micro.Relu6: return microRelu6(dst, a, b, c, n);
    case Micro.Softplus: return microSoftplus(dst, a, b, c, n);
    case Micro.Gelu: return microGelu(dst, a, b, c, n);
    case Micro.GeluSlope: return microGeluSlope(dst, a, b, c, n);
    case Micro.Silu: return microSilu(dst, a, b, c, n);
    case Micro.Add: return microAdd(dst, a, b, c, n);
    case Micro.Sub: return microSub(dst, a, b, c, n);
    case Micro.Mul: return microMul(dst, a, b, c, n);
    case Micro.Div: return microDiv(dst, a, b, c, n);
    case Micro.Pow: return microPow(dst, a, b, c, n);
    case Micro.Maximum: return microMaximum(dst, a, b, c, n);
    case Micro.Minimum: return microMinimum(dst, a, b, c, n);
    case Micro.Atan2: return microAtan2(dst, a, b, c, n);
    case Micro.ReluMask: return microReluMask(dst, a, b, c, n);
    case Micro.Relu6Mask: return microRelu6Mask(dst, a, b, c, n);
    case Micro.Eq: return microEq(dst, a, b, c, n);
    case Micro.Ne: return microNe(dst, a, b, c, n);
    case Micro.Lt: return microLt(dst, a, b, c, n);
    case Micro.Le: return microLe(dst, a, b, c, n);
    case Micro.Gt: return microGt(dst, a, b, c, n);
    case Micro.Ge: return microGe(dst, a, b, c, n);
    case Micro.Remainder: return microRemainder(dst, a, b, c, n);
    case Micro.NegI: return microNegI(dst, a, b, c, n);
    case Micro.AbsI: return microAbsI(dst, a, b, c, n);
    case Micro.SignI: return microSignI(dst, a, b, c, n);
    case Micro.AddI: return microAddI(dst, a, b, c, n);
    case Micro.SubI: return microSubI(dst, a, b, c, n);
    case Micro.MulI: return microMulI(dst, a, b, c, n);
    case Micro.RemainderI: return microRemainderI(dst, a, b, c, n);
    case Micro.MaximumI: return microMaximumI(dst, a, b, c, n);
    case Micro.MinimumI: return microMinimumI(dst, a, b, c, n);
    case Micro.EqI: return microEqI(dst, a, b, c, n);
    case Micro.NeI: return microNeI(dst, a, b, c, n);
    case Micro.LtI: return microLtI(dst, a, b, c, n);
    case Micro.LeI: return microLeI(dst, a, b, c, n);
    case Micro.GtI: return microGtI(dst, a, b, c, n);
    case Micro.GeI: return microGeI(dst, a, b, c, n);
    case Micro.AndI: return microAndI(dst, a, b, c, n);
    case Micro.OrI: return microOrI(dst, a, b, c, n);
    case Micro.XorI: return microXorI(dst, a, b, c, n);
    case Micro.NotI: return microNotI(dst, a, b, c, n);
    case Micro.PowI: return microPowI(dst, a, b, c, n);
    case Micro.ToFloat: return microToFloat(dst, a, b, c, n);
    case Micro.ToInt: return microToInt(dst, a, b, c, n);
    case Micro.ToBool: return microToBool(dst, a, b, c, n);
    case Micro.Where: return microWhere(dst, a, b, c, n);
  }
}
