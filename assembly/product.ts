// Matrix products that are exact: small ones in float64, each element rounded once, and those of integers.
import { Product } from "./isa";
import { arg, beat, loadUpTo, PART, ptr, storeUpTo } from "./simd";

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

/** The float32 at p in both lanes. */
// @ts-ignore: decorator
@inline
function twice(p: usize): v128 {
  return f64x2.splat(<f64>load<f32>(p));
}

/** The four sums, rounded. */
// @ts-ignore: decorator
@inline
function rounded(low: v128, high: v128): v128 {
  return v128.shuffle<i64>(f32x4.demote_f64x2_zero(low), f32x4.demote_f64x2_zero(high), 0, 2);
}

export function product(ip: usize, begin: i32, end: i32, _scratch: usize): void {
  const rows = arg(ip, Product.M);
  const cols = arg(ip, Product.N);
  const depth = arg(ip, Product.K);
  const aRow = ptr(ip, Product.ARow) << 2;
  const aStep = ptr(ip, Product.ACol) << 2;
  const bStep = ptr(ip, Product.BRow) << 2;
  const bCol = ptr(ip, Product.BCol) << 2;
  const cRow = (<usize>cols) << 2;
  const block = arg(ip, Product.Block);
  const last = min(arg(ip, Product.Batch) * rows, end * block);
  let height = 0;
  let turn = 0;
  for (let r = begin * block; r < last; r += height) {
    const batch = r / rows;
    const row = r - batch * rows;
    height = min(4, min(last - r, rows - row));
    const a = ptr(ip, Product.A) + ((<usize>(batch * arg(ip, Product.ABatch))) << 2) + <usize>row * aRow;
    const b = ptr(ip, Product.B) + ((<usize>(batch * arg(ip, Product.BBatch))) << 2);
    for (let c = 0; c < cols; c += 4) {
      if ((++turn & 15) == 0) beat();
      const n = cols - c;
      const to = ptr(ip, Product.C) + <usize>r * cRow + ((<usize>c) << 2);
      let q = b + <usize>c * bCol;
      if (arg(ip, Product.Integer)) {
        for (let h = 0; h < height; h++) {
          let p = a + <usize>h * aRow;
          q = b + <usize>c * bCol;
          let sum = i32x4.splat(0);
          for (let k = 0; k < depth; ) {
            const stop = min(depth, k + PART);
            for (; k < stop; k++, q += bStep, p += aStep)
              sum = i32x4.add(sum, i32x4.mul(i32x4.splat(load<i32>(p)), four(q, n, bCol)));
            if (stop < depth) beat();
          }
          storeUpTo(to + <usize>h * cRow, sum, n);
        }
        continue;
      }
      // Rows that are not there repeat the last one.
      let p0 = a;
      let p1 = height > 1 ? p0 + aRow : p0;
      let p2 = height > 2 ? p1 + aRow : p1;
      let p3 = height > 3 ? p2 + aRow : p2;
      let l0 = f64x2.splat(0);
      let h0 = l0;
      let l1 = l0;
      let h1 = l0;
      let l2 = l0;
      let h2 = l0;
      let l3 = l0;
      let h3 = l0;
      for (let left = depth; left > 0; ) {
        const rest = max(left - PART, 0);
        for (; left > rest; left--, q += bStep) {
          const y = four(q, n, bCol);
          const low = f64x2.promote_low_f32x4(y);
          const high = f64x2.promote_low_f32x4(v128.shuffle<i64>(y, y, 1, 0));
          let x = twice(p0);
          l0 = f64x2.add(l0, f64x2.mul(x, low));
          h0 = f64x2.add(h0, f64x2.mul(x, high));
          x = twice(p1);
          l1 = f64x2.add(l1, f64x2.mul(x, low));
          h1 = f64x2.add(h1, f64x2.mul(x, high));
          x = twice(p2);
          l2 = f64x2.add(l2, f64x2.mul(x, low));
          h2 = f64x2.add(h2, f64x2.mul(x, high));
          x = twice(p3);
          l3 = f64x2.add(l3, f64x2.mul(x, low));
          h3 = f64x2.add(h3, f64x2.mul(x, high));
          p0 += aStep;
          p1 += aStep;
          p2 += aStep;
          p3 += aStep;
        }
        if (rest > 0) beat();
      }
      storeUpTo(to, rounded(l0, h0), n);
      if (height > 1) storeUpTo(to + cRow, rounded(l1, h1), n);
      if (height > 2) storeUpTo(to + 2 * cRow, rounded(l2, h2), n);
      if (height > 3) storeUpTo(to + 3 * cRow, rounded(l3, h3), n);
    }
  }
}
