import { describe, expect, test } from "vitest";
import { floats, isa, Machine, random, wasmBytes } from "./harness.ts";

const { Gemm, Opcode } = isa;
const VARIANTS = ["plain", "relaxed"];
const U = 2 ** -24;
const SENTINEL = 0x7fc0dead | 0;

/** A matrix in memory: element (i, j) at address + 4*(i*row + j*col). */
interface Matrix {
  address: number;
  row: number;
  col: number;
}

interface Product {
  m: number;
  n: number;
  k: number;
  c: number;
  cRow: number;
  a: Matrix;
  b: Matrix;
  batch?: number;
  strides?: [c: number, a: number, b: number];
  slice?: number;
  block?: number;
  add?: number;
}

function write(machine: Machine, p: Product): number {
  const { m, n, k, slice = 0, block = 8, batch = 1, strides = [0, 0, 0] } = p;
  const units = batch * Math.ceil((slice ? n : m) / block);
  return machine.instruction(Opcode.Gemm, Gemm.Length, units, {
    [Gemm.C]: p.c,
    [Gemm.A]: p.a.address,
    [Gemm.B]: p.b.address,
    [Gemm.M]: m,
    [Gemm.N]: n,
    [Gemm.K]: k,
    [Gemm.CRow]: p.cRow,
    [Gemm.ARow]: p.a.row,
    [Gemm.ACol]: p.a.col,
    [Gemm.BRow]: p.b.row,
    [Gemm.BCol]: p.b.col,
    [Gemm.Batch]: batch,
    [Gemm.CBatch]: strides[0],
    [Gemm.ABatch]: strides[1],
    [Gemm.BBatch]: strides[2],
    [Gemm.Slice]: slice,
    [Gemm.Block]: block,
    [Gemm.Add]: p.add ?? 0,
  });
}

function view(machine: Machine): Int32Array {
  return new Int32Array(machine.memory.buffer);
}

/** Stores a rows x cols matrix with the given strides; what lies between its elements would spoil any sum. */
function place(
  machine: Machine,
  values: Float32Array,
  rows: number,
  cols: number,
  row: number,
  col: number,
  offset = 0,
) {
  const extent = rows && cols ? (rows - 1) * row + (cols - 1) * col + 1 : 0;
  const address = machine.alloc(extent * 4, offset);
  const memory = new Float32Array(machine.memory.buffer, address, extent).fill(Number.NaN);
  for (let i = 0; i < rows; i++) for (let j = 0; j < cols; j++) memory[i * row + j * col] = values[i * cols + j];
  return { address, row, col };
}

/** Room for C with gaps of CRow - N after every row, the last one too, all filled with a sentinel. */
function room(machine: Machine, m: number, cRow: number, offset = 0): number {
  const address = machine.alloc(m * cRow * 4, offset);
  view(machine).fill(SENTINEL, address / 4, address / 4 + m * cRow);
  return address;
}

/** The bits of C; throws if a gap changed. */
function bitsOf(machine: Machine, c: number, m: number, n: number, cRow: number): Int32Array {
  const words = view(machine);
  const bits = new Int32Array(m * n);
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < cRow; j++) {
      const word = words[c / 4 + i * cRow + j];
      if (j < n) bits[i * n + j] = word;
      else if (word !== SENTINEL) throw new Error(`gap after row ${i} was overwritten`);
    }
  }
  return bits;
}

function numbers(n: number, seed: number, low = -1, high = 1): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => low + (high - low) * next());
}

/** Largest error of C in units of u * sum |a||b|. */
function worst(c: Float32Array, a: Float32Array, b: Float32Array, m: number, n: number, k: number): number {
  let most = 0;
  for (let i = 0; i < m; i++) {
    for (let j = 0; j < n; j++) {
      let sum = 0;
      let size = 0;
      for (let p = 0; p < k; p++) {
        const term = a[i * k + p] * b[p * n + j];
        sum += term;
        size += Math.abs(term);
      }
      const error = Math.abs(c[i * n + j] - sum);
      if (Number.isNaN(error)) return Number.POSITIVE_INFINITY;
      if (error > 0) most = Math.max(most, error / (U * size));
    }
  }
  return most;
}

/** C of a dense NN product on one worker. */
function dense(machine: Machine, a: Float32Array, b: Float32Array, m: number, n: number, k: number): Int32Array {
  const c = room(machine, m, n);
  const [pa, pb] = [place(machine, a, m, k, k, 1), place(machine, b, k, n, n, 1)];
  machine.run(write(machine, { m, n, k, c, cRow: n, a: pa, b: pb, block: 4096 }));
  return bitsOf(machine, c, m, n, n);
}

function firstDifference(actual: Int32Array, expected: Int32Array): number {
  if (actual.length !== expected.length) return -2;
  for (let i = 0; i < actual.length; i++) if (actual[i] !== expected[i]) return i;
  return -1;
}

/** Strides of a rows x cols matrix: as it is, transposed, neither. */
const LAYOUTS: Record<string, (rows: number, cols: number) => [row: number, col: number]> = {
  N: (_rows, cols) => [cols, 1],
  T: (rows) => [1, rows],
  wide: (_rows, cols) => [cols + 5, 1],
  tall: (rows) => [1, rows + 3],
  odd: (_rows, cols) => [3 * cols + 2, 3],
};

describe.each(VARIANTS)("gemm, %s", (variant) => {
  const machine = new Machine(variant, 1024);

  const SIZES = [...Array.from({ length: 19 }, (_, i) => i + 1), 33, 67];
  const MOST = 67;
  test.each([0, 1, 2, 3, 7, 8, 9, 64, 255, 256, 257, 399, 400, 401, 801])("every edge and layout, K = %i", (k) => {
    machine.reset();
    const a = numbers(MOST * k, k + 1);
    const b = numbers(k * MOST, k + 2);
    // One large product says what the bits of each element are, wherever it turns up later.
    const master = dense(machine, a, b, MOST, MOST, k);
    if (k === 0) expect(master.every((bits) => bits === 0)).toBe(true);
    else expect(worst(floats(master), a, b, MOST, MOST, k)).toBeLessThan(8);
    const layouts = Object.keys(LAYOUTS).slice(0, k > 64 ? 2 : 5);
    const as = layouts.map((name, i) => place(machine, a, MOST, k, ...LAYOUTS[name](MOST, k), 4 * i));
    const bs = layouts.map((name, i) => place(machine, b, k, MOST, ...LAYOUTS[name](k, MOST), 8 * i));
    const c = room(machine, MOST, MOST + 3, 4);
    const ip = write(machine, { m: 0, n: 0, k, c, cRow: 0, a: as[0], b: bs[0], block: 128 });
    const words = view(machine);
    const problems: string[] = [];
    for (const [x, pa] of as.entries()) {
      for (const [y, pb] of bs.entries()) {
        words[ip / 4 + Gemm.A] = pa.address;
        words[ip / 4 + Gemm.ARow] = pa.row;
        words[ip / 4 + Gemm.ACol] = pa.col;
        words[ip / 4 + Gemm.B] = pb.address;
        words[ip / 4 + Gemm.BRow] = pb.row;
        words[ip / 4 + Gemm.BCol] = pb.col;
        for (const m of SIZES) {
          for (const n of SIZES) {
            const cRow = n + ((m + n) % 4);
            words[ip / 4 + Gemm.M] = m;
            words[ip / 4 + Gemm.N] = n;
            words[ip / 4 + Gemm.CRow] = cRow;
            words[ip / 4 + isa.At.Units] = 1;
            words.fill(SENTINEL, c / 4, c / 4 + m * cRow + 1);
            machine.run(ip);
            const bits = bitsOf(machine, c, m, n, cRow);
            for (let i = 0; i < m * n; i++) {
              if (bits[i] !== master[Math.floor(i / n) * MOST + (i % n)]) {
                problems.push(`${layouts[x]}${layouts[y]} ${m}x${n}, element ${i}`);
                break;
              }
            }
            if (words[c / 4 + m * cRow] !== SENTINEL) problems.push(`${m}x${n}: wrote beyond C`);
          }
        }
      }
    }
    expect(problems.slice(0, 5)).toEqual([]);
    machine.checkGuards();
  });

  test.each([
    [67, 83, 129],
    [300, 40, 900],
    [40, 700, 401],
    [1, 133, 500],
    [133, 1, 500],
    [5, 300, 801],
  ])("workers and slices change no bit, %i x %i x %i", (m, n, k) => {
    machine.reset();
    const a = numbers(m * k, 11);
    const b = numbers(k * n, 12);
    const expected = dense(machine, a, b, m, n, k);
    expect(worst(floats(expected), a, b, m, n, k)).toBeLessThan(8);
    // Elements by themselves, the smallest slices there are.
    for (const [i, j] of [
      [0, 0],
      [m - 1, n - 1],
      [m >> 1, n >> 1],
      [m - 1, 0],
    ]) {
      const row = a.slice(i * k, (i + 1) * k);
      const column = Float32Array.from({ length: k }, (_, p) => b[p * n + j]);
      expect(dense(machine, row, column, 1, 1, k)[0]).toBe(expected[i * n + j]);
    }
    for (const [x, y] of ["NN", "NT", "TN", "TT"]) {
      const pa = place(machine, a, m, k, ...LAYOUTS[x](m, k));
      const pb = place(machine, b, k, n, ...LAYOUTS[y](k, n), 12);
      for (const slice of [0, 1]) {
        for (const block of slice ? [8, 24, 1024] : [4, 20, 1024]) {
          for (const workers of [1, 2, 3, 7]) {
            const cRow = n + workers - 1;
            const c = room(machine, m, cRow);
            machine.run(write(machine, { m, n, k, c, cRow, a: pa, b: pb, slice, block }), workers);
            const what = `${x}${y} slice ${slice}, blocks of ${block}, ${workers} workers`;
            expect([what, firstDifference(bitsOf(machine, c, m, n, cRow), expected)]).toEqual([what, -1]);
          }
        }
      }
    }
    machine.checkGuards();
  });

  // With K of one block: what C holds plus the product; of several, their products one after the other.
  test.each([0, 1, 5, 64, 255, 400, 401, 900])("added to what C holds, K = %i", (k) => {
    const [most, problems] = [67, [] as string[]];
    const [a, b, held] = [numbers(most * k, 41), numbers(k * most, 42), numbers(most * most, 43)];
    machine.reset();
    const depths = Math.ceil(k / 400);
    const depth = (Math.ceil(k / Math.max(1, depths)) + 3) & ~3;
    const expected = held.slice();
    for (let p = 0; p < k; p += depth) {
      const kc = Math.min(depth, k - p);
      const left = Float32Array.from({ length: most * kc }, (_, i) => a[Math.floor(i / kc) * k + p + (i % kc)]);
      const block = floats(dense(machine, left, b.slice(p * most, (p + kc) * most), most, most, kc));
      block.forEach((v, i) => {
        expected[i] += v;
      });
    }
    const want = new Int32Array(expected.buffer);
    for (const [x, y] of ["NN", "NT", "TN", "TT"]) {
      const pa = place(machine, a, most, k, ...LAYOUTS[x](most, k));
      const pb = place(machine, b, k, most, ...LAYOUTS[y](k, most), 12);
      for (const m of [1, 2, 4, 7, 8, 13, 32, 33, 64, 67])
        for (const n of [1, 3, 8, 15, 16, 31, 33, 40, 67])
          for (const slice of [0, 1]) {
            const cRow = n + 3;
            const c = room(machine, m, cRow);
            const memory = new Float32Array(machine.memory.buffer, c, m * cRow);
            for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) memory[i * cRow + j] = held[i * most + j];
            machine.run(write(machine, { m, n, k, c, cRow, a: pa, b: pb, slice, block: 8, add: 1 }), 2);
            const bits = bitsOf(machine, c, m, n, cRow);
            const wrong = bits.findIndex((v, i) => v !== want[Math.floor(i / n) * most + (i % n)]);
            if (wrong >= 0) problems.push(`${x}${y} ${m}x${n}, slice ${slice}, element ${wrong}`);
          }
    }
    expect(problems.slice(0, 5)).toEqual([]);
    machine.checkGuards();
  });

  test("batches, also with operands shared by all entries", () => {
    const [m, n, k, batch] = [13, 21, 37, 5];
    for (const [sharedA, sharedB] of [
      [0, 0],
      [1, 0],
      [0, 1],
      [1, 1],
    ]) {
      machine.reset();
      const a = numbers(batch * m * k, 21);
      const b = numbers(batch * k * n, 22);
      const expected = Array.from({ length: batch }, (_, e) => {
        const [ea, eb] = [sharedA ? 0 : e, sharedB ? 0 : e];
        return dense(machine, a.slice(ea * m * k, (ea + 1) * m * k), b.slice(eb * k * n, (eb + 1) * k * n), m, n, k);
      });
      const pa = { address: machine.f32(a, 4), row: k, col: 1 };
      const pb = { address: machine.f32(b, 8), row: n, col: 1 };
      const cRow = n + 2;
      for (const slice of [0, 1]) {
        for (const workers of [1, 2, 3, 7]) {
          const c = room(machine, batch * (m + 1), cRow);
          const strides: [number, number, number] = [(m + 1) * cRow, sharedA ? 0 : m * k, sharedB ? 0 : k * n];
          const p = { m, n, k, c, cRow, a: pa, b: pb, batch, strides, slice, block: 8 };
          machine.run(write(machine, p), workers);
          for (let e = 0; e < batch; e++) {
            const start = c + e * strides[0] * 4;
            expect(firstDifference(bitsOf(machine, start, m, n, cRow), expected[e])).toBe(-1);
            // The row between two entries belongs to neither.
            expect(view(machine).slice(start / 4 + m * cRow, start / 4 + (m + 1) * cRow)).toEqual(
              new Int32Array(cRow).fill(SENTINEL),
            );
          }
        }
      }
      machine.checkGuards();
    }
  });

  test("strides of 0 within a matrix, and negative ones", () => {
    machine.reset();
    for (const [m, n, k] of [
      [6, 9, 20],
      [1, 40, 20],
      [30, 1, 20],
      [12, 20, 5],
    ]) {
      const values = numbers(4096, 31);
      const base = machine.f32(values);
      const [mid, start] = [base + 4 * 2048, 2048];
      for (const [ar, ac] of [
        [0, 1],
        [1, 0],
        [0, 0],
        [-k, -1],
        [-1, m],
      ]) {
        for (const [br, bc] of [
          [0, 1],
          [1, 0],
          [0, 0],
          [-n, 1],
          [1, -k],
        ]) {
          const a = new Float32Array(m * k);
          const b = new Float32Array(k * n);
          for (let i = 0; i < m; i++) for (let p = 0; p < k; p++) a[i * k + p] = values[start + i * ar + p * ac];
          for (let p = 0; p < k; p++) for (let j = 0; j < n; j++) b[p * n + j] = values[start + p * br + j * bc];
          const c = room(machine, m, n);
          const pa = { address: mid, row: ar, col: ac };
          const pb = { address: mid, row: br, col: bc };
          machine.run(write(machine, { m, n, k, c, cRow: n, a: pa, b: pb }));
          expect(firstDifference(bitsOf(machine, c, m, n, n), dense(machine, a, b, m, n, k))).toBe(-1);
        }
      }
    }
    machine.checkGuards();
  });

  test("sizes of 0", () => {
    machine.reset();
    const a = place(machine, numbers(64, 1), 8, 8, 8, 1);
    for (const [m, n, k, batch] of [
      [0, 8, 8, 1],
      [8, 0, 8, 1],
      [0, 0, 0, 1],
      [8, 8, 8, 0],
      [5, 7, 0, 2],
    ]) {
      for (const slice of [0, 1]) {
        const c = room(machine, 16, 9);
        const strides: [number, number, number] = [8 * 9, 0, 0];
        machine.run(write(machine, { m, n, k, c, cRow: 9, a, b: a, batch, strides, slice, block: 8 }), 2);
        const words = view(machine).slice(c / 4, c / 4 + 16 * 9);
        const expected = new Int32Array(16 * 9).fill(SENTINEL);
        if (k === 0)
          for (let e = 0; e < batch; e++)
            for (let i = 0; i < m; i++) for (let j = 0; j < n; j++) expected[e * 72 + i * 9 + j] = 0;
        expect(words).toEqual(expected);
      }
    }
    machine.checkGuards();
  });

  test("nothing behind the end of memory is read", () => {
    // Reads that influence no result would go unnoticed anywhere else; here they trap.
    const small = new Machine(variant, 32);
    const end = small.memory.buffer.byteLength;
    const memory = new Float32Array(small.memory.buffer);
    for (const [m, n] of [
      [1, 1],
      [1, 31],
      [1, 33],
      [2, 9],
      [3, 8],
      [5, 7],
      [8, 16],
      [9, 10],
      [14, 35],
      [16, 6],
      [17, 35],
      [20, 23],
      [40, 1],
    ]) {
      for (const k of [1, 3, 6, 401]) {
        const [a, b] = [numbers(m * k, 41), numbers(k * n, 42)];
        small.reset();
        const expected = dense(small, a, b, m, n, k);
        for (const [x, y] of ["NN", "NT", "TN", "TT"]) {
          for (const last of ["a", "b", "c"]) {
            small.reset();
            const pa = place(small, a, m, k, ...LAYOUTS[x](m, k));
            const pb = place(small, b, k, n, ...LAYOUTS[y](k, n));
            let c = room(small, m, n);
            const move = (p: Matrix, length: number) => {
              memory.copyWithin(end / 4 - length, p.address / 4, p.address / 4 + length);
              p.address = end - length * 4;
            };
            if (last === "a") move(pa, m * k);
            else if (last === "b") move(pb, k * n);
            else c = end - m * n * 4;
            small.run(write(small, { m, n, k, c, cRow: n, a: pa, b: pb, block: 64 }));
            expect(firstDifference(bitsOf(small, c, m, n, n), expected)).toBe(-1);
          }
        }
      }
    }
  });

  test("NaN and infinities reach the elements they belong to, and no others", () => {
    for (const [m, n, k] of [
      [1, 9, 5],
      [6, 10, 7],
      [9, 17, 420],
      [40, 35, 33],
      [33, 1, 12],
    ]) {
      machine.reset();
      const a = numbers(m * k, 51);
      const b = numbers(k * n, 52);
      const kLast = k - 1;
      a[(m - 1) * k + kLast] = Number.POSITIVE_INFINITY;
      b[kLast * n + n - 1] = 0; // Infinity * 0
      if (m > 2) {
        a[1 * k] = Number.NaN;
        for (let j = 0; j < n; j++) b[j] = 0; // NaN * 0
        a[0] = Number.NEGATIVE_INFINITY; // -Infinity * 0
      }
      if (n > 2) b[kLast * n + 1] = Number.NEGATIVE_INFINITY;
      const expected = new Float64Array(m * n);
      for (let i = 0; i < m; i++)
        for (let j = 0; j < n; j++) for (let p = 0; p < k; p++) expected[i * n + j] += a[i * k + p] * b[p * n + j];
      for (const [x, y] of ["NN", "NT", "TN", "TT"]) {
        const pa = place(machine, a, m, k, ...LAYOUTS[x](m, k));
        const pb = place(machine, b, k, n, ...LAYOUTS[y](k, n));
        const c = room(machine, m, n + 1);
        machine.run(write(machine, { m, n, k, c, cRow: n + 1, a: pa, b: pb }));
        const actual = floats(bitsOf(machine, c, m, n, n + 1));
        for (let i = 0; i < m * n; i++) {
          if (Number.isFinite(expected[i])) expect(Math.abs(actual[i] - expected[i])).toBeLessThan(1e-4);
          else expect(actual[i]).toBe(expected[i]);
        }
      }
    }
    machine.checkGuards();
  });

  test("subnormal products and zeros of either sign", () => {
    machine.reset();
    const tiny = 2 ** -149;
    // Sums start at +0, so even -0 * 1 gives +0.
    const a = Float32Array.from([tiny, 0, -0, 1, 2 ** -75, 0, 0, -1]);
    const b = Float32Array.from([1, -1, 0, 3, 2 ** -74, 2, -0, 0]);
    const bits = dense(machine, a, b, 4, 4, 2);
    const zero = [0, 0];
    expect(floats(bits).slice(0, 4)).toEqual(Float32Array.from([tiny, -tiny, ...zero.slice(1), 3 * tiny]));
    // Row 1 is (-0, 1): -0 * b + b'.
    expect(floats(bits).slice(4, 8)).toEqual(Float32Array.from([2 ** -74, 2, 0, 0]));
    // Row 3 is (0, -1).
    expect(floats(bits).slice(12, 16)).toEqual(Float32Array.from([-(2 ** -74), -2, 0, 0]));
  });

  // Blocks of at most 400 terms, summed one by one, then one block after the other: rounding errors mostly cancel, but
  // less so where all terms have one sign and the partial sums grow all the way. K = 400 is the worst case.
  test.each([64, 256, 400, 700, 1024, 2048, 4096])("errors in units of u sum |a||b|, K = %i", (k) => {
    machine.reset();
    const [m, n] = [19, 21];
    for (const [low, bound] of [
      [-1, 8],
      [0, 20],
    ]) {
      const a = numbers(m * k, 61, low);
      const b = numbers(k * n, 62, low);
      expect(worst(floats(dense(machine, a, b, m, n, k)), a, b, m, n, k)).toBeLessThan(bound);
    }
    machine.checkGuards();
  });

  test("scratch holds everything besides the operands", () => {
    machine.reset();
    // The words right behind the scratch are guarded.
    const [m, n, k] = [600, 520, 400];
    dense(machine, numbers(m * k, 71), numbers(k * n, 72), m, n, k);
    dense(machine, numbers(m * 3, 73), numbers(3 * n, 74), m, n, 3);
    machine.checkGuards();
  });

  test("the ceiling loop computes its sums", () => {
    const { exports } = new WebAssembly.Instance(new WebAssembly.Module(wasmBytes(variant, "peak")), {
      env: { memory: machine.memory },
    });
    const peak = exports.peak as (iterations: number) => number;
    // (2 + 3 + 4 + 5) h * (6 - 1) h, h = 1 / (n + 1), for odd n; it cancels for even n.
    expect(peak(3)).toBeCloseTo(70 / 16, 5);
    expect(peak(4)).toBeCloseTo(0, 5);
    expect(peak(0)).toBe(0);
  });
});
