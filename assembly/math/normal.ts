// The normal distribution.
import { K } from "../constants";
import { madd } from "../simd";
import { expSum } from "./exponential";
import { clamp, high, join, k, low, single, step } from "./lanes";

/** erf x for |x| <= 4. */
// @ts-ignore: decorator
@inline
function erf64(x: v128): v128 {
  const z = f64x2.mul(x, x);
  let p = step(k(K.ErfP6), z, K.ErfP5);
  p = step(p, z, K.ErfP4);
  p = step(p, z, K.ErfP3);
  p = step(p, z, K.ErfP2);
  p = step(p, z, K.ErfP1);
  p = step(p, z, K.ErfP0);
  let q = step(k(K.ErfQ5), z, K.ErfQ4);
  q = step(q, z, K.ErfQ3);
  q = step(q, z, K.ErfQ2);
  q = step(q, z, K.ErfQ1);
  q = step(q, z, K.One);
  return f64x2.div(f64x2.mul(x, p), q);
}

// @ts-ignore: decorator
@inline
export function erf(x: v128): v128 {
  const y = clamp(x, -4, 4); // where erf rounds to 1
  return join(erf64(low(y)), erf64(high(y)));
}

/** Phi(-a) e^(a^2 / 2) for a from 0 to 14.5. */
// @ts-ignore: decorator
@inline
function tailRatio(a: v128): v128 {
  let p = madd(single(K.TailP5), a, single(K.TailP4));
  p = madd(p, a, single(K.TailP3));
  p = madd(p, a, single(K.TailP2));
  p = madd(p, a, single(K.TailP1));
  p = madd(p, a, single(K.TailP0));
  let q = madd(single(K.TailQ6), a, single(K.TailQ5));
  q = madd(q, a, single(K.TailQ4));
  q = madd(q, a, single(K.TailQ3));
  q = madd(q, a, single(K.TailQ2));
  q = madd(q, a, single(K.TailQ1));
  q = madd(q, a, single(K.SingleOne));
  return f32x4.div(p, q);
}

/** e^(-a^2 / 2): a^2 as the square of 12 bits of a, which is exact, and the rest. */
// @ts-ignore: decorator
@inline
function bell(a: v128): v128 {
  const many = f32x4.mul(a, f32x4.splat(4097));
  const few = f32x4.sub(many, f32x4.sub(many, a));
  const minusHalf = f32x4.splat(-0.5);
  const rest = f32x4.mul(f32x4.sub(a, few), f32x4.add(a, few));
  return expSum(f32x4.mul(f32x4.mul(few, few), minusHalf), f32x4.mul(rest, minusHalf));
}

// @ts-ignore: decorator
@inline
function within(x: v128): v128 {
  return f32x4.pmin(f32x4.abs(x), f32x4.splat(14.5)); // beyond, nothing is left of the tail
}

/** x Phi(x) within 8 ulp, on either side of 0; NaN at -Inf, where it is Inf * 0. */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const a = within(x);
  const ratio = tailRatio(a);
  const e = bell(a);
  const y = f32x4.pmax(x, f32x4.splat(-14.5));
  const right = f32x4.mul(y, f32x4.sub(single(K.SingleOne), f32x4.mul(ratio, e)));
  const left = f32x4.mul(f32x4.mul(y, ratio), e);
  const r = v128.bitselect(right, left, f32x4.gt(x, f32x4.splat(0)));
  return v128.or(r, f32x4.eq(x, f32x4.splat(-Infinity)));
}

/** Phi(x) + x phi(x), the slope of gelu, within 1e-7. */
// @ts-ignore: decorator
@inline
export function geluSlope(x: v128): v128 {
  const a = within(x);
  const w = f32x4.mul(f32x4.sub(tailRatio(a), f32x4.mul(a, single(K.InverseRoot2Pi))), bell(a));
  return v128.bitselect(f32x4.sub(single(K.SingleOne), w), w, f32x4.gt(x, f32x4.splat(0)));
}
