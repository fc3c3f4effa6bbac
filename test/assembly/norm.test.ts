/** Norms: rows of every length, columns, samples in blocks; what comes back to input and parameters. */
import { describe, expect, it } from "vitest";
import { floatBits, floats, isa, Machine, random } from "./harness.ts";

const { Norm, NormGrad, NormParameters, NormStage: Stage, NormStrip, Opcode } = isa;

/** A, Q, G, J, S: see src/ops/norm.ts. */
type Shape = readonly [number, number, number, number, number];

interface Options {
  readonly eps: number;
  readonly centered: boolean;
  /** Rows of a unit. */
  readonly block: number;
  /** Samples of a unit; 0 for units of rows. */
  readonly split: number;
  readonly weight: boolean;
}
const USUAL: Options = { eps: 1e-5, centered: true, block: 1, split: 0, weight: true };

const count = (shape: Shape): number => shape.reduce((p, d) => p * d, 1);
const numbers = (n: number, seed: number, mean = 0): Float32Array => {
  const next = random(seed);
  return Float32Array.from({ length: n }, () => mean + 3.4 * (next() - 0.5));
};

/** In float64: of each element its row and its parameter. */
function each([a, q, g, j, s]: Shape, f: (i: number, row: number, parameter: number) => void): void {
  for (let i = 0; i < a * q * g * j * s; i++) {
    const row = Math.floor(i / (s * j)) % (q * g);
    f(i, row, (row % g) * j + (Math.floor(i / s) % j));
  }
}

function reference(shape: Shape, x: ArrayLike<number>, o: Options) {
  const rows = shape[1] * shape[2];
  const n = count(shape) / rows;
  const mean = new Float64Array(rows);
  const variance = new Float64Array(rows);
  if (o.centered) each(shape, (i, row) => (mean[row] += x[i] / n));
  each(shape, (i, row) => (variance[row] += (x[i] - mean[row]) ** 2 / n));
  const root = variance.map((v) => 1 / Math.sqrt(v + Math.fround(o.eps)));
  const xhat = new Float64Array(count(shape));
  each(shape, (i, row) => (xhat[i] = (x[i] - mean[row]) * root[row]));
  return { mean, variance, root, xhat, n };
}

/** Largest difference, in parts of what torch.testing allows; NaN must meet NaN. */
function off(got: ArrayLike<number>, want: ArrayLike<number>): number {
  expect(got.length).toBe(want.length);
  let most = 0;
  for (let i = 0; i < want.length; i++) {
    const d = Object.is(got[i], want[i]) ? 0 : Math.abs(got[i] - want[i]) / (1e-5 + 1.3e-6 * Math.abs(want[i]));
    if (!(d <= most)) most = Number.isNaN(d) ? Infinity : d;
  }
  return most;
}

/** Rows of all lengths of tails and blocks, plain, in runs, in several samples; columns; samples in blocks. */
const SHAPES: readonly (readonly [Shape, Partial<Options>])[] = [
  ...Array.from({ length: 37 }, (_, n): [Shape, Partial<Options>] => [[1, 3, 1, n + 1, 1], { block: 2 }]),
  ...Array.from({ length: 37 }, (_, n): [Shape, Partial<Options>] => [[1, 2, 2, 3, n + 1], { block: 3 }]),
  ...Array.from({ length: 37 }, (_, n): [Shape, Partial<Options>] => [[5, 1, 3, 1, n + 1], {}]),
  ...Array.from({ length: 21 }, (_, n): [Shape, Partial<Options>] => [[35, 1, n + 1, 1, 1], { block: 16 }]),
  ...Array.from({ length: 21 }, (_, n): [Shape, Partial<Options>] => [[11, 1, 3, 1, n + 60], { block: 2, split: 4 }]),
  [[1, 3, 1, 1000, 1], {}],
  [[1, 3, 2, 3, 259], {}],
  [[70, 1, 2, 1, 259], { split: 32 }],
  [[300, 2, 3, 1, 7], {}],
  [[300, 2, 3, 1, 1], { block: 16 }],
  [[1, 70, 2, 33, 1], { block: 4 }],
  [[1, 0, 1, 7, 1], {}],
];

describe.each(["plain", "relaxed"])("norms, %s", (variant) => {
  const m = new Machine(variant, 1024);

  /** Runs an instruction under every split into workers; the results at several places must have the same bits. */
  function everySplit(ip: number, outs: readonly (readonly [address: number, words: number])[]): Int32Array[] {
    return outs.map(([address, words]) => (words === 0 ? new Int32Array() : m.runEverySplit(ip, address, words)));
  }

  interface Run {
    readonly y: Float32Array;
    readonly moments: Float32Array;
    readonly statistics: number;
    readonly address: number;
  }

  function norm(shape: Shape, x: Float32Array, w: Float32Array, b: Float32Array, o: Options): Run {
    m.reset();
    const [a, q, g, j, s] = shape;
    const rows = q * g;
    const parts = o.split > 0 ? Math.ceil(a / o.split) : 0;
    const statistics = m.alloc(rows * 16, 8);
    const moments = m.alloc(rows * 8, 4);
    const partials = m.alloc(parts * rows * 16, 8);
    const out = m.alloc(x.length * 4, 12);
    const address = m.f32(x, 8);
    const instruction = (stage: number, units: number) =>
      m.instruction(Opcode.Norm, Norm.Length, units, {
        ...{ [Norm.Out]: out, [Norm.In]: address, [Norm.Statistics]: statistics, [Norm.Partials]: partials },
        ...{ [Norm.Weight]: o.weight ? m.f32(w, 4) : 0, [Norm.Bias]: o.weight ? m.f32(b, 4) : 0 },
        ...{ [Norm.Moments]: moments, [Norm.A]: a, [Norm.Rows]: rows, [Norm.Groups]: g, [Norm.Channels]: j },
        ...{ [Norm.Places]: s, [Norm.Eps]: floatBits(o.eps), [Norm.Centered]: Number(o.centered) },
        ...{ [Norm.Stage]: stage, [Norm.Block]: o.block, [Norm.Split]: o.split },
      });
    const byRows = Math.ceil(rows / o.block);
    if (o.split > 0) {
      everySplit(instruction(Stage.Measure, parts), [[partials, parts * rows * 4]]);
      const merged = everySplit(instruction(Stage.Merge, byRows), [
        [statistics, rows * 4],
        [moments, rows * 2],
      ]);
      const [y] = everySplit(instruction(Stage.Apply, parts), [[out, x.length]]);
      return { y: floats(y), moments: floats(merged[1]), statistics, address };
    }
    const [y, both] = everySplit(instruction(Stage.Measure | Stage.Apply, byRows), [
      [out, x.length],
      [moments, rows * 2],
    ]);
    // In two steps it is the same.
    everySplit(instruction(Stage.Measure, byRows), [[statistics, rows * 4]]);
    expect(everySplit(instruction(Stage.Apply, byRows), [[out, x.length]])[0]).toEqual(y);
    return { y: floats(y), moments: floats(both), statistics, address };
  }

  /** What comes back to the input, and to bias and weight, by the statistics of a run before. */
  function grad(shape: Shape, run: Run, w: Float32Array, g: Float32Array, o: Options) {
    const [a, q, groups, j, s] = shape;
    const rows = q * groups;
    const size = 2 * groups * j;
    const out = m.alloc(g.length * 4, 4);
    const back = m.f32(g, 4);
    const blocks = o.split > 0 ? Math.ceil(a / o.split) : rows / groups;
    const partial = m.alloc(blocks * size * 4, 8);
    const plain = a === 1 && s === 1;
    const instruction = (stage: number, units: number, sums: number) =>
      m.instruction(Opcode.NormGrad, NormGrad.Length, units, {
        ...{ [NormGrad.Out]: out, [NormGrad.In]: run.address, [NormGrad.Grad]: back, [NormGrad.Sums]: sums },
        ...{ [NormGrad.Weight]: o.weight ? m.f32(w, 4) : 0, [NormGrad.Statistics]: run.statistics, [NormGrad.A]: a },
        ...{ [NormGrad.Rows]: rows, [NormGrad.Groups]: groups, [NormGrad.Channels]: j, [NormGrad.Places]: s },
        ...{ [NormGrad.Centered]: Number(o.centered), [NormGrad.Stage]: stage, [NormGrad.Block]: o.block },
        [NormGrad.Split]: o.split,
      });
    const sumUp = (parts: Int32Array): Float32Array => {
      const total = new Float64Array(size);
      floats(parts).forEach((v, i) => (total[i % size] += v));
      return Float32Array.from(total);
    };
    if (o.split > 0) {
      const sums = sumUp(everySplit(instruction(Stage.Measure, blocks, partial), [[partial, blocks * size]])[0]);
      const [dx] = everySplit(instruction(Stage.Apply, blocks, m.f32(sums, 4)), [[out, g.length]]);
      return { dx: floats(dx), parameters: sums };
    }
    const units = Math.ceil(rows / o.block);
    const ip = instruction(Stage.Measure | Stage.Apply, units, plain ? 0 : partial);
    const [dx] = everySplit(ip, [[out, g.length]]);
    if (!plain) {
      const sums = sumUp(everySplit(ip, [[partial, blocks * size]])[0]);
      // Without a place for what comes back to the input, the sums alone.
      const alone = m.instruction(Opcode.NormGrad, NormGrad.Length, units, {
        ...Object.fromEntries([...m.readI32(ip, NormGrad.Length)].map((v, i) => [i, v])),
        [NormGrad.Out]: 0,
      });
      expect(sumUp(everySplit(alone, [[partial, blocks * size]])[0])).toEqual(sums);
      return { dx: floats(dx), parameters: sums };
    }
    const block = 13;
    const parts = Math.ceil(q / block);
    const to = m.alloc(parts * size * 4, 4);
    const strips = parts * groups * Math.ceil(j / NormStrip.Columns);
    const sums = m.instruction(Opcode.NormParameters, NormParameters.Length, strips, {
      ...{ [NormParameters.Out]: to, [NormParameters.In]: run.address, [NormParameters.Grad]: back },
      ...{ [NormParameters.Statistics]: run.statistics, [NormParameters.Rows]: rows, [NormParameters.Groups]: groups },
      ...{ [NormParameters.Channels]: j, [NormParameters.Block]: block },
    });
    return { dx: floats(dx), parameters: sumUp(everySplit(sums, [[to, parts * size]])[0]) };
  }

  it("standardise rows of every length, and send back what they must", () => {
    SHAPES.forEach(([shape, more], k) => {
      for (const variation of [{}, { centered: false }, { weight: false, eps: 0.1 }]) {
        const o: Options = { ...USUAL, ...more, ...variation };
        const [a, q, groups, j, s] = shape;
        const what = `${shape.join()} ${JSON.stringify(o)}`;
        const own = groups * j;
        const x = numbers(count(shape), k + 1);
        const w = o.weight ? numbers(own, k + 2) : new Float32Array(own).fill(1);
        const b = o.weight ? numbers(own, k + 3) : new Float32Array(own);
        const { mean, variance, root, xhat, n } = reference(shape, x, o);
        const y = xhat.slice();
        each(shape, (i, _, p) => (y[i] = xhat[i] * w[p] + b[p]));
        const run = norm(shape, x, w, b, o);
        expect(off(run.y, y), what).toBeLessThan(1);
        expect(off(run.moments, [...mean, ...variance]), what).toBeLessThan(1);
        if (o.split > 0 && q > 1) continue;

        const g = numbers(count(shape), k + 4);
        const plain = new Float64Array(q * groups);
        const along = new Float64Array(q * groups);
        const parameters = new Float64Array(2 * own);
        each(shape, (i, row, p) => {
          plain[row] += o.centered ? g[i] * w[p] : 0;
          along[row] += g[i] * w[p] * xhat[i];
          parameters[p] += g[i];
          parameters[own + p] += g[i] * xhat[i];
        });
        const dx = new Float64Array(x.length);
        each(shape, (i, row, p) => (dx[i] = root[row] * (g[i] * w[p] - plain[row] / n - (xhat[i] * along[row]) / n)));
        const got = grad(shape, run, w, g, o);
        // Of two elements, one place each, the root may be 300: what cancels is as much larger.
        const scale = Math.max(1, ...root);
        expect(off(got.dx, dx), `${what}: to the input`).toBeLessThan(scale);
        expect(off(got.parameters, parameters), `${what}: to the parameters`).toBeLessThan(1.5 * scale);
        expect([a, s].every((d) => d > 0)).toBe(true);
      }
    });
  });

  it("measure elements of mean 1e6 and variance 1 as well as those of mean 0", () => {
    for (const [shape, more] of [
      [[1, 3, 1, 1000, 1], {}],
      [[9, 1, 3, 1, 300], {}],
      [[900, 1, 5, 1, 1], { block: 16 }],
      [[64, 1, 3, 1, 100], { split: 4 }],
    ] as const) {
      const o: Options = { ...USUAL, ...more };
      const x = numbers(count(shape), 5, 1e6);
      const own = shape[2] * shape[3];
      const [ones, zeros] = [new Float32Array(own).fill(1), new Float32Array(own)];
      const { xhat, variance, root, n } = reference(shape, x, o);
      const run = norm(shape, x, ones, zeros, o);
      expect(off(run.y, xhat)).toBeLessThan(1);
      expect(off(run.moments.subarray(variance.length), variance)).toBeLessThan(1);
      const g = numbers(count(shape), 6);
      const [plain, along] = [new Float64Array(root.length), new Float64Array(root.length)];
      each(shape, (i, row) => {
        plain[row] += g[i];
        along[row] += g[i] * xhat[i];
      });
      const dx = xhat.map(() => 0);
      each(shape, (i, row) => (dx[i] = root[row] * (g[i] - plain[row] / n - (xhat[i] * along[row]) / n)));
      expect(off(grad(shape, run, ones, g, o).dx, dx)).toBeLessThan(1);
    }
  });

  it("have a NaN or an infinity in its own row alone, and a row of one value at the bias", () => {
    for (const [shape, more] of [
      [[1, 4, 1, 9, 1], {}],
      [[5, 1, 4, 1, 6], {}],
      [[9, 1, 4, 1, 1], { block: 16 }],
      [[9, 1, 4, 1, 30], { split: 4 }],
    ] as const) {
      const o: Options = { ...USUAL, ...more };
      const own = shape[2] * shape[3];
      const x = new Float32Array(count(shape));
      const bad = [NaN, Infinity, -Infinity];
      const seen = new Set<number>();
      each(shape, (i, row) => {
        x[i] = row < 3 && !seen.has(row) ? bad[row] : row < 3 ? i : 1e6;
        seen.add(row);
      });
      const b = numbers(own, 3);
      const { y } = norm(shape, x, numbers(own, 2), b, o);
      each(shape, (i, row, p) => expect(y[i]).toBe(row < 3 ? NaN : b[p]));
    }
  });
});
