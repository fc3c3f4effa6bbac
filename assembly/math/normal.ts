// The normal distribution.
import { K } from "../constants";
import { exp64 } from "./exponential";
import { clamp, high, join, k, low, step } from "./lanes";

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

/** x Phi(x) for x >= -14.5, by the tail beyond |x|, which loses no digits on either side of 0. */
// @ts-ignore: decorator
@inline
function gelu64(x: v128, clamped: v128): v128 {
  const a = f64x2.abs(clamped);
  let p = step(k(K.TailP5), a, K.TailP4);
  p = step(p, a, K.TailP3);
  p = step(p, a, K.TailP2);
  p = step(p, a, K.TailP1);
  p = step(p, a, K.TailP0);
  let q = step(k(K.TailQ6), a, K.TailQ5);
  q = step(q, a, K.TailQ4);
  q = step(q, a, K.TailQ3);
  q = step(q, a, K.TailQ2);
  q = step(q, a, K.TailQ1);
  q = step(q, a, K.One);
  const density = exp64(f64x2.mul(f64x2.mul(a, a), f64x2.splat(-0.5)));
  const tail = f64x2.div(f64x2.mul(p, density), q);
  const phi = v128.bitselect(f64x2.sub(k(K.One), tail), tail, f64x2.gt(x, f64x2.splat(0)));
  return f64x2.mul(x, phi);
}

/** x Phi(x); NaN at -Inf, where it is Inf * 0. */
// @ts-ignore: decorator
@inline
export function gelu(x: v128): v128 {
  const y = f32x4.pmax(x, f32x4.splat(-14.5));
  const z = f32x4.pmin(y, f32x4.splat(14.5));
  const r = join(gelu64(low(y), low(z)), gelu64(high(y), high(z)));
  return v128.or(r, f32x4.eq(x, f32x4.splat(-Infinity)));
}
