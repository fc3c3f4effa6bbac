import { describe, expect, it } from "vitest";
import { floats, isa, Machine, random, sameBits, ulps } from "./harness.ts";

const { Opcode, Softmax, SoftmaxGrad, CrossEntropy, CrossEntropyGrad } = isa;
const IGNORE = -100;
/** Softmax rounds twice: e^(x - max), which can weigh a whole ulp of the quotient, and the quotient. */
const ULPS = 1.5;
const lengths = [...Array.from({ length: 67 }, (_, i) => i + 1), 128, 1000, 1023];

// Float64 references for one row.

function logSumExp(x: ArrayLike<number>): { max: number; log: number } {
  const max = Math.max(...Array.from(x));
  return { max, log: Math.log(Array.from(x).reduce((sum, v) => sum + Math.exp(v - max), 0)) };
}

function softmaxRow(x: ArrayLike<number>, log: boolean): number[] {
  const s = logSumExp(x);
  return Array.from(x, (v) => (log ? v - s.max - s.log : Math.exp(v - s.max) / Math.exp(s.log)));
}

function softmaxGradRow(y: ArrayLike<number>, g: ArrayLike<number>, log: boolean): number[] {
  const ys = Array.from(y);
  const gs = Array.from(g);
  const s = log ? gs.reduce((a, b) => a + b, 0) : gs.reduce((a, b, i) => a + b * ys[i], 0);
  return ys.map((v, i) => (log ? gs[i] - Math.exp(v) * s : v * (gs[i] - s)));
}

function crossEntropyRow(x: ArrayLike<number>, label: number): number {
  const s = logSumExp(x);
  return s.max - x[label] + s.log;
}

function crossEntropyGradRow(x: ArrayLike<number>, label: number, g: number): number[] {
  return softmaxRow(x, false).map((p, i) => (p - (i === label ? 1 : 0)) * g);
}

/** Normal-ish logits. */
function logits(n: number, seed: number, scale = 4): Float32Array {
  const rand = random(seed);
  return Float32Array.from({ length: n }, () => (rand() + rand() + rand() - 1.5) * 2 * scale);
}

function softmax(m: Machine, x: ArrayLike<number>, rows: number, log: boolean, block = 3): Float32Array {
  const cols = rows ? x.length / rows : 0;
  const from = m.f32(x, 4 * (cols % 7));
  const out = m.alloc(x.length * 4, 4 * (cols % 5));
  const operands = {
    [Softmax.Out]: out,
    [Softmax.In]: from,
    [Softmax.Rows]: rows,
    [Softmax.Cols]: cols,
    [Softmax.Log]: Number(log),
    [Softmax.Block]: block,
  };
  const units = Math.ceil(rows / block);
  const got = floats(m.runEverySplit(m.instruction(Opcode.Softmax, Softmax.Length, units, operands), out, x.length));
  // In place gives the same bits.
  m.run(m.instruction(Opcode.Softmax, Softmax.Length, units, { ...operands, [Softmax.Out]: from }), 2);
  const inPlace = m.readF32(from, x.length);
  expect(sameBits(inPlace, got)).toBe(true);
  m.checkGuards();
  return got;
}

function softmaxGrad(m: Machine, y: ArrayLike<number>, g: ArrayLike<number>, rows: number, log: boolean): Float32Array {
  const cols = rows ? y.length / rows : 0;
  const out = m.alloc(y.length * 4, 4 * (cols % 5));
  const ip = m.instruction(Opcode.SoftmaxGrad, SoftmaxGrad.Length, Math.ceil(rows / 2), {
    [SoftmaxGrad.Out]: out,
    [SoftmaxGrad.Y]: m.f32(y, 8),
    [SoftmaxGrad.G]: m.f32(g, 4 * (cols % 7)),
    [SoftmaxGrad.Rows]: rows,
    [SoftmaxGrad.Cols]: cols,
    [SoftmaxGrad.Log]: Number(log),
    [SoftmaxGrad.Block]: 2,
  });
  return floats(m.runEverySplit(ip, out, y.length));
}

function crossEntropy(m: Machine, x: ArrayLike<number>, labels: ArrayLike<number>, cols: number): Float32Array {
  const rows = labels.length;
  const out = m.alloc(rows * 4, 4);
  const ip = m.instruction(Opcode.CrossEntropy, CrossEntropy.Length, Math.ceil(rows / 2), {
    [CrossEntropy.Out]: out,
    [CrossEntropy.X]: m.f32(x, 4 * (cols % 7)),
    [CrossEntropy.Label]: m.i32(labels, 12),
    [CrossEntropy.Rows]: rows,
    [CrossEntropy.Cols]: cols,
    [CrossEntropy.Ignore]: IGNORE,
    [CrossEntropy.Block]: 2,
  });
  return floats(m.runEverySplit(ip, out, rows));
}

function crossEntropyGrad(
  m: Machine,
  x: ArrayLike<number>,
  labels: ArrayLike<number>,
  g: ArrayLike<number>,
  cols: number,
): Float32Array {
  const rows = labels.length;
  const out = m.alloc(rows * cols * 4, 4);
  const ip = m.instruction(Opcode.CrossEntropyGrad, CrossEntropyGrad.Length, Math.ceil(rows / 2), {
    [CrossEntropyGrad.Out]: out,
    [CrossEntropyGrad.X]: m.f32(x, 4 * (cols % 7)),
    [CrossEntropyGrad.Label]: m.i32(labels, 12),
    [CrossEntropyGrad.G]: m.f32(g),
    [CrossEntropyGrad.Rows]: rows,
    [CrossEntropyGrad.Cols]: cols,
    [CrossEntropyGrad.Ignore]: IGNORE,
    [CrossEntropyGrad.Block]: 2,
  });
  return floats(m.runEverySplit(ip, out, rows * cols));
}

/** Largest distance in units in the last place. */
function worst(got: ArrayLike<number>, want: number[]): number {
  expect(got.length).toBe(want.length);
  return want.reduce((most, value, i) => Math.max(most, ulps(got[i], value)), 0);
}

/** Largest error in units in the last place of the largest value. */
function worstOfScale(got: ArrayLike<number>, want: number[]): number {
  const largest = want.reduce((a, b) => Math.max(a, Math.abs(b)), 2 ** -126);
  return want.reduce((most, value, i) => Math.max(most, Math.abs(got[i] - value) / (largest * 2 ** -23)), 0);
}

describe.each(["plain", "relaxed"])("rows, %s", (variant) => {
  const m = new Machine(variant);

  describe.each([false, true])("softmax, log = %s", (log) => {
    it("is within 1.5 ulp for every length", () => {
      for (const cols of lengths) {
        m.reset();
        const rows = cols < 100 ? 5 : 2;
        const x = logits(rows * cols, cols, cols % 3 ? 4 : 20);
        const got = softmax(m, x, rows, log);
        for (let r = 0; r < rows; r++) {
          const row = x.slice(r * cols, (r + 1) * cols);
          const part = got.slice(r * cols, (r + 1) * cols);
          expect(worst(part, softmaxRow(row, log)), `${cols} columns`).toBeLessThan(ULPS);
        }
      }
    });

    it("gives equal logits equal bits, in the body and in the tail", () => {
      for (let cols = 2; cols <= 67; cols++) {
        m.reset();
        const x = Array.from({ length: cols }, (_, i) => (i % 2 ? -1.7 : 0.3));
        expect(new Set(softmax(m, x, 1, log)).size).toBe(2);
      }
    });

    it("stays stable for huge and tiny logits", () => {
      for (const [a, b] of [
        [1e4, -1e4],
        [1e30, -1e30],
        [3e38, -3e38],
        [-1e30, -1e30],
        [1e-40, -1e-45],
      ])
        for (const cols of [2, 5, 9]) {
          m.reset();
          const x = Float32Array.from({ length: cols }, (_, i) => (i === cols - 1 ? a : b));
          expect(worst(softmax(m, x, 1, log), softmaxRow(x, log))).toBeLessThan(ULPS);
        }
      m.reset();
      const x = Float32Array.of(-1e4, 1e4 - 1, 1e4);
      expect(worst(softmax(m, x, 1, log), softmaxRow(x, log))).toBeLessThan(ULPS);
      // Small probabilities go down to the subnormals.
      const deep = Float32Array.of(0, -87, -95, -100, -103, -120);
      expect(worst(softmax(m, deep, 1, log), softmaxRow(deep, log))).toBeLessThan(ULPS);
    });

    it("treats infinities and NaN as PyTorch does", () => {
      for (const cols of [1, 3, 4, 6, 11])
        for (const at of [0, cols - 1]) {
          const row = (filler: number, value: number) =>
            Float32Array.from({ length: cols }, (_, i) => (i === at ? value : filler));
          m.reset();
          const x = [row(1, NaN), row(1, Infinity), row(-Infinity, -Infinity), row(-Infinity, 2), row(-Infinity, NaN)];
          const got = softmax(
            m,
            x.flatMap((r) => Array.from(r)),
            x.length,
            log,
            1,
          );
          const part = (r: number) => Array.from(got.slice(r * cols, (r + 1) * cols));
          for (const r of [0, 1, 2, 4]) expect(part(r)).toEqual(Array(cols).fill(NaN));
          expect(part(3)).toEqual(Array.from(row(log ? -Infinity : 0, log ? 0 : 1)));
        }
    });

    it("does nothing on empty rows", () => {
      m.reset();
      expect(softmax(m, [], 0, log).length).toBe(0);
      expect(softmax(m, [], 4, log).length).toBe(0);
      expect(softmaxGrad(m, [], [], 4, log).length).toBe(0);
    });

    it("has a gradient rounded once", () => {
      for (const cols of lengths) {
        m.reset();
        const rows = cols < 100 ? 5 : 2;
        const y = softmax(m, logits(rows * cols, cols), rows, log);
        const g = logits(rows * cols, cols + 1, 1);
        const got = softmaxGrad(m, y, g, rows, log);
        for (let r = 0; r < rows; r++) {
          const [from, to] = [r * cols, (r + 1) * cols];
          const want = softmaxGradRow(y.slice(from, to), g.slice(from, to), log);
          const scale = Array.from(g.slice(from, to)).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          const part = got.slice(from, to);
          want.forEach((value, i) => {
            expect(Math.abs(part[i] - value)).toBeLessThan(1e-9 * scale + Math.abs(value) * 2 ** -23.9 + 2 ** -149);
          });
        }
      }
    });

    it("passes NaN on to the gradient's row, and to no other", () => {
      m.reset();
      const y = softmax(m, logits(15, 3), 3, log);
      const g = logits(15, 4);
      const clean = softmaxGrad(m, y, g, 3, log);
      g[7] = NaN;
      const got = softmaxGrad(m, y, g, 3, log);
      expect(Array.from(got.slice(5, 10))).toEqual(Array(5).fill(NaN));
      expect(Array.from(got.slice(0, 5))).toEqual(Array.from(clean.slice(0, 5)));
      expect(Array.from(got.slice(10))).toEqual(Array.from(clean.slice(10)));
    });
  });

  it("sums a long row to 1", () => {
    m.reset();
    const n = 200_000;
    const got = softmax(m, logits(n, 5, 1), 1, false);
    expect(Math.abs(got.reduce((a, b) => a + b, 0) - 1)).toBeLessThan(2e-8);
    expect(
      worst(softmax(m, new Float32Array(n).fill(3), 1, true).slice(0, 2), Array(2).fill(-Math.log(n))),
    ).toBeLessThan(0.51);
  });

  it("computes the cross entropy of every length within an ulp", () => {
    for (const cols of lengths) {
      m.reset();
      const rows = 7;
      const x = logits(rows * cols, cols + 2);
      const labels = Int32Array.from({ length: rows }, (_, r) => (r === 3 ? IGNORE : (r * 5 + cols - 1) % cols));
      const g = logits(rows, cols, 1);
      const loss = crossEntropy(m, x, labels, cols);
      const grad = crossEntropyGrad(m, x, labels, g, cols);
      for (let r = 0; r < rows; r++) {
        const row = x.slice(r * cols, (r + 1) * cols);
        const part = grad.slice(r * cols, (r + 1) * cols);
        if (r === 3) {
          expect(loss[r]).toBe(0);
          expect(Array.from(part)).toEqual(Array(cols).fill(0));
        } else {
          const want = crossEntropyRow(row, labels[r]);
          expect(Math.abs(loss[r] - want)).toBeLessThan(Math.abs(want) * 2 ** -23.9 + 1e-10);
          const gradient = crossEntropyGradRow(row, labels[r], g[r]);
          expect(worstOfScale(part, gradient)).toBeLessThan(ULPS);
          expect(Math.abs(part[labels[r]] - gradient[labels[r]])).toBeLessThan(
            Math.abs(gradient[labels[r]]) * 2 ** -23.9 + 1e-10 * Math.abs(g[r]),
          );
        }
      }
      expect(m.fault().code).toBe(0);
    }
  });

  it("keeps the digits of a small loss and of its gradient", () => {
    m.reset();
    const x = Float32Array.of(12, 0, -1, 1, 0.5);
    expect(Math.abs(crossEntropy(m, x, [0], 5)[0] / crossEntropyRow(x, 0) - 1)).toBeLessThan(1e-6);
    expect(Math.abs(crossEntropyGrad(m, x, [0], [1], 5)[0] / crossEntropyGradRow(x, 0, 1)[0] - 1)).toBeLessThan(1e-6);
  });

  it("knows extreme logits in the cross entropy", () => {
    m.reset();
    const inf = Infinity;
    const x = [
      [1e30, -1e30, 0], // the label is far away
      [0, 1e30, -1e30], // the label wins
      [-1e4, 1e4, 1e4],
      [-inf, 0, 0], // an impossible label
      [NaN, 0, 0],
      [inf, 0, 0],
      [-inf, -inf, -inf],
      [NaN, inf, -inf], // ignored
    ].flat();
    const labels = [1, 1, 1, 0, 1, 1, 0, IGNORE];
    const loss = crossEntropy(m, x, labels, 3);
    const big = Math.fround(1e30);
    expect(Array.from(loss)).toEqual([Math.fround(2 * big), 0, Math.fround(Math.LN2), inf, NaN, NaN, NaN, 0]);
    const grad = crossEntropyGrad(
      m,
      x,
      labels,
      labels.map(() => 2),
      3,
    );
    expect(Array.from(grad)).toEqual(
      [[2, -2, 0], [0, 0, 0], [0, -1, 1], [-2, 1, 1], Array(9).fill(NaN), [0, 0, 0]].flat(),
    );
    expect(m.fault().code).toBe(0);
  });

  it("faults on bad labels and touches nothing else", () => {
    for (const [cols, bad] of [
      [5, 5],
      [5, -1],
      [5, 2 ** 31 - 1],
      [5, -(2 ** 31)],
      [1, 1],
      [0, 0],
    ]) {
      const good = cols ? cols - 1 : IGNORE;
      m.reset();
      const x = logits(3 * cols, 9);
      const clean = crossEntropy(m, x, [good, good, good], cols);
      const cleanGrad = crossEntropyGrad(m, x, [good, good, good], [1, 2, 3], cols);
      expect(m.fault().code).toBe(0);
      const loss = crossEntropy(m, x, [good, bad, good], cols);
      const fault = m.fault();
      expect(fault).toMatchObject({ code: isa.FaultCode.IndexOutOfRange, where: 1, value: bad, bound: cols });
      expect(Array.from(loss)).toEqual([clean[0], NaN, clean[2]]);
      m.clearFault();
      const grad = crossEntropyGrad(m, x, [good, bad, good], [1, 2, 3], cols);
      expect(m.fault()).toMatchObject({ code: isa.FaultCode.IndexOutOfRange, where: 1, value: bad, bound: cols });
      expect(m.fault().ip).not.toBe(fault.ip);
      expect(Array.from(grad)).toEqual([
        ...cleanGrad.slice(0, cols),
        ...Array(cols).fill(NaN),
        ...cleanGrad.slice(2 * cols),
      ]);
    }
  });

  it("records of several bad labels the first, of several instructions the earlier", () => {
    m.reset();
    const x = logits(20, 9);
    crossEntropyGrad(m, x, [0, 0, 0, 7], [1, 2, 3, 4], 5);
    const { ip } = m.fault();
    crossEntropyGrad(m, x, [0, -1, 8, 9], [1, 2, 3, 4], 5);
    expect(m.fault()).toMatchObject({ ip, where: 3, value: 7 });
    m.clearFault();
    crossEntropyGrad(m, x, [0, -1, 8, 9], [1, 2, 3, 4], 5);
    expect(m.fault()).toMatchObject({ where: 1, value: -1 });
  });

  it("ignores the ignored label even where it is a column", () => {
    m.reset();
    const out = m.alloc(8);
    const ip = m.instruction(Opcode.CrossEntropy, CrossEntropy.Length, 1, {
      [CrossEntropy.Out]: out,
      [CrossEntropy.X]: m.f32([1, 2, 3, 4]),
      [CrossEntropy.Label]: m.i32([1, 0]),
      [CrossEntropy.Rows]: 2,
      [CrossEntropy.Cols]: 2,
      [CrossEntropy.Ignore]: 1,
      [CrossEntropy.Block]: 8,
    });
    m.run(ip);
    const [ignored, counted] = m.readF32(out, 2);
    expect(ignored).toBe(0);
    expect(ulps(counted, crossEntropyRow([3, 4], 0))).toBeLessThan(1);
  });
});
