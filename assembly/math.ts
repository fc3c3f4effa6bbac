// Transcendental functions of four float32. All but exp widen to float64, evaluate a short polynomial there and round
// once: results within about 0.53 ulp. Multiplications and additions are never fused, so that every build and every
// host gives the same bits.
//
// The functions on float64 pairs (named ...64) are accurate to some 1e-10 only, and are blind to special values unless
// they say otherwise.
import { K, LIMIT } from "./constants";
import { Memory } from "./isa";

/** The constant in both float64 lanes. */
// @ts-ignore: decorator
@inline
function k(at: K): v128 {
  return v128.load64_splat(Memory.Constants + at * 8);
}

/** The float32 constant in all four lanes. */
// @ts-ignore: decorator
@inline
function single(at: K): v128 {
  return v128.load32_splat(Memory.Constants + at * 8);
}

/** sum * x + constant, a step of Horner's scheme. */
// @ts-ignore: decorator
@inline
function step(sum: v128, x: v128, at: K): v128 {
  return f64x2.add(f64x2.mul(sum, x), k(at));
}

// @ts-ignore: decorator
@inline
export function low(x: v128): v128 {
  return f64x2.promote_low_f32x4(x);
}

// @ts-ignore: decorator
@inline
export function high(x: v128): v128 {
  return f64x2.promote_low_f32x4(v128.shuffle<i64>(x, x, 1, 1));
}

/** Rounds two pairs of float64 to four float32. */
// @ts-ignore: decorator
@inline
export function join(low: v128, high: v128): v128 {
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

/** x within [from, to]; a NaN stays. */
// @ts-ignore: decorator
@inline
function clamp(x: v128, from: f32, to: f32): v128 {
  return f32x4.pmin(f32x4.pmax(x, f32x4.splat(from)), f32x4.splat(to));
}

/** magnitude with the sign bits of sign. */
// @ts-ignore: decorator
@inline
function withSign(magnitude: v128, sign: v128): v128 {
  return v128.bitselect(sign, magnitude, f64x2.splat(-0.0));
}

// Exponential ---------------------------------------------------------------------------------------------------------

/** x / ln 2 + RoundBias: its low bits are the integer nearest to x / ln 2. */
// @ts-ignore: decorator
@inline
function octaves(x: v128): v128 {
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

// Logarithm -----------------------------------------------------------------------------------------------------------

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

// Trigonometry --------------------------------------------------------------------------------------------------------

/**
 * Finite |x| > LIMIT less its whole quarter turns, by Payne and Hanek's method: of the bits of 2/pi only those are
 * multiplied that neither make whole turns nor vanish. The number of quarter turns, modulo 4, rides in the two lowest
 * bits of the result.
 */
function reduceLong(x: f64): f64 {
  const bits = reinterpret<u32>(<f32>x);
  const exponent = ((bits >> 23) & 255) - 150; // |x| = mantissa * 2^exponent
  // The first `skip` bits of the table (8 zeros and 2/pi) make multiples of 4 quarter turns.
  const skip = exponent + 6;
  const mantissa = (<u64>((bits & 0x7fffff) | 0x800000)) << (skip & 7);
  const window: usize = Memory.Constants + K.TwoOverPiBits * 8 + 16 - (skip >> 3);
  // Quarter turns modulo 4, in units of 2^-62.
  const turns =
    ((mantissa * load<u32>(window, 8)) << 32) +
    mantissa * load<u32>(window, 4) +
    ((mantissa * load<u32>(window)) >> 32);
  let quadrant = (turns + 0x2000000000000000) >> 62;
  let r = <f64>(<i64>(turns - (quadrant << 62))) * (1.5707963267948966 / 4611686018427387904.0);
  if (bits >> 31) {
    quadrant = 4 - quadrant;
    r = -r;
  }
  return reinterpret<f64>((reinterpret<u64>(r) & ~3) | (quadrant & 3));
}

/** reduceLong for the lanes that need it. */
function reduceLongLanes(x: v128, r: v128): v128 {
  const x0 = f64x2.extract_lane(x, 0);
  const x1 = f64x2.extract_lane(x, 1);
  if (abs(x0) > LIMIT && abs(x0) < Infinity) r = f64x2.replace_lane(r, 0, reduceLong(x0));
  if (abs(x1) > LIMIT && abs(x1) < Infinity) r = f64x2.replace_lane(r, 1, reduceLong(x1));
  return r;
}

/** x less its quarter turns, in [-pi/4, pi/4], their number modulo 4 in the two lowest bits; NaN for an infinite x. */
// @ts-ignore: decorator
@inline
function reduce(x: v128): v128 {
  const t = f64x2.add(f64x2.mul(x, k(K.TwoOverPi)), k(K.RoundBias));
  const n = f64x2.sub(t, k(K.RoundBias));
  const r = f64x2.sub(f64x2.sub(x, f64x2.mul(n, k(K.HalfPiHigh))), f64x2.mul(n, k(K.HalfPiLow)));
  const packed = v128.bitselect(t, r, k(K.Three));
  if (!v128.any_true(f64x2.gt(f64x2.abs(x), k(K.Limit)))) return packed;
  return reduceLongLanes(x, packed);
}

// @ts-ignore: decorator
@inline
function sinPoly(r: v128, z: v128): v128 {
  let p = step(k(K.Sin4), z, K.Sin3);
  p = step(p, z, K.Sin2);
  p = step(p, z, K.Sin1);
  p = step(p, z, K.Sin0);
  return f64x2.mul(p, r);
}

// @ts-ignore: decorator
@inline
function cosPoly(z: v128): v128 {
  let p = step(k(K.Cos4), z, K.Cos3);
  p = step(p, z, K.Cos2);
  p = step(p, z, K.Cos1);
  return step(p, z, K.Cos0);
}

/** All ones where the number of quarter turns is odd. */
// @ts-ignore: decorator
@inline
function isOdd(turns: v128): v128 {
  return i64x2.neg(i64x2.shr_u(i64x2.shl(turns, 63), 63));
}

/** The sine of the reduced angle r and so many quarter turns. */
// @ts-ignore: decorator
@inline
function wave(r: v128, turns: v128): v128 {
  const z = f64x2.mul(r, r);
  const magnitude = v128.bitselect(cosPoly(z), sinPoly(r, z), isOdd(turns));
  return v128.xor(magnitude, i64x2.shl(i64x2.shr_u(turns, 1), 63));
}

// @ts-ignore: decorator
@inline
function sin64(x: v128): v128 {
  const r = reduce(x);
  return wave(r, r);
}

// @ts-ignore: decorator
@inline
export function sin(x: v128): v128 {
  return join(sin64(low(x)), sin64(high(x)));
}

// @ts-ignore: decorator
@inline
function cos64(x: v128): v128 {
  const r = reduce(x);
  return wave(r, i64x2.add(r, k(K.Unit)));
}

// @ts-ignore: decorator
@inline
export function cos(x: v128): v128 {
  return join(cos64(low(x)), cos64(high(x)));
}

/** sin / cos, or -cos / sin after an odd number of quarter turns. */
// @ts-ignore: decorator
@inline
function tan64(x: v128): v128 {
  const r = reduce(x);
  const z = f64x2.mul(r, r);
  const s = sinPoly(r, z);
  const c = cosPoly(z);
  const odd = isOdd(r);
  return f64x2.div(v128.bitselect(f64x2.neg(c), s, odd), v128.bitselect(s, c, odd));
}

// @ts-ignore: decorator
@inline
export function tan(x: v128): v128 {
  return join(tan64(low(x)), tan64(high(x)));
}

/** atan t for 0 <= t <= 1. */
// @ts-ignore: decorator
@inline
function atanPoly(t: v128): v128 {
  const z = f64x2.mul(t, t);
  let p = step(k(K.Atan11), z, K.Atan10);
  p = step(p, z, K.Atan9);
  p = step(p, z, K.Atan8);
  p = step(p, z, K.Atan7);
  p = step(p, z, K.Atan6);
  p = step(p, z, K.Atan5);
  p = step(p, z, K.Atan4);
  p = step(p, z, K.Atan3);
  p = step(p, z, K.Atan2);
  p = step(p, z, K.Atan1);
  p = step(p, z, K.Atan0);
  return f64x2.mul(p, t);
}

// @ts-ignore: decorator
@inline
function atan64(x: v128): v128 {
  const a = f64x2.abs(x);
  const one = k(K.One);
  const p = atanPoly(f64x2.div(f64x2.min(a, one), f64x2.max(a, one)));
  return withSign(v128.bitselect(f64x2.sub(k(K.HalfPi), p), p, f64x2.gt(a, one)), x);
}

// @ts-ignore: decorator
@inline
export function atan(x: v128): v128 {
  return join(atan64(low(x)), atan64(high(x)));
}

/** The angle of the point (x, y), with the signs of zeros and the infinities as in C. */
// @ts-ignore: decorator
@inline
function atan264(y: v128, x: v128): v128 {
  const ax = f64x2.abs(x);
  const ay = f64x2.abs(y);
  const one = k(K.One);
  let less = f64x2.min(ax, ay);
  let more = f64x2.max(ax, ay);
  // Inf / Inf counts as 1 / 1, 0 / 0 as 0 / 1.
  const infinite = f64x2.eq(less, f64x2.splat(Infinity));
  less = v128.bitselect(one, less, infinite);
  more = v128.bitselect(one, more, v128.or(infinite, f64x2.eq(more, f64x2.splat(0))));
  let p = atanPoly(f64x2.div(less, more));
  p = v128.bitselect(f64x2.sub(k(K.HalfPi), p), p, f64x2.gt(ay, ax));
  p = v128.bitselect(f64x2.sub(k(K.Pi), p), p, i64x2.lt_s(x, i64x2.splat(0)));
  return withSign(p, y);
}

// @ts-ignore: decorator
@inline
export function atan2(y: v128, x: v128): v128 {
  return join(atan264(low(y), low(x)), atan264(high(y), high(x)));
}

/** asin a for 0 <= a <= 1/2, half of acos a above; NaN where a > 1. */
// @ts-ignore: decorator
@inline
function asinPoly(a: v128, small: v128): v128 {
  const z = v128.bitselect(f64x2.mul(a, a), f64x2.mul(f64x2.sub(k(K.One), a), f64x2.splat(0.5)), small);
  let p = step(k(K.Asin8), z, K.Asin7);
  p = step(p, z, K.Asin6);
  p = step(p, z, K.Asin5);
  p = step(p, z, K.Asin4);
  p = step(p, z, K.Asin3);
  p = step(p, z, K.Asin2);
  p = step(p, z, K.Asin1);
  p = step(p, z, K.Asin0);
  return f64x2.mul(p, f64x2.sqrt(z));
}

// @ts-ignore: decorator
@inline
function asin64(x: v128): v128 {
  const a = f64x2.abs(x);
  const small = f64x2.le(a, f64x2.splat(0.5));
  const p = asinPoly(a, small);
  return withSign(v128.bitselect(p, f64x2.sub(k(K.HalfPi), f64x2.add(p, p)), small), x);
}

// @ts-ignore: decorator
@inline
export function asin(x: v128): v128 {
  return join(asin64(low(x)), asin64(high(x)));
}

// @ts-ignore: decorator
@inline
function acos64(x: v128): v128 {
  const a = f64x2.abs(x);
  const small = f64x2.le(a, f64x2.splat(0.5));
  const p = asinPoly(a, small);
  const twice = f64x2.add(p, p);
  const wide = v128.bitselect(f64x2.sub(k(K.Pi), twice), twice, f64x2.lt(x, f64x2.splat(0)));
  return v128.bitselect(f64x2.sub(k(K.HalfPi), withSign(p, x)), wide, small);
}

// @ts-ignore: decorator
@inline
export function acos(x: v128): v128 {
  return join(acos64(low(x)), acos64(high(x)));
}

// Normal distribution -------------------------------------------------------------------------------------------------

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

// Power and remainder -------------------------------------------------------------------------------------------------

/** x^y with all special cases of C's pow. */
// @ts-ignore: decorator
@inline
function pow64(x: v128, y: v128): v128 {
  const a = f64x2.abs(x);
  const infinity = f64x2.splat(Infinity);
  const finite = f64x2.lt(a, infinity);
  let l = v128.bitselect(log64(a), a, finite);
  l = v128.bitselect(f64x2.neg(infinity), l, f64x2.eq(a, f64x2.splat(0)));
  const e = f64x2.pmin(f64x2.pmax(f64x2.mul(l, y), f64x2.splat(-104)), f64x2.splat(89));
  const unit = v128.or(f64x2.eq(y, f64x2.splat(0)), f64x2.eq(a, k(K.One)));
  const magnitude = v128.bitselect(k(K.One), exp64(e), unit);

  const half = f64x2.mul(y, f64x2.splat(0.5));
  const whole = f64x2.eq(f64x2.floor(y), y);
  const odd = v128.and(whole, f64x2.ne(f64x2.floor(half), half));
  const signed = v128.xor(magnitude, v128.and(v128.and(x, odd), f64x2.splat(-0.0)));
  const invalid = v128.andnot(v128.and(f64x2.lt(x, f64x2.splat(0)), finite), whole);
  return v128.or(signed, invalid);
}

// @ts-ignore: decorator
@inline
export function pow(x: v128, y: v128): v128 {
  return join(pow64(low(x), low(y)), pow64(high(x), high(y)));
}

/**
 * a less the multiple of b next to it towards 0, both finite, b not 0: exact, 26 bits of the quotient at a time. These
 * and the 24 bits of a fraction fit a float64, so that no quotient is ever rounded up to the next whole number.
 */
function remainderLong(a: f64, b: f64): f64 {
  const divisor = abs(b);
  let r = abs(a);
  while (r >= divisor) {
    const octaves = <i64>(reinterpret<u64>(r) >> 52) - <i64>(reinterpret<u64>(divisor) >> 52) - 26;
    const multiple = divisor * reinterpret<f64>((max<i64>(octaves, 0) + 1023) << 52);
    r -= floor(r / multiple) * multiple;
  }
  return a < 0 ? -r : r;
}

/** remainderLong for the lanes whose quotient q is long. */
function remainderLongLanes(a: v128, b: v128, q: v128, r: v128): v128 {
  const q0 = abs(f64x2.extract_lane(q, 0));
  const q1 = abs(f64x2.extract_lane(q, 1));
  if (q0 > LIMIT && q0 < Infinity)
    r = f64x2.replace_lane(r, 0, remainderLong(f64x2.extract_lane(a, 0), f64x2.extract_lane(b, 0)));
  if (q1 > LIMIT && q1 < Infinity)
    r = f64x2.replace_lane(r, 1, remainderLong(f64x2.extract_lane(a, 1), f64x2.extract_lane(b, 1)));
  return r;
}

/** a - b floor(a / b), exact until the last rounding; a number less than b keeps its digits. */
// @ts-ignore: decorator
@inline
function remainder64(a: v128, b: v128): v128 {
  const q = f64x2.trunc(f64x2.div(a, b));
  let r = v128.bitselect(a, f64x2.sub(a, f64x2.mul(q, b)), f64x2.lt(f64x2.abs(a), f64x2.abs(b)));
  if (v128.any_true(f64x2.gt(f64x2.abs(q), k(K.Limit)))) r = remainderLongLanes(a, b, q, r);
  const opposite = v128.and(i64x2.lt_s(v128.xor(r, b), i64x2.splat(0)), f64x2.ne(r, f64x2.splat(0)));
  return f64x2.add(r, v128.and(b, opposite));
}

// @ts-ignore: decorator
@inline
export function remainder(a: v128, b: v128): v128 {
  return join(remainder64(low(a), low(b)), remainder64(high(a), high(b)));
}
