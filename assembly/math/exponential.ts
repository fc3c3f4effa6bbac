// Exponentials and what is made of them.
import { K } from "../constants";
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

/** step in float32. */
// @ts-ignore: decorator
@inline
function singleStep(sum: v128, x: v128, at: K): v128 {
  return f32x4.add(f32x4.mul(sum, x), single(at));
}

/** e^x within 0.8 ulp, in float32 because this is the function that everybody waits for. */
// @ts-ignore: decorator
@inline
export function exp(x: v128): v128 {
  // Beyond these bounds the result is 0 or infinite.
  const y = f32x4.pmin(f32x4.pmax(x, single(K.ExpLeast)), single(K.ExpMost));
  const one = single(K.SingleOne);
  // The low bits of t are n, the integer nearest to y / ln 2.
  const t = f32x4.add(f32x4.mul(y, single(K.SingleLog2e)), single(K.SingleRoundBias));
  const n = f32x4.sub(t, single(K.SingleRoundBias));
  const r = f32x4.sub(f32x4.sub(y, f32x4.mul(n, single(K.Ln2High))), f32x4.mul(n, single(K.Ln2Low)));
  let p = singleStep(single(K.SingleExp6), r, K.SingleExp5);
  p = singleStep(p, r, K.SingleExp4);
  p = singleStep(p, r, K.SingleExp3);
  p = singleStep(p, r, K.SingleExp2);
  // 1 + r with what the addition lost, then the rest of the series.
  const sum = f32x4.add(r, one);
  const lost = f32x4.sub(r, f32x4.sub(sum, one));
  const e = f32x4.add(sum, f32x4.add(f32x4.mul(p, f32x4.mul(r, r)), lost));
  // 2^n in two factors: the first keeps the number normal, the second rounds once if the result is subnormal.
  const half = v128.and(i32x4.shl(t, 22), single(K.ExponentMask));
  const rest = i32x4.sub(i32x4.shl(t, 23), half);
  return f32x4.mul(f32x4.mul(e, i32x4.add(half, one)), i32x4.add(rest, one));
}

// @ts-ignore: decorator
@inline
export function expm1(x: v128): v128 {
  const y = clamp(x, -104, 89); // beyond, -1 or infinite
  return join(expm164(low(y)), expm164(high(y)));
}

// @ts-ignore: decorator
@inline
function tanh64(x: v128): v128 {
  const e = expm164(f64x2.add(x, x));
  return f64x2.div(e, f64x2.add(f64x2.add(e, k(K.One)), k(K.One)));
}

// @ts-ignore: decorator
@inline
export function tanh(x: v128): v128 {
  const y = clamp(x, -10, 10);
  return join(tanh64(low(y)), tanh64(high(y)));
}

/** 1 / (1 + e^-x). */
// @ts-ignore: decorator
@inline
function sigmoid64(x: v128): v128 {
  return f64x2.div(k(K.One), f64x2.add(exp64(f64x2.neg(x)), k(K.One)));
}

// @ts-ignore: decorator
@inline
export function sigmoid(x: v128): v128 {
  const y = clamp(x, -128, 128);
  return join(sigmoid64(low(y)), sigmoid64(high(y)));
}

/** x sigmoid(x); NaN at -Inf, where it is Inf * 0. */
// @ts-ignore: decorator
@inline
export function silu(x: v128): v128 {
  const y = f32x4.pmax(x, f32x4.splat(-128));
  const z = f32x4.pmin(y, f32x4.splat(128));
  const r = join(f64x2.mul(low(y), sigmoid64(low(z))), f64x2.mul(high(y), sigmoid64(high(z))));
  return v128.or(r, f32x4.eq(x, f32x4.splat(-Infinity)));
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
