import { describe, expect, it } from "vitest";
import { isa, Machine, random } from "./harness.ts";

const { Map, Micro, Slot } = isa;

type Operation = [op: isa.Micro, dst: number, a?: number, b?: number, c?: number];
interface Strided {
  address: number;
  elementBytes: 1 | 4;
  extents: number[];
  strides: number[];
}
interface Program {
  n: number;
  grain: number;
  /** Kind and value; the value of a view is its place in `views`. */
  slots: [isa.Slot, number][];
  views?: Strided[];
  once?: Operation[];
  body: Operation[];
}

/** Writes a Map instruction. */
function encode(machine: Machine, { n, grain, slots, views = [], once = [], body }: Program): number {
  const slotsAt = Map.Length;
  const microsAt = slotsAt + slots.length * 2;
  const micros = [...once, ...body];
  const words: number[] = [];
  const viewsAt = views.map((v) => {
    const at = microsAt + micros.length * 5 + words.length;
    words.push(v.address, v.elementBytes, v.extents.length, ...v.extents, ...v.strides);
    return at;
  });
  const tail = [
    ...slots.flatMap(([kind, value]) => [kind, kind === Slot.View ? viewsAt[value] : value]),
    ...micros.flatMap(([op, dst, a = 0, b = 0, c = 0]) => [op, dst, a, b, c]),
    ...words,
  ];
  const operands: Record<number, number> = {
    [Map.N]: n,
    [Map.Grain]: grain,
    [Map.Slots]: slots.length,
    [Map.SlotsAt]: slotsAt,
    [Map.Micros]: micros.length,
    [Map.MicrosAt]: microsAt,
    [Map.Once]: once.length,
  };
  for (const [i, word] of tail.entries()) operands[Map.Length + i] = word;
  return machine.instruction(isa.Opcode.Map, Map.Length + tail.length, Math.ceil(n / grain), operands);
}

const machines = [new Machine("plain"), new Machine("relaxed")];
const WORKERS = [1, 2, 3, 7];
const LENGTHS = [0, ...Array.from({ length: 67 }, (_, i) => i + 1), 255, 256, 257, 511, 513, 1000];
const GRAINS = [4, 16, 64];
const numbers = (n: number, seed: number) => {
  const next = random(seed);
  return Array.from({ length: n }, () => Math.fround((next() - 0.5) * 8));
};
const integers = (n: number, seed: number) => {
  const next = random(seed);
  return Array.from({ length: n }, () => (next() * 2 ** 32) | 0);
};
const f32 = (values: number[]) => Float32Array.from(values);

/** The first element that differs, or -1; toEqual takes a thousand times longer. */
function different(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Math.min(actual.length, expected.length);
  for (let i = 0; i < expected.length; i++) if (!Object.is(actual[i], expected[i])) return i;
  return -1;
}

/** Calls `body` for both builds and every number of workers, with a fresh memory each. */
function everyWay(body: (machine: Machine, workers: number) => void): void {
  for (const machine of machines)
    for (const workers of WORKERS) {
      machine.reset();
      body(machine, workers);
      machine.checkGuards();
    }
}

describe("map", () => {
  it.each(GRAINS)("chains with two outputs, grain %i", (grain) => {
    for (const n of LENGTHS) {
      const x = numbers(n, 1);
      const y = numbers(n, 2);
      const sums = f32(x.map((v, i) => Math.fround(v * y[i]) + 0.75));
      const logistic = new Set<string>();
      everyWay((machine, workers) => {
        const first = machine.alloc(n * 4, 4);
        const second = machine.alloc(n * 4, 12);
        const ip = encode(machine, {
          n,
          grain,
          slots: [
            [Slot.Dense, machine.f32(x)],
            [Slot.Dense, machine.f32(y, 8)],
            [Slot.Register, 0],
            [Slot.Register, 47],
            [Slot.Immediate, 0x3f400000],
            [Slot.Dense, first],
            [Slot.Dense, second],
          ],
          once: [[Micro.Splat, 3, 4]],
          body: [
            [Micro.Mul, 2, 0, 1],
            [Micro.Add, 5, 2, 3],
            [Micro.Sigmoid, 2, 5],
            [Micro.Neg, 6, 2],
          ],
        });
        machine.run(ip, workers);
        expect(different(machine.readF32(first, n), sums)).toBe(-1);
        logistic.add(machine.readI32(second, n).join());
        const error = machine.readF32(second, n).map((v, i) => Math.abs(v + 1 / (1 + Math.exp(-sums[i]))));
        expect(Math.max(0, ...error)).toBeLessThan(1e-7);
      });
      expect(logistic.size, "different bits for different workers or builds").toBe(1);
    }
  });

  it("writes in place", () => {
    for (const n of LENGTHS) {
      const x = numbers(n, 3);
      const y = numbers(n, 4);
      everyWay((machine, workers) => {
        const weights = machine.f32(x, 4);
        const ip = encode(machine, {
          n,
          grain: 16,
          slots: [
            [Slot.Dense, weights],
            [Slot.Dense, machine.f32(y)],
          ],
          body: [
            [Micro.Sub, 0, 0, 1],
            [Micro.Square, 0, 0],
          ],
        });
        machine.run(ip, workers);
        expect(different(machine.readF32(weights, n), f32(x.map((v, i) => Math.fround(v - y[i]) ** 2)))).toBe(-1);
      });
    }
  });

  it("loads and stores bytes", () => {
    for (const n of LENGTHS) {
      const bytes = integers(n, 5).map((v) => v & 255);
      const words = integers(n, 6);
      everyWay((machine, workers) => {
        const source = machine.alloc(n, 4);
        new Uint8Array(machine.memory.buffer, source, n).set(bytes);
        const loaded = machine.alloc(n * 4);
        const stored = machine.alloc(n);
        const ip = encode(machine, {
          n,
          grain: 4,
          slots: [
            [Slot.Bytes, source],
            [Slot.Dense, loaded],
            [Slot.Dense, machine.i32(words, 12)],
            [Slot.Bytes, stored],
          ],
          body: [
            [Micro.LoadByte, 1, 0],
            [Micro.StoreByte, 3, 2],
          ],
        });
        machine.run(ip, workers);
        expect(different(machine.readI32(loaded, n), Int32Array.from(bytes))).toBe(-1);
        expect(different(new Uint8Array(machine.memory.buffer, stored, n).slice(), Uint8Array.from(words))).toBe(-1);
      });
    }
  });

  it("counts the elements", () => {
    for (const n of LENGTHS)
      everyWay((machine, workers) => {
        const out = machine.alloc(n * 4, 8);
        const ip = encode(machine, { n, grain: 16, slots: [[Slot.Dense, out]], body: [[Micro.Iota, 0]] });
        machine.run(ip, workers);
        expect(
          different(
            machine.readI32(out, n),
            Int32Array.from({ length: n }, (_, i) => i),
          ),
        ).toBe(-1);
      });
  });

  it("computes what is constant once", () => {
    for (const n of LENGTHS) {
      const x = numbers(n, 7);
      const rate = Math.fround(0.1);
      everyWay((machine, workers) => {
        const out = machine.alloc(n * 4);
        const ip = encode(machine, {
          n,
          grain: 4,
          slots: [
            [Slot.View, 0],
            [Slot.Register, 0],
            [Slot.Register, 1],
            [Slot.Dense, machine.f32(x)],
            [Slot.Dense, out],
          ],
          views: [{ address: machine.f32([rate]), elementBytes: 4, extents: [n], strides: [0] }],
          once: [
            [Micro.LoadView, 1, 0],
            [Micro.Reciprocal, 2, 1],
          ],
          body: [[Micro.Mul, 4, 2, 3]],
        });
        machine.run(ip, workers);
        expect(different(machine.readF32(out, n), f32(x.map((v) => v * Math.fround(1 / rate))))).toBe(-1);
      });
    }
  });

  it("runs the first micro-operations once per call, for a whole tile", () => {
    const n = isa.MapTile.Elements * 2 + 33;
    for (const machine of machines) {
      machine.reset();
      const out = machine.alloc(n * 4);
      const ip = encode(machine, {
        n,
        grain: 16,
        slots: [
          [Slot.Register, 0],
          [Slot.Dense, out],
        ],
        once: [[Micro.Iota, 0]],
        body: [[Micro.Copy, 1, 0]],
      });
      machine.run(ip);
      const want = Int32Array.from({ length: n }, (_, i) => i % isa.MapTile.Elements);
      expect(different(machine.readI32(out, n), want)).toBe(-1);
    }
  });

  it("does nothing for no units", () => {
    everyWay((machine) => {
      const out = machine.i32([7, 7, 7, 7, 7]);
      const ip = encode(machine, { n: 5, grain: 4, slots: [[Slot.Dense, out]], body: [[Micro.Iota, 0]] });
      for (const at of [0, 1, 2]) machine.exports.Map(ip, at, at, machine.scratch);
      expect(different(machine.readI32(out, 5), Int32Array.of(7, 7, 7, 7, 7))).toBe(-1);
      machine.exports.Map(ip, 1, 2, machine.scratch);
      expect(different(machine.readI32(out, 5), Int32Array.of(7, 7, 7, 7, 4))).toBe(-1);
    });
  });
});

interface Layout {
  extents: number[];
  strides: number[];
}

/** Where each element of the iteration space lies, in elements from the view's address. */
function places({ extents, strides }: Layout): number[] {
  let at = [0];
  extents.forEach((extent, d) => {
    at = at.flatMap((base) => Array.from({ length: extent }, (_, i) => base + i * strides[d]));
  });
  return at;
}

const layouts: Record<string, Layout> = {
  "rank 0": { extents: [], strides: [] },
  "one element": { extents: [1, 1], strides: [5, 7] },
  dense: { extents: [7, 41], strides: [41, 1] },
  constant: { extents: [9, 5, 13], strides: [0, 0, 0] },
  row: { extents: [23, 19], strides: [0, 1] },
  "long row": { extents: [3, 300], strides: [0, 1] },
  column: { extents: [23, 19], strides: [1, 0] },
  "long column": { extents: [4, 270], strides: [1, 0] },
  "narrow column": { extents: [67, 3], strides: [1, 0] },
  channel: { extents: [4, 6, 5, 7], strides: [0, 1, 0, 0] },
  transposed: { extents: [37, 29], strides: [1, 37] },
  "narrow transposed": { extents: [129, 2], strides: [1, 129] },
  permuted: { extents: [5, 11, 3, 8], strides: [1, 40, 440, 5] },
  reversed: { extents: [301], strides: [-1] },
  "rows reversed": { extents: [13, 21], strides: [-21, 1] },
  "both reversed": { extents: [13, 21], strides: [-21, -1] },
  "every third": { extents: [17, 23], strides: [70, 3] },
  slice: { extents: [19, 17], strides: [40, 1] },
  "narrow slice": { extents: [100, 5], strides: [9, 1] },
  "slice of planes": { extents: [5, 6, 9], strides: [120, 12, 1] },
  "extents of 1": { extents: [1, 6, 1, 8, 1], strides: [3, 10, 99, 1, -4] },
  "eight dimensions": { extents: [2, 3, 2, 2, 3, 2, 2, 3], strides: [1, 2, 6, -12, 24, 72, 144, 288] },
};

/** Injective layouts nobody thought of: dimensions in a random order, some reversed, some padded. */
function randomLayout(next: () => number): Layout {
  const rank = 1 + Math.floor(next() * 5);
  const extents = Array.from({ length: rank }, () => 1 + Math.floor(next() * 9));
  const order = extents.map((_, d) => d).sort(() => next() - 0.5);
  const strides: number[] = [];
  let size = 1 + Math.floor(next() * 2);
  for (const d of order) {
    strides[d] = next() < 0.3 ? -size : size;
    size = size * extents[d] + (next() < 0.3 ? 1 : 0);
  }
  return { extents, strides };
}
const next = random(99);
for (let i = 0; i < 40; i++) layouts[`random ${i}`] = randomLayout(next);

describe.each(Object.entries(layouts))("a view, %s,", (_, layout) => {
  const at = places(layout);
  const n = at.length;
  const least = Math.min(...at);
  const size = Math.max(...at) - least + 1;

  it.each([1, 4] as const)("gathers elements of %i bytes", (elementBytes) => {
    const values = integers(size, 11).map((v) => (elementBytes === 1 ? v & 255 : v));
    const want = Int32Array.from(at, (p) => values[p - least]);
    for (const grain of GRAINS)
      everyWay((machine, workers) => {
        // Bytes lie at an odd address.
        const source = machine.alloc((size + 1) * elementBytes, 4) + elementBytes;
        const Source = elementBytes === 1 ? Uint8Array : Int32Array;
        new Source(machine.memory.buffer, source, size).set(values);
        const out = machine.alloc(n * 4, 4);
        const ip = encode(machine, {
          n,
          grain,
          slots: [
            [Slot.View, 0],
            [Slot.Dense, out],
            [Slot.Register, 0],
          ],
          views: [{ address: source - least * elementBytes, elementBytes, ...layout }],
          body: [
            [Micro.LoadView, 2, 0],
            [Micro.Copy, 1, 2],
          ],
        });
        machine.run(ip, workers);
        expect(different(machine.readI32(out, n), want)).toBe(-1);
      });
  });

  if (new Set(at).size === n)
    it.each([1, 4] as const)("scatters elements of %i bytes", (elementBytes) => {
      const values = integers(n, 12);
      const Target = elementBytes === 1 ? Uint8Array : Int32Array;
      const want = new Target(size + 1).fill(0x77);
      at.forEach((p, i) => {
        want[p - least + 1] = values[i];
      });
      for (const grain of GRAINS)
        everyWay((machine, workers) => {
          // Bytes lie at an odd address.
          const block = machine.alloc((size + 1) * elementBytes, 4);
          new Target(machine.memory.buffer, block, size + 1).fill(0x77);
          const ip = encode(machine, {
            n,
            grain,
            slots: [
              [Slot.Dense, machine.i32(values, 12)],
              [Slot.View, 0],
            ],
            views: [{ address: block + (1 - least) * elementBytes, elementBytes, ...layout }],
            body: [[Micro.StoreView, 1, 0]],
          });
          machine.run(ip, workers);
          expect(different(new Target(machine.memory.buffer, block, size + 1), want)).toBe(-1);
        });
    });
});

describe("views in a program", () => {
  it("add a bias, scale by rows and write a transposed slice", () => {
    const [rows, cols] = [37, 21];
    const x = numbers(rows * cols, 21);
    const bias = numbers(cols, 22);
    const scale = numbers(rows, 23);
    const want = new Float32Array(50 * rows).fill(0);
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < cols; c++) want[(c + 3) * rows + r] = Math.fround(x[r * cols + c] + bias[c]) * scale[r];
    everyWay((machine, workers) => {
      const out = machine.f32(new Float32Array(50 * rows));
      const ip = encode(machine, {
        n: rows * cols,
        grain: 64,
        slots: [
          [Slot.Dense, machine.f32(x)],
          [Slot.View, 0],
          [Slot.View, 1],
          [Slot.View, 2],
          [Slot.Register, 0],
          [Slot.Register, 1],
        ],
        views: [
          { address: machine.f32(bias), elementBytes: 4, extents: [rows, cols], strides: [0, 1] },
          { address: machine.f32(scale), elementBytes: 4, extents: [rows, cols], strides: [1, 0] },
          { address: out + 3 * rows * 4, elementBytes: 4, extents: [rows, cols], strides: [1, rows] },
        ],
        body: [
          [Micro.LoadView, 4, 1],
          [Micro.Add, 4, 0, 4],
          [Micro.LoadView, 5, 2],
          [Micro.Mul, 4, 4, 5],
          [Micro.StoreView, 3, 4],
        ],
      });
      machine.run(ip, workers);
      expect(different(machine.readF32(out, want.length), want)).toBe(-1);
    });
  });
});
