/** Exact matrix products: each element is the sum in float64, rounded once, or that of integers modulo 2^32. */
import { describe, expect, it } from "vitest";
import { floats, isa, Machine, random } from "./harness.ts";

const { Opcode, Product } = isa;

describe.each(["plain", "relaxed"])("product, %s", (variant) => {
  const m = new Machine(variant);

  it.each(["float", "integer"])(
    "is right to the last bit for any shape and layout, whoever computes it: %s",
    (kind) => {
      const integer = kind === "integer";
      const array = (n: number, value: () => number): Float32Array | Int32Array =>
        integer ? Int32Array.from({ length: n }, () => value() * 2 ** 12) : Float32Array.from({ length: n }, value);
      for (const [batch, rows, depth, cols] of [
        [1, 1, 1, 1],
        [1, 3, 36, 9],
        [2, 5, 7, 4],
        [3, 2, 4, 6],
        [1, 4, 0, 5],
        [2, 9, 3, 33],
        [1, 0, 3, 3],
      ]) {
        const next = random(depth + cols);
        const a = array(batch * rows * depth, () => (next() - 0.5) * 2 ** (next() * 20));
        const b = array(batch * depth * cols, () => (next() - 0.5) * 2 ** (next() * 20));
        for (const layout of ["NN", "NT", "TN", "TT", "one B"]) {
          const [aRow, aCol] = layout[0] === "T" ? [1, rows] : [depth, 1];
          const [bRow, bCol] = layout[1] === "T" ? [1, depth] : [cols, 1];
          const bBatch = layout === "one B" ? 0 : depth * cols;
          const want: number[] = [];
          for (let t = 0; t < batch; t++)
            for (let i = 0; i < rows; i++)
              for (let j = 0; j < cols; j++) {
                let sum = 0;
                for (let k = 0; k < depth; k++) {
                  const [p, q] = [a[t * rows * depth + i * aRow + k * aCol], b[t * bBatch + k * bRow + j * bCol]];
                  sum = integer ? (sum + Math.imul(p, q)) | 0 : sum + p * q;
                }
                want.push(integer ? sum : Math.fround(sum));
              }
          m.reset();
          const n = batch * rows * cols;
          const out = m.alloc(n * 4, 4);
          const ip = m.instruction(Opcode.Product, Product.Length, Math.ceil((batch * rows) / 2), {
            [Product.C]: out,
            [Product.A]: integer ? m.i32(a, 8) : m.f32(a, 8),
            [Product.B]: integer ? m.i32(b, 12) : m.f32(b, 12),
            [Product.M]: rows,
            [Product.N]: cols,
            [Product.K]: depth,
            [Product.ARow]: aRow,
            [Product.ACol]: aCol,
            [Product.BRow]: bRow,
            [Product.BCol]: bCol,
            [Product.Batch]: batch,
            [Product.ABatch]: rows * depth,
            [Product.BBatch]: bBatch,
            [Product.Block]: 2,
            [Product.Integer]: integer ? 1 : 0,
          });
          const words = m.runEverySplit(ip, out, n);
          expect(Array.from(integer ? words : floats(words)), layout).toEqual(want);
        }
      }
    },
  );
});
