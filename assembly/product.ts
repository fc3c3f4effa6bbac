// Small matrix products in float64, each element rounded once.
import { Product } from "./isa";
import { arg, loadUpTo, ptr, storeUpTo } from "./simd";

/** Up to four elements of B side by side, `step` bytes apart. */
// @ts-ignore: decorator
@inline
function four(p: usize, n: i32, step: usize): v128 {
  if (step == 4) return loadUpTo(p, n, i32x4.splat(0));
  let v = v128.load32_zero(p);
  if (n > 1) v = v128.load_lane<u32>(p + step, v, 1);
  if (n > 2) v = v128.load_lane<u32>(p + 2 * step, v, 2);
  if (n > 3) v = v128.load_lane<u32>(p + 3 * step, v, 3);
  return v;
}

export function product(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const rows = arg(ip, Product.M);
  const cols = arg(ip, Product.N);
  const depth = arg(ip, Product.K);
  const aStep = ptr(ip, Product.ACol) << 2;
  const bRow = ptr(ip, Product.BRow) << 2;
  const bCol = ptr(ip, Product.BCol) << 2;
  const block = arg(ip, Product.Block);
  const last = min(arg(ip, Product.Batch) * rows, end * block);
  for (let r = begin * block; r < last; r++) {
    const batch = r / rows;
    const row = batch * arg(ip, Product.ABatch) + (r - batch * rows) * arg(ip, Product.ARow);
    const a = ptr(ip, Product.A) + ((<usize>row) << 2);
    const b = ptr(ip, Product.B) + ((<usize>(batch * arg(ip, Product.BBatch))) << 2);
    let to = ptr(ip, Product.C) + ((<usize>(r * cols)) << 2);
    for (let c = 0; c < cols; c += 4, to += 16) {
      const n = cols - c;
      let p = a;
      let q = b + <usize>c * bCol;
      let low = f64x2.splat(0);
      let high = f64x2.splat(0);
      for (let k = 0; k < depth; k++, p += aStep, q += bRow) {
        const x = f64x2.splat(<f64>load<f32>(p));
        const y = four(q, n, bCol);
        low = f64x2.add(low, f64x2.mul(x, f64x2.promote_low_f32x4(y)));
        high = f64x2.add(high, f64x2.mul(x, f64x2.promote_low_f32x4(v128.shuffle<i64>(y, y, 1, 0))));
      }
      storeUpTo(to, v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2), n);
    }
  }
}
