// The exponential that weights are made of: of a score less the largest one. Multiply-adds are fused where those of products are.
import { K } from "../constants";
import { single } from "../math/lanes";
import { madd } from "../simd";

/** Scores further below the largest one than this have no weight: e^-86 is as good as none, and no result is subnormal, which is slow. */
const LEAST: f32 = -86;

/** e^x for x up to 80, about 1 ulp; 0 below LEAST, and NaN stays NaN. */
// @ts-ignore: decorator
@inline
export function weight(x: v128): v128 {
  const y = f32x4.pmax(x, f32x4.splat(LEAST));
  // The low bits of t are n, the integer nearest to y / ln 2.
  const t = madd(y, single(K.SingleLog2e), single(K.SingleRoundBias));
  const minus = f32x4.sub(single(K.SingleRoundBias), t);
  const r = madd(minus, single(K.Ln2Low), madd(minus, single(K.Ln2High), y));
  let p = madd(single(K.SingleExp6), r, single(K.SingleExp5));
  p = madd(p, r, single(K.SingleExp4));
  p = madd(p, r, single(K.SingleExp3));
  p = madd(p, r, single(K.SingleExp2));
  const one = single(K.SingleOne);
  const e = f32x4.add(madd(p, f32x4.mul(r, r), r), one);
  return v128.andnot(f32x4.mul(e, i32x4.add(i32x4.shl(t, 23), one)), f32x4.lt(x, f32x4.splat(LEAST)));
}
