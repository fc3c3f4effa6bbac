/** Minimal filtering on the raw kernels: every tail of every extent, whatever lies around the operands. */
import { describe, expect, it } from "vitest";
import { floats, isa, Machine, placeIn, random } from "./harness.ts";

const { Opcode, Winograd: W, WinogradTaps: T } = isa;

interface Sizes {
  readonly n: number;
  readonly c: number;
  readonly o: number;
  readonly h: number;
  readonly w: number;
  readonly pad: readonly [number, number];
  readonly pieces?: number;
  readonly around?: isa.Border;
}

const outer = ({ h, w, pad }: Sizes): [number, number] => [h + 2 * pad[0] - 2, w + 2 * pad[1] - 2];

/** The sums by their definition: y[o] += x[c] w[o, c], or what that sends back to w. */
function definition(s: Sizes, x: Float32Array, other: Float32Array, back: boolean): Float64Array {
  const { n, c, o, h, w, pad } = s;
  const [oh, ow] = outer(s);
  const sums = new Float64Array(back ? o * c * 9 : n * o * oh * ow);
  for (let b = 0; b < n; b++)
    for (let j = 0; j < o; j++)
      for (let i = 0; i < c; i++)
        for (let t = 0; t < 9; t++)
          for (let qy = 0; qy < oh; qy++)
            for (let qx = 0; qx < ow; qx++) {
              const y = placeIn(qy + Math.floor(t / 3) - pad[0], h, s.around);
              const z = placeIn(qx + (t % 3) - pad[1], w, s.around);
              if (y < 0 || z < 0) continue;
              const from = x[((b * c + i) * h + y) * w + z];
              const place = ((b * o + j) * oh + qy) * ow + qx;
              const tap = (j * c + i) * 9 + t;
              if (back) sums[tap] += from * other[place];
              else sums[place] += from * other[tap];
            }
  return sums;
}

/** Instructions of the convolution and of its gradient to the taps. */
class Filter {
  readonly x: Float32Array;
  readonly taps: Float32Array;
  readonly grad: Float32Array;
  private readonly words: Record<number, number>;

  /** x as it is now, into memory. */
  write(): void {
    new Float32Array(this.m.memory.buffer, this.words[W.In]).set(this.x);
  }

  constructor(
    private readonly m: Machine,
    private readonly s: Sizes,
  ) {
    m.reset();
    const { n, c, o, h, w, pad } = s;
    const [oh, ow] = outer(s);
    const rand = random(n + c + o + h + w);
    const values = (count: number): Float32Array => Float32Array.from({ length: count }, () => 2 * rand() - 1);
    this.x = values(n * c * h * w);
    this.taps = values(o * c * 9);
    this.grad = values(n * o * oh * ow);
    this.words = {
      ...{ [W.In]: m.f32(this.x, 4 * (w % 7)), [W.N]: n, [W.Channels]: c, [W.Results]: o },
      [W.Around]: s.around ?? isa.Border.Zeros,
      ...{ [W.InH]: h, [W.InW]: w, [W.OutH]: oh, [W.OutW]: ow, [W.PadH]: pad[0], [W.PadW]: pad[1] },
    };
    // Whatever was left in scratch has no say in results.
    new Float32Array(m.memory.buffer, m.scratch, isa.Scratch.Bytes / 4).fill(Number.NaN);
  }

  result(): Float32Array {
    const { m, words } = this;
    const { n, c, o, pieces = 1 } = this.s;
    const [oh, ow] = outer(this.s);
    const panels = Math.ceil(o / 8);
    const room = 36 * (Math.ceil((panels * c) / 2) * 64 + 64);
    const kernels = m.alloc(room);
    const from = m.f32(this.taps, 8);
    m.run(
      m.instruction(Opcode.WinogradTaps, T.Length, panels, {
        ...{ [T.Out]: kernels, [T.Taps]: from, [T.Channels]: c, [T.Results]: o, [T.Adjoint]: 0 },
      }),
      2,
    );
    const size = n * o * oh * ow;
    const out = m.alloc(size * 4, 4 * (ow % 5));
    const block = pieces > 1 ? 1 : 4;
    const ip = m.instruction(Opcode.Winograd, W.Length, Math.ceil(n / block) * pieces, {
      ...words,
      ...{ [W.Out]: out, [W.Kernels]: kernels, [W.Block]: block, [W.Pieces]: pieces },
    });
    return floats(m.runEverySplit(ip, out, size));
  }

  gradient(): Float32Array {
    const { m, words } = this;
    const { n, c, o, pieces = 1 } = this.s;
    const out = m.alloc(o * c * 36, 4);
    const sums = m.alloc(36 * Math.ceil(o / 4) * 4 * Math.ceil(c / 8) * 8 * 4);
    const ip = m.instruction(Opcode.WinogradKernel, W.Length, pieces, {
      ...words,
      ...{ [W.Out]: out, [W.Kernels]: m.f32(this.grad), [W.Sums]: sums, [W.Block]: n, [W.Pieces]: pieces },
    });
    return floats(m.runEverySplit(ip, out, o * c * 9));
  }
}

function expectNear(got: Float32Array, want: Float64Array, what: string): void {
  const scale = Math.max(1, ...want.map(Math.abs));
  let most = 0;
  for (let i = 0; i < want.length; i++) most = Math.max(most, Math.abs(got[i] - want[i]) || 0);
  expect(got.every(Number.isFinite), what).toBe(true);
  expect(most, what).toBeLessThan(4e-6 * scale);
}

describe.each(["plain", "relaxed"])("minimal filtering, %s", (variant) => {
  const m = new Machine(variant);

  const check = (s: Sizes): void => {
    const f = new Filter(m, s);
    expectNear(f.result(), definition(s, f.x, f.taps, false), `convolution of ${JSON.stringify(s)}`);
    expectNear(f.gradient(), definition(s, f.x, f.grad, true), `gradient of ${JSON.stringify(s)}`);
  };

  it("has every tail of rows and columns", () => {
    for (let h = 4; h <= 9; h++)
      for (let w = 4; w <= 13; w++)
        for (const pad of [
          [1, 1],
          [0, 2],
          [2, 0],
        ] as const) {
          const s: Sizes = { n: 2, c: 3, o: 5, h, w, pad };
          if (Math.min(...outer(s)) >= 4) check(s);
        }
  });

  it("has every tail of channels and results", () => {
    for (let c = 1; c <= 18; c++) check({ n: 1, c, o: 19 - c, h: 5, w: 6, pad: [1, 1] });
  });

  it("counts tiles through samples, and in pieces of the rows of one", () => {
    for (const n of [1, 3, 5, 9]) check({ n, c: 4, o: 4, h: 8, w: 11, pad: [1, 1] });
    for (const pieces of [2, 3]) check({ n: 2, c: 20, o: 9, h: 13, w: 12, pad: [1, 1], pieces });
  });

  it("sees nothing far outside", () => {
    for (const pad of [
      [1, 300],
      [90, 1],
      [7, 9],
    ] as const)
      check({ n: 1, c: 5, o: 2, h: 5, w: 6, pad });
  });

  it.each([isa.Border.Reflect, isa.Border.Replicate, isa.Border.Circular])("reads border %i in place", (around) => {
    for (let h = 4; h <= 7; h++)
      for (let w = 4; w <= 9; w++)
        for (const pad of [
          [1, 1],
          [0, 3],
          [3, 2],
        ] as const) {
          const s: Sizes = { n: 2, c: 3, o: 5, h, w, pad, around };
          if (Math.min(...outer(s)) >= 4) check(s);
        }
  });

  it("cuts what scratch has no room for", () => {
    check({ n: 1, c: 300, o: 9, h: 5, w: 4, pad: [1, 1] });
    check({ n: 1, c: 9, o: 900, h: 4, w: 5, pad: [1, 1] });
  });

  it("lets what is not finite reach the tiles that see it, and no others", () => {
    for (const value of [Number.NaN, Infinity, -Infinity]) {
      const f = new Filter(m, { n: 1, c: 8, o: 8, h: 16, w: 16, pad: [1, 1] });
      const before = f.result();
      // Row and column 5 of channel 2: seen by tile (1, 1) and no other.
      f.x[(2 * 16 + 5) * 16 + 5] = value;
      f.write();
      const after = f.result();
      for (let i = 0; i < after.length; i++) {
        const [y, x] = [(i >> 4) & 15, i & 15];
        const seen = y >> 2 === 1 && x >> 2 === 1;
        if (Math.abs(y - 5) < 2 && Math.abs(x - 5) < 2) expect(Number.isFinite(after[i])).toBe(false);
        if (!seen) expect(after[i]).toBe(before[i]);
      }
    }
  });
});
