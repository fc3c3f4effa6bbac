import { setFlagsFromString } from "node:v8";
import { describe, expect, it } from "vitest";
import { Machine, isa, random } from "./harness.ts";

setFlagsFromString("--experimental-wasm-relaxed-simd");

const { Opcode, GatherRows, ScatterAddRows } = isa;
const widths = [0, ...Array.from({ length: 67 }, (_, i) => i + 1)];

/** Runs an instruction under every split into workers; all must agree bit for bit. */
function run(m: Machine, ip: number, out: number, n: number): Int32Array {
  let first: Int32Array | undefined;
  for (const workers of [1, 2, 3, 7]) {
    new Int32Array(m.memory.buffer, out, n).fill(0x7fc0dead);
    m.run(ip, workers);
    const got = m.readI32(out, n);
    first ??= got;
    expect(Buffer.from(got.buffer).equals(Buffer.from(first.buffer)), `${workers} workers`).toBe(true);
  }
  m.checkGuards();
  return m.readI32(out, n);
}

function gather(m: Machine, table: Int32Array, width: number, tableRows: number, index: number[], block = 2) {
  const out = m.alloc(index.length * width * 4, 4 * (width % 3));
  const ip = m.instruction(Opcode.GatherRows, GatherRows.Length, Math.ceil(index.length / block), {
    [GatherRows.Out]: out,
    [GatherRows.Table]: m.i32(table, 4 * (width % 5)),
    [GatherRows.Index]: m.i32(index, 8),
    [GatherRows.Rows]: index.length,
    [GatherRows.TableRows]: tableRows,
    [GatherRows.Width]: width,
    [GatherRows.Block]: block,
  });
  return { ip, got: run(m, ip, out, index.length * width) };
}

function scatter(m: Machine, input: Float32Array, width: number, outRows: number, index: number[], block = 2) {
  const out = m.alloc(outRows * width * 4, 4 * (width % 3));
  const ip = m.instruction(Opcode.ScatterAddRows, ScatterAddRows.Length, Math.ceil(outRows / block), {
    [ScatterAddRows.Out]: out,
    [ScatterAddRows.In]: m.f32(input, 4 * (width % 5)),
    [ScatterAddRows.Index]: m.i32(index, 8),
    [ScatterAddRows.Rows]: index.length,
    [ScatterAddRows.OutRows]: outRows,
    [ScatterAddRows.Width]: width,
    [ScatterAddRows.Block]: block,
  });
  return { ip, got: new Float32Array(run(m, ip, out, outRows * width).buffer) };
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
        new Int32Array(m.memory.buffer, isa.Memory.Fault, 5).fill(0);
        m.exports.scatterAddRows(ip, 1, Math.ceil(7 / block), m.scratch);
        m.exports.scatterAddRows(ip, 0, 0, m.scratch);
        expect(m.fault().code).toBe(0);
      }
  });
});
