// Logarithms.
import { K } from "../constants";
import { exp64 } from "./exponential";
import { clamp, high, join, k, low, step } from "./lanes";

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

/** log(1 + x) for normal 1 + x > 0; keeps -0. */
// @ts-ignore: decorator
@inline
function log1p64(x: v128): v128 {
  const t = i64x2.add(f64x2.add(x, k(K.One)), k(K.LogBias));
  const negated = negatedExponent(t);
  // Where the exponent is 0, x itself has the digits that 1 + x has lost.
  const near = f64x2.eq(negated, f64x2.splat(0));
  return logSum(v128.bitselect(x, mantissaLess1(t), near), negated);
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

// @ts-ignore: decorator
@inline
export function log(x: v128): v128 {
  return logSpecial(join(log64(low(x)), log64(high(x))), x);
}

// @ts-ignore: decorator
@inline
export function log1p(x: v128): v128 {
  return logSpecial(join(log1p64(low(x)), log1p64(high(x))), f32x4.add(x, f32x4.splat(1)));
}

/** max(x, 0) + log(1 + e^-|x|). */
// @ts-ignore: decorator
@inline
function softplus64(x: v128, clamped: v128): v128 {
  const tail = log1p64(exp64(f64x2.neg(f64x2.abs(clamped))));
  return f64x2.add(f64x2.pmax(x, f64x2.splat(0)), tail);
}

// @ts-ignore: decorator
@inline
export function softplus(x: v128): v128 {
  const y = clamp(x, -128, 128);
  return join(softplus64(low(x), low(y)), softplus64(high(x), high(y)));
}
