/**
 * Functions in float32 lanes on 2^24 arguments each, spread over all floats, or with FUNCTIONS=all on all 2^32, in both builds:
 * within what DESIGN and ARCHITECTURE say, the same whatever their place in a vector.
 */
import { expect, test } from "vitest";
import { isa, Machine } from "./harness.ts";

const ALL = process.env.FUNCTIONS === "all";
/** Every 256th bit pattern, beginning with another one for each function. */
const STRIDE = ALL ? 1 : 256;
const CHUNK = 2 ** 16;

const softplus = (x: number): number => Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x));

/** In units in the last place; `near`: a distance that is small enough anyway. */
const FUNCTIONS: [name: keyof typeof isa.Micro, f: (x: number) => number, within: number, near?: number][] = [
  ["Exp", Math.exp, 1],
  ["Expm1", Math.expm1, 1.5],
  ["Tanh", Math.tanh, 2],
  ["Sigmoid", sigmoid, 2.5],
  ["Silu", (x) => x * sigmoid(x), 3, 1e-42],
  ["Log", Math.log, 1],
  ["Log1p", Math.log1p, 1.5],
  ["Softplus", softplus, 2.5],
];

const double = new Float64Array(1);
const words = new Uint32Array(double.buffer);
/** Of a float64, one unit in the last place of the float32 next to it. */
function unit(x: number): number {
  double[0] = x;
  return 2 ** (Math.max(-126, ((words[1] >>> 20) & 0x7ff) - 1023) - 23);
}

/** The greatest distance over the arguments, in ulps. */
function worst(machine: Machine, [name, f, , near = 0]: (typeof FUNCTIONS)[number]): { error: number; at: number } {
  const micro = machine.exports[`micro${name}`];
  const at = machine.alloc(4 * CHUNK);
  const out = machine.alloc(4 * CHUNK);
  const x = new Float32Array(machine.memory.buffer, at, CHUNK);
  const bits = new Uint32Array(machine.memory.buffer, at, CHUNK);
  const y = new Float32Array(machine.memory.buffer, out, CHUNK);
  let [error, where] = [0, 0];
  for (let from = isa.Micro[name] % STRIDE; from < 2 ** 32; from += CHUNK * STRIDE) {
    for (let i = 0; i < CHUNK; i++) bits[i] = from + i * STRIDE;
    micro(out, at, 0, 0, CHUNK);
    for (let i = 0; i < CHUNK; i++) {
      const got = y[i];
      const want = f(x[i]);
      if (got === want || (got !== got && want !== want)) continue;
      const rounded = Math.fround(want);
      let e = Math.abs(got - want) / unit(want);
      if (!Number.isFinite(got) || !Number.isFinite(rounded))
        e =
          got === rounded
            ? 0
            : Number.isFinite(want) && got === Math.sign(want) * Infinity
              ? (2 ** 128 - Math.abs(want)) / 2 ** 104
              : Infinity;
      if (e > error && Math.abs(got - want) > near) [error, where] = [e, x[i]];
    }
  }
  return { error, at: where };
}

test.each(["plain", "relaxed"].flatMap((build) => FUNCTIONS.map((f) => [build, f[0], f] as const)))(
  "%s: %s",
  (build, name, f) => {
    const { error, at } = worst(new Machine(build), f);
    if (ALL) console.log(`${build} ${name}: ${error.toFixed(3)} ulp at ${at}`);
    expect(error, `at ${at}`).toBeLessThanOrEqual(f[2]);
  },
  ALL ? 3_600_000 : 60_000,
);
