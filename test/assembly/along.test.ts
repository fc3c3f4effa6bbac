/** Kernels that work along an axis: running sums, sorted order, windows added up. */
import { describe, expect, it } from "vitest";
import { floats, isa, Machine, random } from "./harness.ts";

const { Opcode, Cumsum, Argsort, Fold } = isa;

const numbers = (n: number, seed: number): Float32Array => {
  const rand = random(seed);
  return Float32Array.from({ length: n }, () => (rand() - 0.5) * 2 ** (rand() * 20));
};

describe.each(["plain", "relaxed"])("running sums, %s", (variant) => {
  const m = new Machine(variant);

  function cumsum(values: Float32Array | Int32Array, [outer, r, inner]: number[], reverse: boolean, grain = 4) {
    m.reset();
    const integer = values instanceof Int32Array;
    const out = m.alloc(values.length * 4, 4);
    const ip = m.instruction(Opcode.Cumsum, Cumsum.Length, Math.ceil((outer * inner) / grain), {
      [Cumsum.Out]: out,
      [Cumsum.In]: m.i32(new Int32Array(values.buffer), 8),
      [Cumsum.Outer]: outer,
      [Cumsum.R]: r,
      [Cumsum.Inner]: inner,
      [Cumsum.Reverse]: Number(reverse),
      [Cumsum.Integer]: Number(integer),
      [Cumsum.Grain]: grain,
    });
    const words = m.runEverySplit(ip, out, values.length);
    return Array.from(integer ? words : floats(words));
  }

  it("are those of float64 rounded once, in both directions and any shape", () => {
    for (const shape of [
      [1, 1, 1],
      [1, 1000, 1],
      [7, 33, 1],
      [3, 17, 5],
      [2, 3, 2500],
      [4, 0, 3],
      [0, 3, 3],
    ]) {
      const [outer, r, inner] = shape;
      const values = numbers(outer * r * inner, r + inner);
      for (const reverse of [false, true]) {
        const want = new Float32Array(values.length);
        for (let o = 0; o < outer; o++)
          for (let c = 0; c < inner; c++) {
            let sum = 0;
            for (let k = 0; k < r; k++) {
              const at = (o * r + (reverse ? r - 1 - k : k)) * inner + c;
              sum += values[at];
              want[at] = sum;
            }
          }
        for (const grain of [1, 4, 100]) expect(cumsum(values, shape, reverse, grain)).toEqual(Array.from(want));
      }
    }
  });

  it("wrap for int32, and carry NaN and infinities on", () => {
    expect(cumsum(Int32Array.of(2 ** 31 - 1, 1, 1), [1, 3, 1], false)).toEqual([
      2 ** 31 - 1,
      -(2 ** 31),
      -(2 ** 31) + 1,
    ]);
    expect(cumsum(Float32Array.of(1, Infinity, 1, -Infinity, 1), [1, 5, 1], false)).toEqual([
      1,
      Infinity,
      Infinity,
      NaN,
      NaN,
    ]);
  });
});

describe.each(["plain", "relaxed"])("sorted order, %s", (variant) => {
  const m = new Machine(variant);

  function argsort(values: Float32Array | Int32Array, rows: number, descending: boolean, block = 1) {
    m.reset();
    const cols = values.length / rows;
    const out = m.alloc(values.length * 4, 4);
    const ip = m.instruction(Opcode.Argsort, Argsort.Length, Math.ceil(rows / block), {
      [Argsort.Out]: out,
      [Argsort.In]: m.i32(new Int32Array(values.buffer), 8),
      [Argsort.Spare]: m.alloc(values.length * 4),
      [Argsort.Rows]: rows,
      [Argsort.Cols]: cols,
      [Argsort.Descending]: Number(descending),
      [Argsort.Integer]: Number(values instanceof Int32Array),
      [Argsort.Block]: block,
    });
    return Array.from(m.runEverySplit(ip, out, values.length));
  }

  /** By the host's stable sort; NaN is the largest. */
  function reference(values: Float32Array | Int32Array, rows: number, descending: boolean): number[] {
    const cols = values.length / rows;
    const rank = (v: number): number => (Number.isNaN(v) ? Number.POSITIVE_INFINITY : v);
    const less = (a: number, b: number): boolean =>
      Number.isNaN(b) ? !Number.isNaN(a) : !Number.isNaN(a) && rank(a) < rank(b);
    return Array.from({ length: rows }, (_, r) => {
      const row = values.subarray(r * cols, (r + 1) * cols);
      return [...row.keys()].sort((i, j) => {
        const [a, b] = descending ? [row[j], row[i]] : [row[i], row[j]];
        return less(a, b) ? -1 : less(b, a) ? 1 : 0;
      });
    }).flat();
  }

  it("is stable, for rows of every length", () => {
    for (const cols of [1, 2, 7, 8, 9, 16, 17, 31, 100, 1000])
      for (const descending of [false, true]) {
        const rand = random(cols);
        // Few different values: many ties.
        const whole = Int32Array.from({ length: 3 * cols }, () => Math.floor((rand() - 0.5) * cols));
        expect(argsort(whole, 3, descending)).toEqual(reference(whole, 3, descending));
        const real = Float32Array.from(whole, (v) => v / 8);
        expect(argsort(real, 3, descending, 2)).toEqual(reference(real, 3, descending));
      }
  });

  it("knows NaN, infinities, both zeros, subnormals and the ends of int32", () => {
    const odd = [0, -0, NaN, Infinity, -Infinity, 2 ** -149, -(2 ** -149), 3.4e38, -3.4e38, -NaN, 1, 0, -0];
    const ends = Int32Array.of(2 ** 31 - 1, -(2 ** 31), 0, -1, 1, 2 ** 31 - 1, -(2 ** 31));
    for (const descending of [false, true]) {
      expect(argsort(Float32Array.from(odd), 1, descending)).toEqual(reference(Float32Array.from(odd), 1, descending));
      expect(argsort(ends, 1, descending)).toEqual(reference(ends, 1, descending));
    }
    const negativeNaN = new Float32Array(Int32Array.of(-1, 0x3f800000, 0x7fc00000, -4194304).buffer);
    expect(argsort(negativeNaN, 1, false)).toEqual([1, 0, 2, 3]);
  });
});

describe.each(["plain", "relaxed"])("windows added up, %s", (variant) => {
  const m = new Machine(variant);

  it("gives each element the sum of the windows it is in, rounded once", () => {
    for (const [outer, windows, inner, size, step, dilation, more] of [
      [1, 1, 1, 1, 1, 1, 0],
      [2, 5, 1, 3, 1, 1, 0],
      [3, 4, 7, 3, 2, 1, 1],
      [2, 4, 3, 2, 5, 1, 4],
      [2, 6, 4, 3, 2, 3, 0],
      [1, 9, 33, 4, 1, 2, 2],
    ]) {
      const extent = (windows - 1) * step + dilation * (size - 1) + 1 + more;
      const values = numbers(outer * windows * inner * size, windows);
      const want = new Float64Array(outer * extent * inner);
      for (let o = 0; o < outer; o++)
        for (let e = 0; e < extent; e++)
          for (let n = 0; n < inner; n++)
            for (let t = 0; t < size; t++) {
              const w = (e - t * dilation) / step;
              if (w >= 0 && Number.isInteger(w) && w < windows)
                want[(o * extent + e) * inner + n] += values[((o * windows + w) * inner + n) * size + t];
            }
      for (const block of [1, 4, 1000]) {
        m.reset();
        const out = m.alloc(want.length * 4, 4);
        const ip = m.instruction(Opcode.Fold, Fold.Length, Math.ceil((outer * extent) / block), {
          [Fold.Out]: out,
          [Fold.In]: m.f32(values, 8),
          [Fold.Outer]: outer,
          [Fold.Extent]: extent,
          [Fold.Windows]: windows,
          [Fold.Inner]: inner,
          [Fold.Size]: size,
          [Fold.Step]: step,
          [Fold.Dilation]: dilation,
          [Fold.Block]: block,
        });
        expect(Array.from(floats(m.runEverySplit(ip, out, want.length)))).toEqual(Array.from(want, Math.fround));
      }
    }
  });
});
