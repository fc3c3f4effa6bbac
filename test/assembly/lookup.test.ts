import { describe, expect, it } from "vitest";
import { floats, isa, Machine, random } from "./harness.ts";

const { Opcode, Gather, ScatterAdd, ScatterKind } = isa;
const widths = [0, ...Array.from({ length: 67 }, (_, i) => i + 1)];

/** Extents before and after the axis, and how the index is laid out: by default one for each row of one slice. */
interface Layout {
  outer?: number;
  strides?: [outer: number, row: number, inner: number];
}

function gather(
  m: Machine,
  table: Int32Array,
  width: number,
  bound: number,
  index: number[],
  { outer = 1, strides = [0, 1, 0], rows = index.length }: Layout & { rows?: number } = {},
  block = 2,
) {
  const n = outer * rows * width;
  const out = m.alloc(n * 4, 4 * (width % 3));
  const ip = m.instruction(Opcode.Gather, Gather.Length, Math.ceil((outer * rows) / block), {
    [Gather.Out]: out,
    [Gather.In]: m.i32(table, 4 * (width % 5)),
    [Gather.Index]: m.i32(index, 8),
    [Gather.Outer]: outer,
    [Gather.Rows]: rows,
    [Gather.Bound]: bound,
    [Gather.Inner]: width,
    [Gather.IndexOuter]: strides[0],
    [Gather.IndexRow]: strides[1],
    [Gather.IndexInner]: strides[2],
    [Gather.Block]: block,
  });
  return { ip, got: m.runEverySplit(ip, out, n) };
}

function scatter(
  m: Machine,
  input: Float32Array | Int32Array,
  width: number,
  bound: number,
  index: number[],
  block = 2,
  { outer = 1, strides = [0, 1, 0], rows = index.length }: Layout & { rows?: number } = {},
  kind = input instanceof Float32Array ? ScatterKind.Sum : ScatterKind.SumI,
) {
  const n = outer * bound * width;
  const out = m.alloc(n * 4, 4 * (width % 3));
  const ip = m.instruction(Opcode.ScatterAdd, ScatterAdd.Length, Math.ceil((outer * bound) / block), {
    [ScatterAdd.Out]: out,
    [ScatterAdd.In]: m.i32(new Int32Array(input.buffer), 4 * (width % 5)),
    [ScatterAdd.Index]: m.i32(index, 8),
    [ScatterAdd.Outer]: outer,
    [ScatterAdd.Rows]: rows,
    [ScatterAdd.Bound]: bound,
    [ScatterAdd.Inner]: width,
    [ScatterAdd.IndexOuter]: strides[0],
    [ScatterAdd.IndexRow]: strides[1],
    [ScatterAdd.IndexInner]: strides[2],
    [ScatterAdd.Kind]: kind,
    [ScatterAdd.Block]: block,
  });
  const words = m.runEverySplit(ip, out, n);
  return { ip, words, got: floats(words) };
}

/** The same sums in float32, one row after the other. */
function scatterReference(input: Float32Array, width: number, outRows: number, index: number[]): Float32Array {
  const out = new Float32Array(outRows * width);
  index.forEach((row, i) => {
    if (row < 0 || row >= outRows) return;
    for (let c = 0; c < width; c++) out[row * width + c] += input[i * width + c];
  });
  return out;
}

describe.each(["plain", "relaxed"])("lookup, %s", (variant) => {
  const m = new Machine(variant);
  const words = (n: number, seed: number) => {
    const rand = random(seed);
    return Int32Array.from({ length: n }, () => rand() * 2 ** 32);
  };

  it("gathers rows of every width, bit for bit", () => {
    for (const width of [...widths, 513]) {
      m.reset();
      const table = words(6 * width, width);
      const index = [5, 0, 0, 3, 2, 5, 1];
      const { got } = gather(m, table, width, 6, index);
      expect(Array.from(got)).toEqual(index.flatMap((i) => Array.from(table.slice(i * width, (i + 1) * width))));
      expect(m.fault().code).toBe(0);
    }
  });

  it("keeps the payload of NaN and the sign of zero", () => {
    m.reset();
    const odd = [0x7f800001, 0x7fc12345, 0xffedcba9 | 0, 0xff800001 | 0, 0x80000000 | 0, 1, 0xff800000 | 0];
    expect(Array.from(gather(m, Int32Array.from(odd), 7, 1, [0, 0]).got)).toEqual([...odd, ...odd]);
  });

  it("gathers nothing", () => {
    m.reset();
    expect(gather(m, words(12, 1), 4, 3, []).got.length).toBe(0);
  });

  it("faults on a bad index and gives a row of zeros", () => {
    for (const width of [0, 1, 6, 33])
      for (const bad of [4, 5, -1, 2 ** 31 - 1, -(2 ** 31)]) {
        m.reset();
        const table = words(4 * width, width);
        const { ip, got } = gather(m, table, width, 4, [3, bad, 0]);
        expect(m.fault()).toEqual({ code: isa.FaultCode.IndexOutOfRange, ip, where: 1, value: bad, bound: 4 });
        expect(Array.from(got)).toEqual([
          ...table.slice(3 * width, 4 * width),
          ...Array(width).fill(0),
          ...table.slice(0, width),
        ]);
      }
    m.reset();
    const { ip, got } = gather(m, new Int32Array(0), 3, 0, [0]);
    expect(m.fault()).toEqual({ code: isa.FaultCode.IndexOutOfRange, ip, where: 0, value: 0, bound: 0 });
    expect(Array.from(got)).toEqual([0, 0, 0]);
  });

  it("adds up rows of every width in order", () => {
    for (const width of [...widths, 300])
      for (const block of [1, 3, 100]) {
        m.reset();
        const rand = random(width + 1);
        const index = [4, 0, 4, 2, 4, 4, 0, 6, 4];
        // Numbers of very different size: another order would give other bits.
        const input = Float32Array.from({ length: index.length * width }, () => (rand() - 0.5) * 2 ** (rand() * 40));
        const { got } = scatter(m, input, width, 7, index, block);
        expect(Array.from(got)).toEqual(Array.from(scatterReference(input, width, 7, index)));
        expect(m.fault().code).toBe(0);
      }
  });

  it("scatters nothing, into zeros", () => {
    m.reset();
    expect(Array.from(scatter(m, new Float32Array(0), 5, 3, []).got)).toEqual(Array(15).fill(0));
    expect(scatter(m, new Float32Array(0), 5, 0, []).got.length).toBe(0);
  });

  it("adds NaN, infinities and subnormals into their own rows alone", () => {
    m.reset();
    const input = Float32Array.of(NaN, 2 ** -149, Infinity, 1, 2 ** -149, -Infinity);
    expect(Array.from(scatter(m, input, 3, 3, [1, 1]).got)).toEqual([0, 0, 0, NaN, 2 ** -148, NaN, 0, 0, 0]);
  });

  it("faults on a bad index and passes over its row", () => {
    for (const bad of [7, -1, 2 ** 31 - 1, -(2 ** 31)])
      for (const block of [1, 2, 7]) {
        m.reset();
        const input = Float32Array.from({ length: 20 }, (_, i) => i + 1);
        const { ip, got } = scatter(m, input, 5, 7, [6, bad, 0, 6], block);
        expect(m.fault()).toEqual({ code: isa.FaultCode.IndexOutOfRange, ip, where: 1, value: bad, bound: 7 });
        expect(Array.from(got)).toEqual(Array.from(scatterReference(input, 5, 7, [6, bad, 0, 6])));
        // One worker alone records it: two that write different faults at once would mix them up.
        m.clearFault();
        m.exports.ScatterAdd(ip, 1, Math.ceil(7 / block), m.scratch);
        m.exports.ScatterAdd(ip, 0, 0, m.scratch);
        expect(m.fault().code).toBe(0);
      }
  });

  it("looks up each element by its own index, along any axis", () => {
    const [outer, bound, rows] = [3, 5, 4];
    for (const width of [1, 2, 4, 7, 33]) {
      const rand = random(width);
      // One index for each element; the same for all slices; the same along rows, from a reversed list.
      const layouts: [number, number, number][] = [
        [rows * width, width, 1],
        [0, width, 1],
        [1, 3, 0],
      ];
      for (const strides of layouts) {
        const index = Array.from({ length: 3 * rows * width + 12 }, () => Math.floor(rand() * bound));
        const table = words(outer * bound * width, width);
        const input = Float32Array.from({ length: outer * rows * width }, () => (rand() - 0.5) * 2 ** (rand() * 40));
        const integers = words(outer * rows * width, width + 1);
        const taken: number[] = [];
        const sums = new Float32Array(outer * bound * width);
        const whole = new Int32Array(outer * bound * width);
        const last = new Int32Array(outer * bound * width).fill(-1);
        for (let o = 0; o < outer; o++)
          for (let i = 0; i < rows; i++)
            for (let c = 0; c < width; c++) {
              const k = index[o * strides[0] + i * strides[1] + c * strides[2]];
              const from = (o * rows + i) * width + c;
              const to = (o * bound + k) * width + c;
              taken.push(table[to]);
              sums[to] += input[from];
              whole[to] += integers[from];
              last[to] = i;
            }
        for (const block of [1, 2, 9]) {
          m.reset();
          const layout = { outer, strides, rows };
          expect(Array.from(gather(m, table, width, bound, index, layout, block).got)).toEqual(taken);
          expect(Array.from(scatter(m, input, width, bound, index, block, layout).got)).toEqual(Array.from(sums));
          expect(Array.from(scatter(m, integers, width, bound, index, block, layout).words)).toEqual(Array.from(whole));
          const none = new Int32Array(outer * rows * width);
          const positions = scatter(m, none, width, bound, index, block, layout, ScatterKind.Last).words;
          expect(Array.from(positions)).toEqual(Array.from(last));
          expect(m.fault().code).toBe(0);
        }
      }
    }
  });

  it("faults on a bad index of one element and spares the others", () => {
    for (const bad of [3, -1]) {
      m.reset();
      const table = words(2 * 3 * 2, 1);
      const index = [0, 2, 1, bad];
      const { ip, got } = gather(m, table, 2, 3, index, { outer: 2, strides: [2, 0, 1], rows: 1 });
      expect(m.fault()).toEqual({ code: isa.FaultCode.IndexOutOfRange, ip, where: 3, value: bad, bound: 3 });
      expect(Array.from(got)).toEqual([table[0], table[5], table[8], 0]);
      m.reset();
      const second = scatter(m, Float32Array.of(1, 2, 3, 4), 2, 3, index, 1, { outer: 2, strides: [2, 0, 1], rows: 1 });
      expect(m.fault()).toEqual({ code: isa.FaultCode.IndexOutOfRange, ip: second.ip, where: 3, value: bad, bound: 3 });
      expect(Array.from(second.got)).toEqual([1, 0, 0, 0, 0, 2, 0, 0, 3, 0, 0, 0]);
    }
  });
});
