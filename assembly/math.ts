// Transcendental functions of four float32. Those that training waits for are computed in float32, with multiply-adds
// that are fused where those of products are: exp, expm1, tanh, sigmoid, silu, log, log1p, softplus, gelu and its slope.
// The others widen to float64, evaluate a short polynomial there and round once, within about 0.53 ulp, without fusing.
//
// The functions on float64 pairs (named ...64) are accurate to some 1e-10 only, and are blind to special values unless
// they say otherwise.
export { cosh, exp, exp64, expm1, sigmoid, silu, sinh, tanh } from "./math/exponential";
export { high, join, low } from "./math/lanes";
export { log, log1p, log64, softplus } from "./math/logarithm";
export { erf, gelu, geluSlope } from "./math/normal";
export { pow, remainder } from "./math/power";
export { acos, asin, atan, atan2, cos, sin, tan } from "./math/trigonometry";
