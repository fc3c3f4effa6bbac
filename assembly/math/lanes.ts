// Float64 pairs and float32 vectors: constants, conversions, a step of Horner's scheme.
import { K } from "../constants";
import { Memory } from "../isa";

/** The constant in both float64 lanes. */
// @ts-ignore: decorator
@inline
export function k(at: K): v128 {
  return v128.load64_splat(Memory.Constants + at * 8);
}

/** The float32 constant in all four lanes. */
// @ts-ignore: decorator
@inline
export function single(at: K): v128 {
  return v128.load32_splat(Memory.Constants + at * 8);
}

/** sum * x + constant, a step of Horner's scheme. */
// @ts-ignore: decorator
@inline
export function step(sum: v128, x: v128, at: K): v128 {
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
export function clamp(x: v128, from: f32, to: f32): v128 {
  return f32x4.pmin(f32x4.pmax(x, f32x4.splat(from)), f32x4.splat(to));
}

/** magnitude with the sign bits of sign. */
// @ts-ignore: decorator
@inline
export function withSign(magnitude: v128, sign: v128): v128 {
  return v128.bitselect(sign, magnitude, f64x2.splat(-0.0));
}
