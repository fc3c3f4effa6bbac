/** Attention and its gradient on the raw kernels: tails of every extent, rows apart, masks, numbers that are none. */
import { describe, expect, it } from "vitest";
import { floatBits, floats, isa, Machine, random } from "./harness.ts";

const { Attention: A, AttentionOperand: Operand, AttentionSplit: Split, Opcode } = isa;

interface Sizes {
  /** Entries: two axes in front. */
  readonly lead: readonly [number, number];
  readonly l: number;
  readonly s: number;
  readonly e: number;
  readonly ev: number;
  readonly causal?: boolean;
  readonly mask?: "bool" | "float";
  readonly split?: isa.AttentionSplit;
  readonly block?: number;
}

const WIDTHS = { Out: "ev", Q: "e", K: "e", V: "ev", Grad: "ev", ToQ: "e", ToK: "e", ToV: "ev" } as const;
const ROWS = { Out: "l", Q: "l", K: "s", V: "s", Grad: "l", ToQ: "l", ToK: "s", ToV: "s" } as const;
type Name = keyof typeof WIDTHS;
const NAMES = Object.keys(WIDTHS) as Name[];
const scaleOf = (e: number): number => 1 / Math.max(2, Math.sqrt(e));

/** Elements between the rows of operands, and what is there. */
const GAP = 3;
const FILL = 0x7fc0dead;

/** Elements [entries, rows, width] of operands, by name, and the mask [L, S] of all entries. */
class Case {
  readonly values: Record<Name, Float32Array>;
  readonly mask: Float32Array;
  private readonly entries: number;

  constructor(readonly s: Sizes) {
    this.entries = s.lead[0] * s.lead[1];
    const next = random(s.l * 1009 + s.s * 101 + s.e * 11 + s.ev);
    const make = (n: number): Float32Array => Float32Array.from({ length: n }, () => 2 * next() - 1);
    this.values = Object.fromEntries(
      NAMES.map((name) => [name, make(this.entries * s[ROWS[name]] * s[WIDTHS[name]])]),
    ) as Record<Name, Float32Array>;
    this.mask = make(s.l * s.s).map((v) => (s.mask === "bool" ? Number(v > 0) : v));
  }

  /** By the definition, in float64: the result, and what goes back to q, k and v. */
  wanted(): Record<"Out" | "ToQ" | "ToK" | "ToV", Float64Array> {
    const { l, s, e, ev, causal, mask } = this.s;
    const { Q, K, V, Grad } = this.values;
    const scale = Math.fround(scaleOf(e));
    const zeros = (name: Name): Float64Array => new Float64Array(this.values[name].length);
    const [out, ToQ, ToK, ToV] = [zeros("Out"), zeros("Q"), zeros("K"), zeros("V")];
    for (let b = 0; b < this.entries; b++)
      for (let i = 0; i < l; i++) {
        const r = b * l + i;
        const seen = causal ? Math.min(s, i + 1) : s;
        const x = Array.from({ length: seen }, (_, j) => {
          let sum = 0;
          for (let c = 0; c < e; c++) sum += Q[r * e + c] * K[(b * s + j) * e + c];
          const m = this.mask[i * s + j];
          return scale * sum + (mask === "float" ? m : 0) + (mask === "bool" && m === 0 ? Number.NEGATIVE_INFINITY : 0);
        });
        const most = Math.max(...x, -1e30);
        const p = x.map((v) => Math.exp(v - most));
        const sum = p.reduce((a, v) => a + v, 0);
        const w = p.map((v) => (sum === 0 ? 0 : v / sum));
        const back = w.map((_, j) => {
          let d = 0;
          for (let c = 0; c < ev; c++) d += Grad[r * ev + c] * V[(b * s + j) * ev + c];
          return d;
        });
        const along = w.reduce((a, v, j) => a + v * back[j], 0);
        w.forEach((v, j) => {
          const d = scale * v * (back[j] - along);
          for (let c = 0; c < ev; c++) {
            out[r * ev + c] += v * V[(b * s + j) * ev + c];
            ToV[(b * s + j) * ev + c] += v * Grad[r * ev + c];
          }
          for (let c = 0; c < e; c++) {
            ToQ[r * e + c] += d * K[(b * s + j) * e + c];
            ToK[(b * s + j) * e + c] += d * Q[r * e + c];
          }
        });
      }
    return { Out: out, ToQ, ToK, ToV };
  }

  /** Elements from row to row; rows of an entry of the second axis lie between those of the next, as heads do. */
  private row(name: Name): number {
    return this.s.lead[1] * this.s[WIDTHS[name]] + GAP;
  }

  private places(name: Name, f: (element: number, at: number) => void): void {
    const [outer, inner] = this.s.lead;
    const [rows, width, row] = [this.s[ROWS[name]], this.s[WIDTHS[name]], this.row(name)];
    let element = 0;
    for (let a = 0; a < outer; a++)
      for (let b = 0; b < inner; b++)
        for (let r = 0; r < rows; r++)
          for (let c = 0; c < width; c++) f(element++, (a * rows + r) * row + b * width + c);
  }

  private room(name: Name): number {
    return this.s.lead[0] * this.s[ROWS[name]] * this.row(name);
  }

  /** Runs both instructions under every split; their results, by the kernels. */
  run(m: Machine): Record<"Out" | "ToQ" | "ToK" | "ToV", Float32Array> {
    m.reset();
    new Float32Array(m.memory.buffer, m.scratch, isa.Scratch.Bytes / 4).fill(Number.NaN);
    const { lead, l, s, e, ev, causal, mask, split = Split.None, block = 64 } = this.s;
    const at = {} as Record<Name, number>;
    for (const [i, name] of NAMES.entries()) {
      const data = new Float32Array(this.room(name)).fill(Number.NaN);
      this.places(name, (element, place) => {
        data[place] = this.values[name][element];
      });
      at[name] = m.f32(data, 4 * (i % 5));
    }
    let masked = 0;
    if (mask === "float") masked = m.f32(this.mask, 4);
    if (mask === "bool")
      new Uint8Array(m.memory.buffer, (masked = m.alloc(this.mask.length)), this.mask.length).set(this.mask);
    const entries = lead[0] * lead[1];
    const statistics = m.alloc(entries * l * 8, 4);
    const strides = Object.values(Operand)
      .filter((v): v is string => typeof v === "string" && v !== "Count")
      .sort((a, b) => Operand[a as keyof typeof Operand] - Operand[b as keyof typeof Operand])
      .flatMap((name) => {
        if (name === "Mask") return [0, 0];
        const n = name as Name;
        return [this.s[ROWS[n]] * this.row(n), this.s[WIDTHS[n]]];
      });
    const tail = Object.fromEntries([...lead, ...strides].map((v, i) => [A.Length + i, v]));
    const words = {
      ...{ [A.Q]: at.Q, [A.K]: at.K, [A.V]: at.V, [A.Out]: at.Out, [A.Grad]: at.Grad, [A.Statistics]: statistics },
      ...{ [A.Mask]: masked, [A.MaskBytes]: mask === "float" ? 4 : mask ? 1 : 0, [A.MaskRow]: s, [A.MaskCol]: 1 },
      ...{ [A.L]: l, [A.S]: s, [A.E]: e, [A.Ev]: ev, [A.Scale]: floatBits(scaleOf(e)), [A.Causal]: causal ? 1 : 0 },
      ...{ [A.OutRow]: this.row("Out"), [A.QRow]: this.row("Q"), [A.KRow]: this.row("K"), [A.VRow]: this.row("V") },
      ...{ [A.GradRow]: this.row("Grad"), [A.ToQRow]: this.row("ToQ"), [A.ToKRow]: this.row("ToK") },
      ...{ [A.ToVRow]: this.row("ToV"), [A.Rank]: 2, [A.Block]: block, ...tail },
    };
    const length = A.Length + 2 + strides.length;
    const result = (ip: number, name: Name): Float32Array => {
      const got = m.runEverySplit(ip, at[name], this.room(name));
      const found = new Float32Array(this.values[name].length);
      this.places(name, (element, place) => {
        found[element] = floats(got)[place];
        got[place] = FILL;
      });
      // Between the rows nothing was written.
      expect(got.every((v) => v === FILL)).toBe(true);
      return found;
    };
    const units = (rows: number): number => entries * Math.ceil(rows / block);
    const Out = result(
      m.instruction(Opcode.Attention, length, units(l), { ...words, [A.Split]: Split.Queries }),
      "Out",
    );
    const back = (name: Name, by: isa.AttentionSplit, wanted: Record<number, number>): Float32Array => {
      const count = by === Split.None ? entries : units(by === Split.Queries ? l : s);
      return result(m.instruction(Opcode.AttentionGrad, length, count, { ...words, [A.Split]: by, ...wanted }), name);
    };
    const all = { [A.ToQ]: at.ToQ, [A.ToK]: at.ToK, [A.ToV]: at.ToV };
    if (split === Split.None)
      return { Out, ToQ: back("ToQ", split, all), ToK: back("ToK", split, all), ToV: back("ToV", split, all) };
    return {
      Out,
      ToQ: back("ToQ", Split.Queries, { [A.ToQ]: at.ToQ }),
      ToK: back("ToK", Split.Keys, { [A.ToK]: at.ToK, [A.ToV]: at.ToV }),
      ToV: back("ToV", Split.Keys, { [A.ToV]: at.ToV }),
    };
  }
}

function expectNear(sizes: Sizes, m: Machine): void {
  const c = new Case(sizes);
  const [got, want] = [c.run(m), c.wanted()];
  for (const name of ["Out", "ToQ", "ToK", "ToV"] as const) {
    // What comes back to weights is a sum over values, of which the mean is taken off.
    const scale = want[name].reduce((a, v) => Math.max(a, Math.abs(v)), Math.max(1, Math.sqrt(sizes.ev) / 4));
    for (let i = 0; i < want[name].length; i++)
      if (!(Math.abs(got[name][i] - want[name][i]) <= 2e-6 * scale))
        throw new Error(`${JSON.stringify(sizes)}: ${name}[${i}] is ${got[name][i]}, wanted ${want[name][i]}`);
  }
}

describe.each(["plain", "relaxed"])("attention, %s", (variant) => {
  const m = new Machine(variant, 1024);

  it("tails of every length", () => {
    for (let n = 1; n <= 20; n++)
      for (const causal of [false, true]) {
        const split = n % 3 === 0 ? Split.Queries : Split.None;
        const block = n % 2 === 0 ? 16 : 64;
        expectNear({ lead: [1, 2], l: n, s: 5, e: 3, ev: 4, causal, split, block }, m);
        expectNear({ lead: [1, 1], l: 5, s: n, e: 4, ev: 9, causal, split, block }, m);
        expectNear({ lead: [2, 1], l: 3, s: 7, e: n, ev: 2, causal, split, block }, m);
        expectNear({ lead: [1, 2], l: 9, s: 6, e: 5, ev: n, causal, split, block }, m);
      }
  });

  it("more queries and keys than a tile, by entries and by blocks of queries or keys", () => {
    for (const [l, s] of [
      [64, 64],
      [65, 63],
      [130, 67],
      [63, 140],
      [17, 200],
      [200, 17],
    ])
      for (const causal of [false, true])
        for (const [split, block] of [
          [Split.None, 64],
          [Split.Queries, 64],
          [Split.Queries, 32],
          [Split.Keys, 16],
        ])
          expectNear({ lead: [1, 2], l, s, e: 8, ev: 5, causal, split, block }, m);
  });

  it("rows too wide for panels in scratch", () => {
    expectNear({ lead: [1, 1], l: 5, s: 70, e: 1500, ev: 3 }, m);
    expectNear({ lead: [1, 1], l: 66, s: 9, e: 3, ev: 2500, causal: true }, m);
    expectNear({ lead: [1, 1], l: 4, s: 66, e: 3, ev: 500, causal: true, split: Split.Keys }, m);
  });

  it("masks to include, and to add; a query with nothing to attend to gives 0", () => {
    for (const mask of ["bool", "float"] as const)
      for (const [l, s] of [
        [3, 2],
        [70, 1],
        [9, 21],
        [66, 130],
      ])
        for (const split of [Split.None, Split.Queries])
          expectNear({ lead: [2, 2], l, s, e: 4, ev: 5, mask, split }, m);
    const c = new Case({ lead: [1, 1], l: 2, s: 3, e: 4, ev: 5, mask: "bool" });
    c.mask.set([0, 0, 0, 1, 1, 1]);
    const { Out, ToQ } = c.run(m);
    expect([...Out.subarray(0, 5), ...ToQ.subarray(0, 4)].every((v) => Object.is(v, 0))).toBe(true);
    expect(Out.subarray(5).every((v) => v !== 0)).toBe(true);
  });

  it("without keys the result is 0", () => {
    expectNear({ lead: [1, 2], l: 3, s: 0, e: 4, ev: 5 }, m);
    expectNear({ lead: [1, 2], l: 3, s: 4, e: 0, ev: 5, causal: true }, m);
  });

  it("a NaN is in what sees it, an infinite score makes its row NaN, -0 is a number", () => {
    const c = new Case({ lead: [1, 1], l: 70, s: 70, e: 3, ev: 4, causal: true });
    c.values.K[3 * 66] = Number.NaN;
    const { Out } = c.run(m);
    Out.forEach((v, i) => expect(Number.isNaN(v), `row ${Math.floor(i / 4)}`).toBe(Math.floor(i / 4) >= 66));
    const d = new Case({ lead: [1, 1], l: 5, s: 5, e: 1, ev: 2 });
    d.values.Q.set([-0, 1, 2, Number.POSITIVE_INFINITY, -1]);
    d.values.K.fill(1);
    const rows = d.run(m).Out;
    expect([...rows].map((v) => Number.isNaN(v))).toEqual([0, 0, 0, 0, 0, 0, 1, 1, 0, 0].map(Boolean));
    // All keys alike: the mean of the values.
    const mean = [0, 1].map((k) => [0, 1, 2, 3, 4].reduce((a, j) => a + d.values.V[2 * j + k] / 5, 0));
    expect(rows[0]).toBeCloseTo(mean[0], 6);
    expect(rows[1]).toBeCloseTo(mean[1], 6);
  });

  it("large scores neither overflow nor vanish", () => {
    const c = new Case({ lead: [1, 1], l: 3, s: 130, e: 2, ev: 3 });
    c.values.Q.fill(30);
    c.values.K.forEach((_, i) => {
      c.values.K[i] = i < 128 ? -20 : i < 256 ? 30 : 29;
    });
    const [got, want] = [c.run(m), c.wanted()];
    for (const name of ["Out", "ToV"] as const) got[name].forEach((v, i) => expect(v).toBeCloseTo(want[name][i], 5));
  });
});
