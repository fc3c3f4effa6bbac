import { describe, expect, it } from "vitest";
import { isa, Machine, random, sameBits } from "./harness.ts";

const { Opcode, Transpose } = isa;

/** Transposes under every split into workers, and compares with the definition. */
function check(m: Machine, batch: number, rows: number, cols: number, block: number): void {
  const n = batch * rows * cols;
  const rand = random(n + block);
  const input = Int32Array.from({ length: n }, () => rand() * 2 ** 32); // all kinds of bits, NaN among them
  const from = m.i32(input, 4 * (rows % 5));
  const out = m.alloc(n * 4, 4 * (cols % 3));
  const ip = m.instruction(Opcode.Transpose, Transpose.Length, batch * Math.ceil(cols / block), {
    [Transpose.Out]: out,
    [Transpose.In]: from,
    [Transpose.Batch]: batch,
    [Transpose.Rows]: rows,
    [Transpose.Cols]: cols,
    [Transpose.Block]: block,
  });
  const want = new Int32Array(n);
  for (let b = 0; b < batch; b++)
    for (let r = 0; r < rows; r++)
      for (let c = 0; c < cols; c++) want[(b * cols + c) * rows + r] = input[(b * rows + r) * cols + c];
  expect(sameBits(m.runEverySplit(ip, out, n), want), `[${batch}, ${rows}, ${cols}] by ${block}`).toBe(true);
}

describe.each(["plain", "relaxed"])("transpose, %s", (variant) => {
  const m = new Machine(variant);

  it("transposes every small matrix", () => {
    for (let rows = 1; rows <= 67; rows++)
      for (let cols = 1; cols <= 67; cols += rows % 4 ? 5 : 1) {
        m.reset();
        check(m, 1, rows, cols, 8);
      }
    for (let cols = 1; cols <= 67; cols++) {
      m.reset();
      check(m, 1, 6, cols, 16);
    }
  });

  it("transposes batches and large matrices in blocks of any size", () => {
    for (const [batch, rows, cols] of [
      [3, 5, 7],
      [2, 64, 64],
      [2, 130, 33],
      [1, 257, 200],
      [4, 1, 9],
      [4, 9, 1],
    ])
      for (const block of [1, 3, 4, 20, 64, 1000]) {
        m.reset();
        check(m, batch, rows, cols, block);
      }
  });

  it("transposes nothing", () => {
    m.reset();
    for (const [batch, rows, cols] of [
      [0, 3, 3],
      [2, 0, 3],
      [2, 3, 0],
    ])
      check(m, batch, rows, cols, 4);
  });
});
