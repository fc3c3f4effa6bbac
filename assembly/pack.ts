// Panels of matrices, as the micro-kernels read them.

/** Packs kc x nc of B into panels of 8 columns, [kc][8] each; the last panel is filled up by repetition. */
export function gemmPackB(to: usize, b: usize, bRow: usize, bCol: usize, kc: i32, nc: i32): void {
  const panel = (<usize>kc) << 5;
  if (bCol == 4) {
    // Two panels at once, or lines of the cache would be fetched twice where the strides make them collide.
    for (; nc >= 16; nc -= 16) {
      copy16(to, to + 16, to + panel, to + panel + 16, 32, b, bRow, kc);
      to += panel << 1;
      b += 64;
    }
    if (nc >= 8) {
      copy8(to, b, bRow, kc);
      to += panel;
      b += 32;
      nc -= 8;
    }
  }
  for (; nc > 0; nc -= 8) {
    packColumns(to, 32, b, bRow, bCol, kc, nc);
    // The right half of the panel need only hold something valid.
    packColumns(to + 16, 32, nc > 4 ? b + (bCol << 2) : b, bRow, bCol, kc, nc > 4 ? nc - 4 : nc);
    to += panel;
    b += bCol << 3;
  }
}

/** Packs mc x kc of A into panels of 4 rows, [kc][4] each; the last panel is filled up by repetition. */
export function gemmPackA(to: usize, a: usize, aRow: usize, aCol: usize, kc: i32, mc: i32): void {
  const panel = (<usize>kc) << 4;
  if (aRow == 4) {
    for (; mc >= 16; mc -= 16) {
      copy16(to, to + panel, to + (panel << 1), to + panel * 3, 16, a, aCol, kc);
      to += panel << 2;
      a += 64;
    }
    for (; mc >= 4; mc -= 4) {
      copy4(to, a, aCol, kc);
      to += panel;
      a += 16;
    }
  }
  for (; mc > 0; mc -= 4) {
    packColumns(to, 16, a, aCol, aRow, kc, mc);
    to += panel;
    a += aRow << 2;
  }
}

/** kc rows of 16 elements to four places each; `step` leads to those of the next row. */
function copy16(t0: usize, t1: usize, t2: usize, t3: usize, step: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(t0, v128.load(from));
    v128.store(t1, v128.load(from, 16));
    v128.store(t2, v128.load(from, 32));
    v128.store(t3, v128.load(from, 48));
    t0 += step;
    t1 += step;
    t2 += step;
    t3 += step;
    from += row;
  } while (--kc);
}

/** kc rows of 8 elements. */
function copy8(to: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(to, v128.load(from));
    v128.store(to, v128.load(from, 16), 16);
    to += 32;
    from += row;
  } while (--kc);
}

/** kc rows of 4 elements. */
function copy4(to: usize, from: usize, row: usize, kc: i32): void {
  do {
    v128.store(to, v128.load(from));
    to += 16;
    from += row;
  } while (--kc);
}

/** kc x 4 elements of any strides to rows of `step` bytes; the last of `cols` < 4 columns is repeated. */
export function packColumns(to: usize, step: usize, p0: usize, row: usize, col: usize, kc: i32, cols: i32): void {
  let p1 = cols > 1 ? p0 + col : p0;
  let p2 = cols > 2 ? p1 + col : p1;
  let p3 = cols > 3 ? p2 + col : p2;
  if (row == 4) {
    for (; kc >= 4; kc -= 4) {
      const r0 = v128.load(p0);
      const r1 = v128.load(p1);
      const r2 = v128.load(p2);
      const r3 = v128.load(p3);
      const l01 = v128.shuffle<f32>(r0, r1, 0, 4, 1, 5);
      const l23 = v128.shuffle<f32>(r2, r3, 0, 4, 1, 5);
      const h01 = v128.shuffle<f32>(r0, r1, 2, 6, 3, 7);
      const h23 = v128.shuffle<f32>(r2, r3, 2, 6, 3, 7);
      v128.store(to, v128.shuffle<f64>(l01, l23, 0, 2));
      to += step;
      v128.store(to, v128.shuffle<f64>(l01, l23, 1, 3));
      to += step;
      v128.store(to, v128.shuffle<f64>(h01, h23, 0, 2));
      to += step;
      v128.store(to, v128.shuffle<f64>(h01, h23, 1, 3));
      to += step;
      p0 += 16;
      p1 += 16;
      p2 += 16;
      p3 += 16;
    }
  }
  for (; kc > 0; --kc) {
    store<u32>(to, load<u32>(p0));
    store<u32>(to, load<u32>(p1), 4);
    store<u32>(to, load<u32>(p2), 8);
    store<u32>(to, load<u32>(p3), 12);
    to += step;
    p0 += row;
    p1 += row;
    p2 += row;
    p3 += row;
  }
}
