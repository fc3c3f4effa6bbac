import { describe, expect, it } from "vitest";
import { floats, isa, Machine, random, sameBits, ulps } from "./harness.ts";

const { Opcode, Reduce, ReduceKind } = isa;
type KindName = keyof typeof ReduceKind;
const kinds = Object.keys(ReduceKind).filter((name) => Number.isNaN(Number(name))) as KindName[];
const isInt = (kind: KindName) => kind.endsWith("I");
const isArg = (kind: KindName) => kind.startsWith("Arg");

/** The first index whose element nothing beats; NaN beats everything. */
function place(values: ArrayLike<number>, beats: (a: number, b: number) => boolean): number {
  let best = 0;
  for (let i = 1; i < values.length; i++) {
    if (Number.isNaN(values[best])) break;
    if (Number.isNaN(values[i]) || beats(values[i], values[best])) best = i;
  }
  return best;
}

const list = (values: ArrayLike<number>) => Array.from(values);
const more = (a: number, b: number) => a > b;
const less = (a: number, b: number) => a < b;

/** What the reduction of one column is, and how far off a float32 result may be. */
const references: Record<KindName, (v: ArrayLike<number>) => { value: number; tolerance: number }> = {
  Sum: (v) => ({
    value: list(v).reduce((a, b) => a + b, 0),
    // The depth of the tree, times half a unit in the last place of the largest partial sum there can be.
    tolerance: (40 + Math.log2(v.length + 1)) * 2 ** -24 * list(v).reduce((a, b) => a + Math.abs(b), 0),
  }),
  Prod: (v) => {
    const value = list(v).reduce((a, b) => a * b, 1);
    return { value, tolerance: v.length * 2 ** -24 * Math.abs(value) + 2 ** -149 };
  },
  Max: (v) => ({ value: Math.max(...(v as number[])), tolerance: 0 }),
  Min: (v) => ({ value: Math.min(...(v as number[])), tolerance: 0 }),
  ArgMax: (v) => ({ value: place(v, more), tolerance: 0 }),
  ArgMin: (v) => ({ value: place(v, less), tolerance: 0 }),
  SumI: (v) => ({ value: list(v).reduce((a, b) => (a + b) | 0, 0), tolerance: 0 }),
  ProdI: (v) => ({ value: list(v).reduce((a, b) => Math.imul(a, b), 1), tolerance: 0 }),
  MaxI: (v) => ({ value: list(v).reduce((a, b) => Math.max(a, b), -(2 ** 31)), tolerance: 0 }),
  MinI: (v) => ({ value: list(v).reduce((a, b) => Math.min(a, b), 2 ** 31 - 1), tolerance: 0 }),
  ArgMaxI: (v) => ({ value: place(v, more), tolerance: 0 }),
  ArgMinI: (v) => ({ value: place(v, less), tolerance: 0 }),
};

interface Shape {
  outer?: number;
  r: number;
  inner?: number;
  block?: number;
  grain?: number;
  offset?: number;
}

/** Runs one reduction under every split into workers; all must agree bit for bit. */
function reduce(m: Machine, kind: KindName, input: ArrayLike<number>, shape: Shape): Float32Array | Int32Array {
  const { outer = 1, r, inner = 1, block = Math.max(1, r), grain = 4, offset = 0 } = shape;
  const blocks = Math.max(1, Math.ceil(r / block));
  const count = outer * blocks * inner;
  const from = isInt(kind) ? m.i32(input, offset) : m.f32(input, offset);
  const out = m.alloc(count * 4, (offset + 4) % 64);
  const ip = m.instruction(Opcode.Reduce, Reduce.Length, Math.ceil(count / grain), {
    [Reduce.Out]: out,
    [Reduce.In]: from,
    [Reduce.Outer]: outer,
    [Reduce.R]: r,
    [Reduce.Inner]: inner,
    [Reduce.Block]: block,
    [Reduce.Blocks]: blocks,
    [Reduce.Kind]: ReduceKind[kind],
    [Reduce.Grain]: grain,
  });
  const before = m.readI32(from, input.length);
  const got = m.runEverySplit(ip, out, count);
  expect(sameBits(m.readI32(from, input.length), before), "input unchanged").toBe(true);
  return isInt(kind) || isArg(kind) ? got : floats(got);
}

/** Compares a reduction with the reference, column by column. */
function check(m: Machine, kind: KindName, input: ArrayLike<number>, shape: Shape): void {
  const { outer = 1, r, inner = 1, block = Math.max(1, r) } = shape;
  const got = reduce(m, kind, input, shape);
  const blocks = Math.max(1, Math.ceil(r / block));
  for (let o = 0; o < outer; o++)
    for (let b = 0; b < blocks; b++)
      for (let c = 0; c < inner; c++) {
        const column: number[] = [];
        for (let i = b * block; i < Math.min(r, (b + 1) * block); i++) column.push(input[(o * r + i) * inner + c]);
        const { value, tolerance } = references[kind](column);
        const actual = got[(o * blocks + b) * inner + c];
        const good = tolerance === 0 ? Object.is(actual, value) : Math.abs(actual - value) <= tolerance;
        if (!good)
          expect.fail(`${kind} of [${outer}, ${r}, ${inner}] by ${block} at ${o}, ${b}, ${c}: ${actual}, not ${value}`);
      }
}

function data(kind: KindName, n: number, seed: number): Float32Array | Int32Array {
  const rand = random(seed + 1);
  if (isInt(kind)) return Int32Array.from({ length: n }, () => Math.floor(rand() * 2 ** 32) - 2 ** 31);
  // Near 1 for products, so that they neither vanish nor overflow; few distinct values, so that the best has ties.
  if (kind === "Prod") return Float32Array.from({ length: n }, () => (rand() < 0.5 ? -1 : 1) * (0.9 + rand() * 0.2));
  if (kind === "Sum") return Float32Array.from({ length: n }, () => rand() * 4 - 1);
  return Float32Array.from({ length: n }, () => Math.floor(rand() * 40) - 20.5);
}

it("has a reference for every kind", () => {
  expect(Object.keys(references).sort()).toEqual([...kinds].sort());
});

describe.each(["plain", "relaxed"])("reduce, %s", (variant) => {
  const m = new Machine(variant, 800);

  describe.each(kinds)("%s", (kind) => {
    it("reduces every short length, contiguous and by columns", () => {
      for (let r = 1; r <= 67; r++)
        for (const inner of [1, 2, 7]) {
          m.reset();
          check(m, kind, data(kind, 3 * r * inner, r), { outer: 3, r, inner, offset: (4 * r) % 64 });
        }
    });

    it("reduces every small number of columns", () => {
      for (let inner = 1; inner <= 67; inner++) {
        m.reset();
        check(m, kind, data(kind, 70 * inner, inner), { outer: 2, r: 35, inner, grain: 8, offset: (4 * inner) % 64 });
      }
    });

    it("reduces long rows, many columns, and blocks", () => {
      const shapes: Shape[] = [
        { r: 255 },
        { r: 256 },
        { r: 257 },
        { r: 5003, outer: 2 },
        { r: 1030, inner: 3 },
        { r: 33, inner: 1030, grain: 64 },
        { r: 200, inner: 2100, grain: 700 },
        { outer: 5, r: 64, inner: 20, grain: 16 },
      ];
      if (!isArg(kind))
        shapes.push(
          { r: 5003, block: 512 },
          { outer: 3, r: 100, inner: 5, block: 33 },
          { outer: 2, r: 300, inner: 21, block: 128, grain: 12 },
          { r: 7, inner: 9, block: 1 },
          { r: 10, inner: 3, block: 4096 },
        );
      for (const shape of shapes) {
        m.reset();
        const n = (shape.outer ?? 1) * shape.r * (shape.inner ?? 1);
        check(m, kind, data(kind, n, n), { ...shape, offset: 12 });
      }
    });

    it("handles empty extents", () => {
      m.reset();
      for (const inner of [1, 6]) {
        expect(reduce(m, kind, [], { outer: 0, r: 3, inner }).length).toBe(0);
        if (isArg(kind)) continue;
        const neutral = references[kind]([]).value;
        expect(list(reduce(m, kind, [], { outer: 2, r: 0, inner }))).toEqual(Array(2 * inner).fill(neutral));
      }
      expect(reduce(m, kind, [], { outer: 2, r: 3, inner: 0 }).length).toBe(0);
    });

    it("gives an element the same bits wherever it is", () => {
      for (const r of [3, 35, 300]) {
        const column = data(kind, r, r);
        const repeat = (outer: number, inner: number) =>
          Array.from({ length: outer * r * inner }, (_, i) => column[Math.floor(i / inner) % r]);
        m.reset();
        const columns = [2, 23, 1047].flatMap((inner) =>
          list(reduce(m, kind, repeat(2, inner), { outer: 2, r, inner })),
        );
        expect(new Set(columns).size).toBe(1);
        const rows = [4, 8, 12].flatMap((offset) => list(reduce(m, kind, repeat(7, 1), { outer: 7, r, offset })));
        expect(new Set(rows).size).toBe(1);
      }
    });
  });

  it("passes NaN through maxima, minima and their places, wherever it stands", () => {
    const quiet = (kind: KindName) => kind === "Max" || kind === "Min" || kind === "ArgMax" || kind === "ArgMin";
    for (const kind of kinds.filter(quiet))
      for (const r of [1, 2, 5, 31, 40, 300])
        for (const inner of [1, 6])
          for (const at of [0, r >> 1, r - 1]) {
            m.reset();
            const input = data(kind, r * inner, at);
            for (const row of [at, r - 1]) input[row * inner + (inner >> 1)] = NaN;
            check(m, kind, input, { r, inner });
          }
  });

  it("knows infinities, signed zeros and subnormals", () => {
    const tiny = 2 ** -149;
    for (const inner of [1, 5]) {
      const spread = (v: number[]) => v.flatMap((x) => Array<number>(inner).fill(x));
      const first = (kind: KindName, v: number[]) => {
        m.reset();
        return reduce(m, kind, spread(v), { r: v.length, inner })[inner - 1];
      };
      expect(first("Sum", [-0, -0])).toBe(0);
      expect(first("Sum", [tiny, tiny, tiny, -tiny, tiny])).toBe(3 * tiny);
      expect(first("Sum", [1, Infinity, 2])).toBe(Infinity);
      expect(first("Sum", [1, Infinity, -Infinity])).toBeNaN();
      expect(first("Sum", [1, NaN, 2, 3, 4, 5])).toBeNaN();
      expect(first("Prod", [-0, 2, 3])).toBe(-0);
      expect(first("Prod", [2 ** -100, 2 ** -49])).toBe(tiny);
      expect(first("Prod", [0, Infinity])).toBeNaN();
      expect(first("Max", [-0, 0, -0, -0, -0])).toBe(0);
      expect(first("Min", [0, 0, 0, 0, -0])).toBe(-0);
      expect(first("Max", [-Infinity, -Infinity])).toBe(-Infinity);
      expect(first("Min", [-tiny, tiny, -2 * tiny])).toBe(-2 * tiny);
      expect(first("ArgMax", [-Infinity, -Infinity])).toBe(0);
      expect(first("ArgMax", [1, Infinity, 3, Infinity])).toBe(1);
      expect(first("ArgMax", [-0, 0, 0])).toBe(0);
      expect(first("ArgMin", [0, -0, -0, 1, 2, 3])).toBe(0);
      expect(first("ArgMin", [5, 4, 3, NaN, -Infinity, NaN])).toBe(3);
      expect(first("SumI", [2 ** 31 - 1, 1])).toBe(-(2 ** 31));
      expect(first("ProdI", [65536, 65537, 3])).toBe(Math.imul(Math.imul(65536, 65537), 3));
      expect(first("ArgMinI", [3, -(2 ** 31), 2, -(2 ** 31), 9, 9])).toBe(1);
    }
  });

  it("does not drift: 2^22 times 0.1, in one sweep and in two stages", () => {
    const n = 2 ** 22;
    const input = new Float32Array(n).fill(0.1);
    const exact = n * Math.fround(0.1);
    m.reset();
    const at = m.f32(input);
    const run = (from: number, outer: number, r: number, inner: number, block: number) => {
      const blocks = Math.ceil(r / block);
      const out = m.alloc(outer * blocks * inner * 4);
      const ip = m.instruction(Opcode.Reduce, Reduce.Length, Math.ceil((outer * blocks * inner) / 64), {
        [Reduce.Out]: out,
        [Reduce.In]: from,
        [Reduce.Outer]: outer,
        [Reduce.R]: r,
        [Reduce.Inner]: inner,
        [Reduce.Block]: block,
        [Reduce.Blocks]: blocks,
        [Reduce.Kind]: ReduceKind.Sum,
        [Reduce.Grain]: 64,
      });
      m.run(ip, 2);
      return { out, blocks };
    };
    const relative = (address: number) => Math.abs(m.readF32(address, 1)[0] - exact) / exact;
    expect(relative(run(at, 1, n, 1, n).out)).toBeLessThan(1e-6);
    const stage = run(at, 1, n, 1, 4096);
    expect(stage.blocks).toBe(1024);
    expect(relative(run(stage.out, 1, 1024, 1, 1024).out)).toBeLessThan(1e-6);
    // The same numbers as two columns.
    const columns = run(at, 1, n / 2, 2, 4096);
    const halves = m.readF32(run(columns.out, 1, columns.blocks, 2, columns.blocks).out, 2);
    expect(ulps(halves[0], exact / 2)).toBeLessThan(8);
    expect(halves[1]).toBe(halves[0]);
    m.checkGuards();
  });
});
