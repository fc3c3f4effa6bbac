/** Pooling kernels against plain loops: every width, paths for numbers and for NaN, windows of all kinds. */
import { describe, expect, it } from "vitest";
import { floatBits, floats, isa, Machine, random } from "./harness.ts";

const { Opcode, Pool: P } = isa;

interface Windows {
  readonly planes: number;
  readonly image: readonly number[];
  readonly count: readonly number[];
  readonly kernel: readonly number[];
  readonly stride?: readonly number[];
  readonly dilation?: readonly number[];
  readonly pad?: readonly number[];
  readonly adaptive?: boolean;
  readonly wide?: boolean;
}

const product = (v: readonly number[]): number => v.reduce((a, b) => a * b, 1);

/** The element that each tap of each window of a plane is; none where it would lie outside. */
function elements({ image, count, kernel, stride = kernel, dilation = [1, 1, 1], pad = [0, 0, 0], adaptive }: Windows) {
  const along = (axis: number, k: number): number[] => {
    const [n, m] = [image[axis], count[axis]];
    const start = adaptive ? Math.floor((k * n) / m) : k * stride[axis] - pad[axis];
    const end = adaptive ? Math.ceil(((k + 1) * n) / m) : n;
    return Array.from({ length: kernel[axis] }, (_, t) => {
      const at = start + t * dilation[axis];
      return at >= 0 && at < end ? at : Number.NaN;
    });
  };
  const windows: number[][] = [];
  for (let d = 0; d < count[0]; d++)
    for (let h = 0; h < count[1]; h++)
      for (let w = 0; w < count[2]; w++)
        windows.push(
          along(0, d).flatMap((z) =>
            along(1, h).flatMap((y) => along(2, w).map((x) => (z * image[1] + y) * image[2] + x)),
          ),
        );
  return windows;
}

/** Both zeros, equal ones, infinities, and with `nan` some NaN. */
function values(n: number, seed: number, nan: boolean): Float32Array {
  const rand = random(seed);
  const odd = [0, -0, Infinity, -Infinity, 2 ** -149, ...(nan ? [NaN, NaN] : [])];
  return Float32Array.from({ length: n }, () => {
    const r = rand();
    return r < 0.3 ? odd[Math.floor((r / 0.3) * odd.length)] : Math.round((rand() - 0.5) * 8);
  });
}

const KINDS: Record<string, Windows> = {
  "3 x 3, stride 2, padding 1": {
    ...{ planes: 3, image: [1, 7, 25], count: [1, 4, 13], kernel: [1, 3, 3], stride: [1, 2, 2], pad: [0, 1, 1] },
  },
  "3 x 3, stride 1, padding 1": {
    ...{ planes: 2, image: [1, 5, 14], count: [1, 5, 14], kernel: [1, 3, 3], stride: [1, 1, 1], pad: [0, 1, 1] },
  },
  "stride 3, dilation 2": {
    ...{ planes: 2, image: [1, 9, 31], count: [1, 3, 10], kernel: [1, 2, 2], stride: [1, 3, 3], dilation: [1, 2, 2] },
  },
  "three axes": {
    ...{ planes: 2, image: [4, 5, 11], count: [3, 2, 5], kernel: [2, 3, 2], stride: [1, 2, 2], pad: [0, 0, 0] },
  },
  "windows that end outside": { planes: 2, image: [1, 5, 9], count: [1, 3, 5], kernel: [1, 2, 2] },
  "windows that lie outside": {
    ...{ planes: 2, image: [1, 2, 2], count: [1, 1, 1], kernel: [1, 2, 2], dilation: [1, 3, 3], pad: [0, 1, 1] },
  },
  adaptive: { planes: 2, image: [3, 7, 10], count: [2, 3, 7], kernel: [2, 3, 3], adaptive: true },
  "adaptive, more windows than elements": {
    planes: 2,
    image: [1, 2, 3],
    count: [1, 5, 7],
    kernel: [1, 2, 2],
    adaptive: true,
  },
  "more taps than a byte counts": { planes: 2, image: [1, 17, 40], count: [1, 1, 1], kernel: [1, 17, 40], wide: true },
  "more taps than are listed": {
    planes: 2,
    image: [1, 70, 75],
    count: [1, 1, 2],
    kernel: [1, 70, 73],
    stride: [1, 1, 2],
    wide: true,
  },
  "more than scratch holds": {
    ...{ planes: 1, image: [1, 300, 500], count: [1, 100, 167], kernel: [1, 3, 3], stride: [1, 3, 3], pad: [0, 1, 1] },
  },
  "rows longer than scratch": {
    ...{ planes: 1, image: [1, 3, 50_000], count: [1, 1, 10_000], kernel: [1, 3, 3], stride: [1, 1, 5] },
  },
  "few rows": { planes: 1, image: [1, 1, 37], count: [1, 1, 36], kernel: [1, 1, 2], stride: [1, 1, 1] },
};
for (let count = 1; count <= 35; count++)
  KINDS[`2 x 2, ${count} columns`] = {
    ...{ planes: 3, image: [1, 4 + (count % 2), 2 * count + (count % 3 ? 0 : 1)], count: [1, 2, count] },
    ...{ kernel: [1, 2, 2], stride: [1, 2, 2] },
  };

const operands = (w: Windows, block: number, pieces: number): Record<number, number> => {
  const { image, count, kernel, stride = kernel, dilation = [1, 1, 1], pad = [0, 0, 0] } = w;
  const axes = { [P.ImageD]: image, [P.CountD]: count, [P.KernelD]: kernel, [P.StrideD]: stride };
  const words: Record<number, number> = {
    [P.Planes]: w.planes,
    [P.Adaptive]: Number(w.adaptive ?? false),
    [P.Wide]: Number(w.wide ?? false),
    [P.Fill]: floatBits(-Infinity),
    [P.Block]: block,
    [P.Pieces]: pieces,
  };
  for (const [at, list] of Object.entries({ ...axes, [P.DilationD]: dilation, [P.PadD]: pad }))
    list.forEach((v, i) => (words[Number(at) + i] = v));
  return words;
};

/** Blocks of planes and pieces of their rows. */
const CUTS = [
  [1, 1],
  [2, 1],
  [1, 3],
  [4, 8],
];

describe.each(["plain", "relaxed"])("%s", (variant) => {
  const m = new Machine(variant);

  /** What an instruction writes to Out, a given number of floats, however it is cut; and bytes or words to Taps. */
  function run(opcode: isa.Opcode, w: Windows, from: Float32Array, size: number, given?: ArrayLike<number>) {
    const results = CUTS.map(([block, pieces]) => {
      m.reset();
      const places = w.planes * product(w.count);
      const bytes = Uint8Array.from({ length: Math.ceil(places / 4) * 4 }, (_, i) => given?.[i] ?? 0xee);
      const taps = given
        ? w.wide
          ? m.i32(given, 4)
          : m.i32(new Int32Array(bytes.buffer), 4)
        : m.alloc(w.wide ? places * 4 : places, 4);
      const out = m.alloc(size * 4, 12);
      const ip = m.instruction(opcode, P.Length, Math.ceil(w.planes / block) * pieces, {
        ...operands(w, block, pieces),
        [P.Out]: out,
        [P.In]: m.f32(from, 8),
        [P.Taps]: taps,
      });
      const got = m.runEverySplit(ip, out, size);
      const marks = w.wide ? [...m.readI32(taps, places)] : [...new Uint8Array(m.memory.buffer, taps, places)];
      return { out: [...floats(got)], taps: marks };
    });
    for (const r of results) expect(r).toEqual(results[0]);
    return results[0];
  }

  describe.each(Object.entries(KINDS))("%s", (_, w) => {
    const each = elements(w);
    const [plane, windows] = [product(w.image), product(w.count)];

    it.each([false, true])("finds the largest element and the first tap that has it; NaN: %s", (nan) => {
      const x = values(w.planes * plane, windows, nan);
      const want = { out: [] as number[], taps: [] as number[] };
      for (let p = 0; p < w.planes; p++)
        for (const list of each) {
          let [best, tap] = [-Infinity, -1];
          list.forEach((e, t) => {
            if (Number.isNaN(e)) return;
            const v = x[p * plane + e];
            if (tap < 0 || v > best || Number.isNaN(v)) [best, tap] = [v, t];
          });
          want.out.push(best);
          want.taps.push(Math.max(tap, 0));
        }
      expect(run(Opcode.MaxPool, w, x, w.planes * windows)).toEqual(want);
    });

    it("takes elements by their taps, and puts them back", () => {
      const rand = random(windows);
      const taps = Int32Array.from({ length: w.planes * windows }, (_v, k) => {
        const inside = each[k % windows].flatMap((e, t) => (Number.isNaN(e) ? [] : [t]));
        return inside[Math.floor(rand() * inside.length)] ?? 0;
      });
      const at = [...taps].map((t, k) => Math.floor(k / windows) * plane + each[k % windows][t]);
      const x = values(w.planes * plane, 3, true);
      const taken = at.map((e) => (Number.isNaN(e) ? -Infinity : x[e]));
      expect(run(Opcode.TakeTaps, w, x, taken.length, taps).out).toEqual(taken);
      const y = Float32Array.from(taken, () => Math.round(rand() * 100) / 4);
      const put = new Float32Array(w.planes * plane);
      at.forEach((e, k) => {
        if (!Number.isNaN(e)) put[e] += y[k];
      });
      expect(run(Opcode.PutTaps, w, y, put.length, taps).out).toEqual([...put]);
    });

    it("adds up windows, and the windows of an element", () => {
      if (w.dilation) return;
      const rand = random(windows);
      // Sums are exact: all that adds them up gives the same.
      const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, () => Math.round(rand() * 100) / 4);
      const [x, y] = [numbers(w.planes * plane), numbers(w.planes * windows)];
      const sums = new Float32Array(y.length);
      const spread = new Float32Array(x.length);
      for (let k = 0; k < y.length; k++)
        for (const e of each[k % windows]) {
          if (Number.isNaN(e)) continue;
          const i = Math.floor(k / windows) * plane + e;
          sums[k] += x[i];
          spread[i] += y[k];
        }
      expect(run(Opcode.SumWindows, w, x, y.length).out).toEqual([...sums]);
      expect(run(Opcode.SpreadWindows, w, y, x.length).out).toEqual([...spread]);
    });
  });

  it("sums lines longer than scratch, and sums of many rows, in float64", () => {
    const n = 130_000;
    const x = Float32Array.from({ length: n }, (_, i) => 1 + (i % 7) / 4096);
    const total = (from: number, to: number): number =>
      Math.fround(x.subarray(from, to).reduce((s: number, v) => s + v, 0));
    const line = (size: number, step: number, count: number): Windows => ({
      ...{ planes: 1, image: [1, 1, n], count: [1, 1, count], kernel: [1, 1, size], stride: [1, 1, step] },
    });
    expect(run(Opcode.SumWindows, line(n, 1, 1), x, 1).out).toEqual([total(0, n)]);
    const longer = run(Opcode.SumWindows, line(40_000, 30_000, 4), x, 4).out;
    expect(longer).toEqual([0, 1, 2, 3].map((k) => total(k * 30_000, k * 30_000 + 40_000)));
    const halves = run(Opcode.SumWindows, line(2, 1, n - 1), x, n - 1).out;
    expect(halves.every((v, k) => v === total(k, k + 2))).toBe(true);
    const high = { planes: 1, image: [1, n, 1], count: [1, 1, 1], kernel: [1, n, 1] };
    expect(run(Opcode.SumWindows, high, x, 1).out).toEqual([total(0, n)]);
  });
});
