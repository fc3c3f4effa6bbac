// Logarithms.
import { K } from "../constants";
import { madd } from "../simd";
import { exp } from "./exponential";
import { k, single, step } from "./lanes";

/** log(1 + f) - exponent * ln 2, the exponent given negated so that -0 survives where it is 0. */
// @ts-ignore: decorator
@inline
function logSum(f: v128, negated: v128): v128 {
  const s = f64x2.div(f, f64x2.add(f64x2.add(f, k(K.One)), k(K.One)));
  const z = f64x2.mul(s, s);
  let p = step(k(K.Log5), z, K.Log4);
  p = step(p, z, K.Log3);
  p = step(p, z, K.Log2);
  p = step(p, z, K.Log1);
  p = step(p, z, K.Log0);
  return f64x2.sub(f64x2.mul(p, s), f64x2.mul(negated, k(K.Ln2)));
}

/** The exponent of x > 0, negated, when its mantissa is taken in [sqrt(1/2), sqrt(2)); t = bits of x + LogBias. */
// @ts-ignore: decorator
@inline
function negatedExponent(t: v128): v128 {
  return f64x2.sub(k(K.LogUnbias), v128.or(i64x2.shr_u(t, 52), k(K.LogField)));
}

/** That mantissa less 1. */
// @ts-ignore: decorator
@inline
function mantissaLess1(t: v128): v128 {
  return f64x2.sub(i64x2.add(v128.and(t, k(K.LogMantissa)), k(K.LogHalf)), k(K.One));
}

/** log x for normal x > 0. */
// @ts-ignore: decorator
@inline
export function log64(x: v128): v128 {
  const t = i64x2.add(x, k(K.LogBias));
  return logSum(mantissaLess1(t), negatedExponent(t));
}

/** log(1 + f) + n ln 2 for 1 + f in [sqrt(1/2), sqrt(2)), in float32: sums with what they lose. */
// @ts-ignore: decorator
@inline
function singleLog(f: v128, n: v128): v128 {
  let p = madd(single(K.SingleLog7), f, single(K.SingleLog6));
  p = madd(p, f, single(K.SingleLog5));
  p = madd(p, f, single(K.SingleLog4));
  p = madd(p, f, single(K.SingleLog3));
  p = madd(p, f, single(K.SingleLog2));
  p = madd(p, f, single(K.SingleLog1));
  p = madd(p, f, single(K.SingleLog0));
  const f2 = f32x4.mul(f, f);
  const half = f32x4.mul(f2, single(K.SingleHalf));
  const near = f32x4.sub(f, half);
  const lostNear = f32x4.sub(f32x4.sub(f, near), half);
  const octaves = f32x4.mul(n, single(K.LogLn2High)); // exact: 9 bits times 8
  const sum = f32x4.add(octaves, near);
  const lost = f32x4.sub(near, f32x4.sub(sum, octaves));
  const rest = madd(f32x4.mul(f2, f), p, f32x4.add(lostNear, lost));
  return f32x4.add(sum, madd(n, single(K.LogLn2Low), rest));
}

/** The bits of x moved so that those of its exponent count from sqrt(1/2). */
// @ts-ignore: decorator
@inline
function fromRootHalf(x: v128): v128 {
  return i32x4.add(x, single(K.LogShift));
}

/** The exponent of such bits, as an integer. */
// @ts-ignore: decorator
@inline
function exponentOf(bits: v128): v128 {
  return i32x4.sub(i32x4.shr_u(bits, 23), i32x4.splat(127));
}

/** Their mantissa less 1. */
// @ts-ignore: decorator
@inline
function singleMantissa(bits: v128): v128 {
  return f32x4.sub(i32x4.add(v128.and(bits, single(K.MantissaMask)), single(K.RootHalf)), single(K.SingleOne));
}

/** Puts right a logarithm of x where x is not positive and finite. */
// @ts-ignore: decorator
@inline
function logSpecial(result: v128, x: v128): v128 {
  const infinity = f32x4.splat(Infinity);
  const plain = v128.and(f32x4.gt(x, f32x4.splat(0)), f32x4.lt(x, infinity));
  if (i32x4.all_true(plain)) return result;
  // The square root of x has the NaN and the infinity wanted.
  const special = f32x4.sub(f32x4.sqrt(x), v128.and(f32x4.eq(x, f32x4.splat(0)), infinity));
  return v128.bitselect(result, special, plain);
}

/** log x within 0.7 ulp. */
// @ts-ignore: decorator
@inline
export function log(x: v128): v128 {
  const tiny = f32x4.lt(x, f32x4.splat(1.1754943508222875e-38));
  const y = v128.bitselect(f32x4.mul(x, f32x4.splat(8388608)), x, tiny);
  const bits = fromRootHalf(y);
  const n = i32x4.sub(exponentOf(bits), v128.and(tiny, i32x4.splat(23)));
  return logSpecial(singleLog(singleMantissa(bits), f32x4.convert_i32x4_s(n)), x);
}

/** log(1 + x) for finite 1 + x > 0. */
// @ts-ignore: decorator
@inline
function log1pOf(x: v128): v128 {
  const one = single(K.SingleOne);
  const y = f32x4.add(x, one);
  const bits = fromRootHalf(y);
  const n = exponentOf(bits);
  // What 1 + x has lost, at the scale of its mantissa; where the exponent is 0, x itself has it.
  const lost = f32x4.sub(x, f32x4.sub(y, one));
  const scale = i32x4.shl(i32x4.max_s(i32x4.sub(i32x4.splat(127), n), i32x4.splat(0)), 23);
  const f = v128.bitselect(
    x,
    f32x4.add(singleMantissa(bits), f32x4.mul(lost, scale)),
    i32x4.eq(n, i32x4.splat(0)),
  );
  return singleLog(f, f32x4.convert_i32x4_s(n));
}

/** log(1 + x) within 1.4 ulp; keeps -0. */
// @ts-ignore: decorator
@inline
export function log1p(x: v128): v128 {
  const r = v128.or(log1pOf(x), v128.and(x, f32x4.splat(-0.0)));
  return logSpecial(r, f32x4.add(x, single(K.SingleOne)));
}

/** max(x, 0) + log(1 + e^-|x|) within 1.7 ulp. */
// @ts-ignore: decorator
@inline
export function softplus(x: v128): v128 {
  const e = exp(v128.or(x, f32x4.splat(-0.0)));
  return f32x4.add(f32x4.pmax(x, f32x4.splat(0)), log1pOf(e));
}
