// Transcendental functions of four float32. All but exp widen to float64, evaluate a short polynomial there and round
// once: results within about 0.53 ulp. Multiplications and additions are never fused, so that every build and every
// host gives the same bits.
//
// The functions on float64 pairs (named ...64) are accurate to some 1e-10 only, and are blind to special values unless
// they say otherwise.
export { cosh, exp, exp64, expm1, sigmoid, silu, sinh, tanh } from "./math/exponential";
export { high, join, low } from "./math/lanes";
export { log, log1p, log64, softplus } from "./math/logarithm";
export { erf, gelu } from "./math/normal";
export { pow, remainder } from "./math/power";
export { acos, asin, atan, atan2, cos, sin, tan } from "./math/trigonometry";
