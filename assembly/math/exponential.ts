// Exponentials and what is made of them.
import { K } from "../constants";
import { madd } from "../simd";
import { clamp, high, join, k, low, single, step } from "./lanes";

/** x / ln 2 + RoundBias: its low bits are the integer nearest to x / ln 2. */
// @ts-ignore: decorator
@inline
export function octaves(x: v128): v128 {
  return f64x2.add(f64x2.mul(x, k(K.Log2e)), k(K.RoundBias));
}

/** e^x - 1 for x less its whole octaves. */
// @ts-ignore: decorator
@inline
function fraction(x: v128, t: v128): v128 {
  const r = f64x2.sub(x, f64x2.mul(f64x2.sub(t, k(K.RoundBias)), k(K.Ln2)));
  // Estrin's scheme: Horner's would leave the processor waiting for one result after the other.
  const r2 = f64x2.mul(r, r);
  const p01 = step(k(K.Exp1), r, K.Exp0);
  const p23 = step(k(K.Exp3), r, K.Exp2);
  const p45 = step(k(K.Exp5), r, K.Exp4);
  const p456 = f64x2.add(f64x2.mul(k(K.Exp6), r2), p45);
  const p03 = f64x2.add(f64x2.mul(p23, r2), p01);
  const p = f64x2.add(f64x2.mul(p456, f64x2.mul(r2, r2)), p03);
  return f64x2.mul(p, r);
}

/** e^x for |x| <= 700, or NaN. */
// @ts-ignore: decorator
@inline
export function exp64(x: v128): v128 {
  const t = octaves(x);
  return i64x2.add(f64x2.add(fraction(x, t), k(K.One)), i64x2.shl(t, 52));
}

/** e^x - 1 for |x| <= 700, or NaN; keeps -0. */
// @ts-ignore: decorator
@inline
function expm164(x: v128): v128 {
  const t = octaves(x);
  const scale = i64x2.add(i64x2.shl(t, 52), k(K.One));
  return f64x2.sub(f64x2.mul(fraction(x, t), scale), f64x2.sub(k(K.One), scale));
}

/** x / ln 2 + SingleRoundBias, in float32: its low bits are n, the integer nearest to x / ln 2. */
// @ts-ignore: decorator
@inline
function singleOctaves(x: v128): v128 {
  return madd(x, single(K.SingleLog2e), single(K.SingleRoundBias));
}

/** x less its n octaves. */
// @ts-ignore: decorator
@inline
function singleRest(x: v128, t: v128): v128 {
  const minus = f32x4.sub(single(K.SingleRoundBias), t);
  return madd(minus, single(K.Ln2Low), madd(minus, single(K.Ln2High), x));
}

/** (e^r - 1 - r) / r^2. */
// @ts-ignore: decorator
@inline
function singleSeries(r: v128): v128 {
  let p = madd(single(K.SingleExp6), r, single(K.SingleExp5));
  p = madd(p, r, single(K.SingleExp4));
  p = madd(p, r, single(K.SingleExp3));
  return madd(p, r, single(K.SingleExp2));
}

/** 2^n e^r, subnormal results too. */
// @ts-ignore: decorator
@inline
function expOf(r: v128, t: v128): v128 {
  const one = single(K.SingleOne);
  // 1 + r with what the addition lost, then the rest of the series.
  const sum = f32x4.add(r, one);
  const lost = f32x4.sub(r, f32x4.sub(sum, one));
  const e = f32x4.add(sum, madd(singleSeries(r), f32x4.mul(r, r), lost));
  // 2^n in two factors: the first keeps the number normal, the second rounds once if the result is subnormal.
  const half = v128.and(i32x4.shl(t, 22), single(K.ExponentMask));
  const rest = i32x4.sub(i32x4.shl(t, 23), half);
  return f32x4.mul(f32x4.mul(e, i32x4.add(half, one)), i32x4.add(rest, one));
}

/** e^x within 0.8 ulp. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  // Beyond these bounds the result is 0 or infinite.
  const y = f32x4.pmin(f32x4.pmax(x, single(K.ExpLeast)), single(K.ExpMost));
  const t = singleOctaves(y);
  return expOf(singleRest(y, t), t);
}

/** e^(x + low) for x from -104 to 0 and a `low` that is small beside an octave. */
// @ts-ignore: decorator
@inline
export function expSum(x: v128, low: v128): v128 {
  const t = singleOctaves(x);
  return expOf(f32x4.add(singleRest(x, t), low), t);
}

/** e^x - 1 within 1.2 ulp. Half of it is summed, so that 2^n is finite wherever the result is. */
// @ts-ignore: decorator
@inline
export function expm1(x: v128): v128 {
  const y = f32x4.pmin(f32x4.pmax(x, f32x4.splat(-18)), single(K.ExpMost)); // below, -1
  const t = singleOctaves(y);
  const r = singleRest(y, t);
  const half = single(K.SingleHalf);
  const scale = i32x4.add(i32x4.shl(t, 23), half);
  const whole = f32x4.sub(scale, half);
  const part = f32x4.mul(scale, r);
  const sum = f32x4.add(whole, part);
  const lost = f32x4.sub(part, f32x4.sub(sum, whole));
  const result = f32x4.add(sum, madd(f32x4.mul(part, r), singleSeries(r), lost));
  // Where x^2 / 2 is nothing beside x, x; -0 and subnormal numbers among these.
  return v128.bitselect(x, f32x4.add(result, result), f32x4.lt(f32x4.abs(x), f32x4.splat(2.9802322387695312e-8)));
}

/** Within 1.4 ulp: a polynomial near 0 (after Cephes' tanhf), 1 - 2 / (e^2x + 1) beyond. */
// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const a = f32x4.abs(x);
  const z = f32x4.mul(x, x);
  let p = madd(single(K.Tanh4), z, single(K.Tanh3));
  p = madd(p, z, single(K.Tanh2));
  p = madd(p, z, single(K.Tanh1));
  p = madd(p, z, single(K.Tanh0));
  const near = madd(f32x4.mul(x, z), p, x);
  const y = f32x4.pmin(f32x4.add(a, a), f32x4.splat(20)); // beyond, 1
  const t = singleOctaves(y);
  const r = singleRest(y, t);
  const one = single(K.SingleOne);
  const e = f32x4.mul(madd(singleSeries(r), f32x4.mul(r, r), f32x4.add(r, one)), i32x4.add(i32x4.shl(t, 23), one));
  const far = f32x4.sub(one, f32x4.div(f32x4.splat(2), f32x4.add(e, one)));
  return v128.bitselect(x, v128.bitselect(near, far, f32x4.lt(a, f32x4.splat(0.625))), f32x4.splat(-0.0));
}

/** 1 / (1 + e^-x) within 2.3 ulp: by e^-|x|, which does not overflow. */
// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const one = single(K.SingleOne);
  const e = exp(v128.or(x, f32x4.splat(-0.0)));
  return f32x4.div(v128.bitselect(e, one, f32x4.lt(x, f32x4.splat(0))), f32x4.add(e, one));
}

/** x sigmoid(x) within 3 ulp, while e^x is not subnormal; NaN at -Inf, where it is Inf * 0. */
// @ts-ignore: decorator
@inline
export function silu(x: v128): v128 {
  const one = single(K.SingleOne);
  const e = exp(v128.or(x, f32x4.splat(-0.0)));
  return f32x4.div(v128.bitselect(f32x4.mul(x, e), x, f32x4.lt(x, f32x4.splat(0))), f32x4.add(e, one));
}

/** (e^x - e^-x) / 2 for x >= 0: by e^x - 1, which keeps what e^x loses near 0. */
// @ts-ignore: decorator
@inline
function sinh64(x: v128): v128 {
  const e = expm164(x);
  const s = f64x2.add(e, f64x2.div(e, f64x2.add(e, k(K.One))));
  return f64x2.mul(s, f64x2.splat(0.5));
}

// @ts-ignore: decorator
@inline
export function sinh(x: v128): v128 {
  const y = f32x4.pmin(f32x4.abs(x), f32x4.splat(91));
  return v128.bitselect(x, join(sinh64(low(y)), sinh64(high(y))), f32x4.splat(-0.0));
}

// @ts-ignore: decorator
@inline
function cosh64(x: v128): v128 {
  const e = exp64(x);
  return f64x2.mul(f64x2.add(e, f64x2.div(k(K.One), e)), f64x2.splat(0.5));
}

// @ts-ignore: decorator
@inline
export function cosh(x: v128): v128 {
  const y = clamp(x, -91, 91);
  return join(cosh64(low(y)), cosh64(high(y)));
}
