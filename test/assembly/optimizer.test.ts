import { describe, expect, test } from "vitest";
import { floatBits, isa, Machine, random } from "./harness.ts";

const I = isa.Adam;
const BETAS = { b1: 0.9, c1: 0.1, b2: 0.999, c2: 0.001, eps: 1e-8 };
const f = Math.fround;

/** The same expression, every product and sum rounded to float32. */
function reference(w: number, m: number, v: number, g: number, step: number, root: number): [number, number, number] {
  const mn = f(f(m * f(BETAS.b1)) + f(g * f(BETAS.c1)));
  const vn = f(f(v * f(BETAS.b2)) + f(f(g * g) * f(BETAS.c2)));
  const denominator = f(f(f(Math.sqrt(vn)) * root) + f(BETAS.eps));
  return [f(w - f(f(mn * step) / denominator)), mn, vn];
}

interface Run {
  readonly w: Float32Array;
  readonly m: Float32Array;
  readonly v: Float32Array;
}

function run(
  machine: Machine,
  inputs: number[][],
  grain: number,
  workers: number,
  offset: number,
  inPlace: boolean,
): Run {
  machine.reset();
  const n = inputs[0].length;
  const [w, m, v, g] = inputs.map((a) => machine.f32(a, offset));
  const [newW, newM, newV] = inPlace ? [w, m, v] : [0, 1, 2].map(() => machine.alloc(n * 4, offset));
  const ip = machine.instruction(isa.Opcode.Adam, I.Length, Math.ceil(n / grain), {
    [I.W]: w,
    [I.M]: m,
    [I.V]: v,
    [I.G]: g,
    [I.NewW]: newW,
    [I.NewM]: newM,
    [I.NewV]: newV,
    [I.StepSize]: machine.f32([0.01]),
    [I.Root]: machine.f32([1.25]),
    [I.N]: n,
    [I.Grain]: grain,
    [I.Beta1]: floatBits(BETAS.b1),
    [I.Rest1]: floatBits(BETAS.c1),
    [I.Beta2]: floatBits(BETAS.b2),
    [I.Rest2]: floatBits(BETAS.c2),
    [I.Eps]: floatBits(BETAS.eps),
  });
  machine.run(ip, workers);
  machine.checkGuards();
  if (!inPlace) expect([...machine.readF32(g, n)]).toEqual([...Float32Array.from(inputs[3])]);
  return { w: machine.readF32(newW, n), m: machine.readF32(newM, n), v: machine.readF32(newV, n) };
}

describe.each(["plain", "relaxed"])("adam (%s)", (variant) => {
  const machine = new Machine(variant);
  const next = random(3);
  const inputs = (n: number): number[][] =>
    [-1, -1, 0, -1].map((low) => Array.from({ length: n }, () => f(low + (1 - low) * next())));

  test("every length from 0 to 67, odd offsets, in place and not, is the rounded expression", () => {
    for (let n = 0; n <= 67; n++)
      for (const [offset, inPlace] of [
        [0, false],
        [4, true],
        [12, false],
      ] as const) {
        const data = inputs(n);
        const got = run(machine, data, 4, 1, offset, inPlace);
        for (let i = 0; i < n; i++) {
          const [w, m, v] = reference(data[0][i], data[1][i], data[2][i], data[3][i], f(0.01), 1.25);
          expect([got.w[i], got.m[i], got.v[i]], `length ${n}, element ${i}`).toEqual([w, m, v]);
        }
      }
  });

  test("the number of workers and the grain change no bit", () => {
    const data = inputs(1003);
    const one = run(machine, data, 4, 1, 0, false);
    for (const workers of [2, 3, 7])
      for (const grain of [4, 16, 64]) expect(run(machine, data, grain, workers, 0, true)).toEqual(one);
  });

  test("NaN and infinities go where arithmetic sends them", () => {
    const got = run(
      machine,
      [
        [1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0],
        [0, 0, 0, 0, 0],
        [Number.NaN, Number.POSITIVE_INFINITY, 0, -0, 0],
      ],
      4,
      1,
      0,
      false,
    );
    expect(got.w[0]).toBeNaN();
    expect(got.w[1]).toBeNaN();
    expect([got.w[2], got.w[3], got.w[4]]).toEqual([1, 1, 1]);
    expect(got.v[1]).toBe(Number.POSITIVE_INFINITY);
  });
});
