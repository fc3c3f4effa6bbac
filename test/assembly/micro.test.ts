import { describe, expect, it } from "vitest";
import { isa, Machine, random, ulps } from "./harness.ts";

const { Micro } = isa;
type Name = keyof typeof Micro;

/** float32 bits of any NaN become those of one NaN: which one it is is the host's affair. */
const NAN = 0x7fc00000;
const isNaNBits = (b: number) => (b & 0x7fffffff) > 0x7f800000;

interface Reference {
  arity: 1 | 2 | 3;
  /** Type of the inputs and of the result: float32 or int32. */
  from: "f" | "i";
  to: "f" | "i";
  f: (a: number, b: number, c: number) => number;
  /** Greatest distance from f in ulps. */
  within: number;
  /** Whether a zero must have the sign of f's. */
  zero: boolean;
  /** A distance that is small enough, whatever it is in ulps: where f goes through 0, or results are subnormal numbers' multiples. */
  near?: number;
  /** Computed in float32 with multiply-adds, which the relaxed build fuses: its bits are others. */
  fused?: true;
}

const FUSED = { fused: true } as const;

/** Half an ulp is correct rounding. */
const ROUNDED = 0.5;
const float = (arity: 1 | 2 | 3, f: Reference["f"], within = ROUNDED, more: Partial<Reference> = {}): Reference => ({
  arity,
  from: "f",
  to: "f",
  f,
  within,
  zero: true,
  ...more,
});
const ints = (arity: 1 | 2 | 3, f: Reference["f"]): Reference => ({
  arity,
  from: "i",
  to: "i",
  f,
  within: 0,
  zero: false,
});
const test = (f: (a: number, b: number) => boolean): Reference => float(2, (a, b) => +f(a, b), 0, { to: "i" });
const ANY_ZERO = { zero: false };

/** erf by its series of positive terms, erfc beyond 2 by Lentz's continued fraction. */
function erfc(x: number): number {
  if (x < 2) return 1 - erf(x);
  let f = 1;
  for (let n = 120; n > 0; n--) f = 1 + n / 2 / (x * x) / f;
  return Math.exp(-x * x) / (x * Math.sqrt(Math.PI) * f);
}
function erf(x: number): number {
  if (Math.abs(x) > 2) return x > 0 ? 1 - erfc(x) : erfc(-x) - 1;
  let term = x;
  let sum = x;
  for (let n = 1; Math.abs(term) > 1e-18 * Math.abs(sum); n++) sum += term *= (2 * x * x) / (2 * n + 1);
  return (2 / Math.sqrt(Math.PI)) * Math.exp(-x * x) * sum;
}

const geluSlope = (a: number): number =>
  Math.abs(a) === Infinity
    ? a > 0
      ? 1
      : 0
    : 0.5 * erfc(-a * Math.SQRT1_2) + (a * Math.exp(-0.5 * a * a)) / Math.sqrt(2 * Math.PI);

/** C's pow where JavaScript's is another. */
function pow(x: number, y: number): number {
  if (x === 1 || (x === -1 && Math.abs(y) === Infinity)) return 1;
  return x ** y;
}

function remainder(a: number, b: number): number {
  if (Math.abs(b) === Infinity && Number.isFinite(a)) return a !== 0 && a < 0 !== b < 0 ? b : a;
  const r = a % b;
  return r !== 0 && r < 0 !== b < 0 ? r + b : r;
}

function roundHalfToEven(x: number): number {
  const r = Math.round(x);
  if (Math.abs(x % 1) !== 0.5) return Object.is(r, 0) && x < 0 ? -0 : r;
  return x < 0 ? -2 * Math.round(-x / 2) : 2 * Math.round(x / 2);
}

const maximum = (a: number, b: number) => Math.max(a, b);

/** a^b modulo 2^32, in whole numbers without a bound. */
function powI(a: number, b: number): number {
  if (b >= 0) return Number(BigInt.asIntN(32, modPow(BigInt(a), b)));
  return a === 1 || (a === -1 && b % 2 === 0) ? 1 : a === -1 ? -1 : 0;
}

function modPow(base: bigint, exponent: number): bigint {
  let result = 1n;
  for (const bit of exponent.toString(2)) result = BigInt.asUintN(32, result * result * (bit === "1" ? base : 1n));
  return result;
}

const references: Partial<Record<Name, Reference>> = {
  Copy: float(1, (a) => a, 0),
  Neg: float(1, (a) => -a, 0),
  Abs: float(1, Math.abs, 0),
  Exp: float(1, Math.exp, 1, FUSED),
  Log: float(1, Math.log, 1, FUSED),
  Log1p: float(1, Math.log1p, 1.5, FUSED),
  Expm1: float(1, Math.expm1, 1.5, FUSED),
  Tanh: float(1, Math.tanh, 2, FUSED),
  Sigmoid: float(1, (a) => 1 / (1 + Math.exp(-a)), 2.5, FUSED),
  Sqrt: float(1, Math.sqrt),
  Rsqrt: float(1, (a) => 1 / Math.sqrt(a), 1.5),
  Reciprocal: float(1, (a) => 1 / a),
  Sin: float(1, Math.sin, 1.5),
  Cos: float(1, Math.cos, 1.5),
  Tan: float(1, Math.tan, 2),
  Erf: float(1, erf, 1.5),
  Sinh: float(1, Math.sinh, 2),
  Cosh: float(1, Math.cosh, 2),
  Asin: float(1, Math.asin, 2),
  Acos: float(1, Math.acos, 2),
  Atan: float(1, Math.atan, 2),
  Square: float(1, (a) => a * a),
  Sign: float(1, (a) => Math.sign(a) || 0, 0, ANY_ZERO),
  Floor: float(1, Math.floor, 0),
  Ceil: float(1, Math.ceil, 0),
  Round: float(1, roundHalfToEven, 0),
  Trunc: float(1, Math.trunc, 0),
  Frac: float(1, (a) => a - Math.trunc(a), 0),
  Relu: float(1, (a) => maximum(a, 0), 0, ANY_ZERO),
  Relu6: float(1, (a) => Math.min(maximum(a, 0), 6), 0, ANY_ZERO),
  Softplus: float(1, (a) => Math.max(a, 0) + Math.log1p(Math.exp(-Math.abs(a))), 2.5, FUSED),
  // As rounding leaves two polynomials of positive terms, each as long as the bell's tail needs.
  Gelu: float(1, (a) => a * 0.5 * erfc(-a * Math.SQRT1_2), 8, { ...FUSED, near: 1e-41 }),
  // e^x has fewer digits than a float32 where it is subnormal.
  Silu: float(1, (a) => a * (1 / (1 + Math.exp(-a))), 3, { ...FUSED, near: 1e-42 }),
  GeluSlope: float(1, (a) => geluSlope(a), 8, { ...FUSED, ...ANY_ZERO, near: 1.5e-7 }),

  Add: float(2, (a, b) => a + b),
  Sub: float(2, (a, b) => a - b),
  Mul: float(2, (a, b) => a * b),
  Div: float(2, (a, b) => a / b),
  Pow: float(2, pow, 1),
  Maximum: float(2, maximum, 0),
  Minimum: float(2, (a, b) => Math.min(a, b), 0),
  Atan2: float(2, Math.atan2, 2),
  ReluMask: float(2, (a, b) => (b <= 0 ? 0 : a), 0),
  Relu6Mask: float(2, (a, b) => (b <= 0 || b >= 6 ? 0 : a), 0),
  Eq: test((a, b) => a === b),
  Ne: test((a, b) => a !== b),
  Lt: test((a, b) => a < b),
  Le: test((a, b) => a <= b),
  Gt: test((a, b) => a > b),
  Ge: test((a, b) => a >= b),
  Remainder: float(2, remainder, ROUNDED, ANY_ZERO),

  NegI: ints(1, (a) => -a | 0),
  AbsI: ints(1, (a) => Math.abs(a) | 0),
  SignI: ints(1, Math.sign),
  AddI: ints(2, (a, b) => (a + b) | 0),
  SubI: ints(2, (a, b) => (a - b) | 0),
  MulI: ints(2, Math.imul),
  PowI: ints(2, powI),
  RemainderI: ints(2, (a, b) => (b === 0 ? 0 : (a - Math.floor(a / b) * b) | 0)),
  MaximumI: ints(2, (a, b) => Math.max(a, b)),
  MinimumI: ints(2, (a, b) => Math.min(a, b)),
  EqI: ints(2, (a, b) => +(a === b)),
  NeI: ints(2, (a, b) => +(a !== b)),
  LtI: ints(2, (a, b) => +(a < b)),
  LeI: ints(2, (a, b) => +(a <= b)),
  GtI: ints(2, (a, b) => +(a > b)),
  GeI: ints(2, (a, b) => +(a >= b)),
  AndI: ints(2, (a, b) => a & b),
  OrI: ints(2, (a, b) => a | b),
  XorI: ints(2, (a, b) => a ^ b),
  NotI: ints(1, (a) => +(a === 0)),

  ToFloat: { ...float(1, (a) => a), from: "i" },
  ToInt: float(1, (a) => Math.min(Math.max(Math.trunc(a), -(2 ** 31)), 2 ** 31 - 1) || 0, 0, { to: "i" }),
  ToBool: float(1, (a) => +(a !== 0), 0, { to: "i" }),

  Where: ints(3, (a, b, c) => (a !== 0 ? b : c)),
};

/** Micro-operations that move (below 16) belong to Map. */
const computing = (Object.keys(Micro).filter((k) => Number.isNaN(Number(k))) as Name[]).filter((k) => Micro[k] >= 16);

const MAX = 3.4028234663852886e38;
const TINY = 2 ** -149;
// biome-ignore format: a table
const floats = [
  NaN, Infinity, -Infinity, 0, -0, TINY, -TINY, 2 ** -140, -1.5e-39, 2 ** -126, -(2 ** -126), 1e-20, -1e-20, 0.25,
  -0.25,
  0.5, -0.5, 0.75, 1, -1, 1 + 2 ** -23, 1 - 2 ** -24, -1 + 2 ** -24, -1 - 2 ** -23, 1.5, -1.5, 2, -2, 2.5, -2.5, 3, -3,
  4,
  3.5, -3.5, 7, -8, 14.5, -14.5, 88.5, 88.687, 88.8, -87.5, -88.5, -103.9, -104.1, 127.5, -150, 1000, -1001, 8388607.5,
  -8388608.5, 16777215, -16777216, 16777217, 4194303.75, 4194304.5, 2147483520, 2147483648, -2147483648, 1e10, -1e20,
  1e38,
  MAX, -MAX,
].map(Math.fround);
// biome-ignore format: a table
const integers = [
  0, 1, -1, 2, -2, 3, -3, 7, -7, 10, 255, 256, -256, 65535, 65536, -65537, 8388608, 16777217, -16777217, 1073741824,
  2147483647, 2147483646, -2147483648, -2147483647, 0x7fc00001, 0x40490fdb,
];

const bitsOf = (x: number) => new Int32Array(new Float32Array([x]).buffer)[0];
/** Inputs are kept as bits, so that no NaN changes on the way. */
const specials = { f: floats.map(bitsOf), i: integers };
const view = new DataView(new ArrayBuffer(4));
const asFloat = (bits: number) => (view.setInt32(0, bits), view.getFloat32(0));
const value = (bits: number, type: "f" | "i") => (type === "f" ? asFloat(bits) : bits);

const plain = new Machine("plain");
const relaxed = new Machine("relaxed");

/** The results of op on columns of bits, as bits; a NaN of a float result becomes one NaN. */
function run(machine: Machine, op: Name, columns: number[][] | Int32Array[]): Int32Array {
  machine.reset();
  const n = columns[0].length;
  const room = Math.ceil(n / 4) * 4;
  const [a, b, c] = columns.map((x) => machine.i32(Int32Array.from({ length: room }, (_, i) => x[i] ?? 0)));
  const dst = machine.alloc(room * 4);
  machine.micro(Micro[op])(dst, a, b ?? a, c ?? a, room);
  machine.checkGuards();
  const out = machine.readI32(dst, n);
  const r = references[op] as Reference;
  if (r.to === "f" && op !== "Copy") out.forEach((x, i) => isNaNBits(x) && (out[i] = NAN));
  return out;
}

/** Greatest error against the reference, in ulps. */
function worst(op: Name, columns: number[][] | Int32Array[], out: Int32Array): { error: number; at: string } {
  const r = references[op] as Reference;
  let error = 0;
  let at = "";
  for (let i = 0; i < out.length; i++) {
    const a = value(columns[0][i], r.from);
    const b = r.arity > 1 ? value(columns[1][i], r.from) : 0;
    const c = r.arity > 2 ? value(columns[2][i], r.from) : 0;
    const want = r.f(a, b, c);
    const got = value(out[i], r.to);
    let e = r.to === "i" ? Math.abs(got - want) : ulps(got, want);
    if (r.near !== undefined && Math.abs(got - want) <= r.near) e = 0;
    if (
      r.to === "f" &&
      r.zero &&
      got === 0 &&
      Math.fround(want) === 0 &&
      Object.is(got, 0) !== Object.is(Math.fround(want), 0)
    )
      e = Infinity;
    if (e > error) [error, at] = [e, `${op}(${[a, b, c].slice(0, r.arity)}) = ${got}, not ${want}`];
  }
  return { error, at };
}

/** The first element that differs, or -1. */
function different(a: Int32Array, b: Int32Array): number {
  return a.findIndex((x, i) => x !== b[i]);
}

function check(op: Name, columns: number[][] | Int32Array[]): void {
  const out = run(plain, op, columns);
  const { within, fused } = references[op] as Reference;
  const { error, at } = worst(op, columns, out);
  expect(error, at).toBeLessThanOrEqual(within);
  const other = run(relaxed, op, columns);
  if (fused) {
    const found = worst(op, columns, other);
    expect(found.error, `relaxed ${found.at}`).toBeLessThanOrEqual(within);
  } else expect(different(other, out), `${op}, relaxed`).toBe(-1);
}

/** All combinations of the special values. */
function combinations(r: Reference): number[][] {
  let values = specials[r.from];
  if (r.arity === 3) values = values.filter((_, i) => i % 2 === 0);
  const columns: number[][] = Array.from({ length: r.arity }, () => []);
  for (let i = 0; i < values.length ** r.arity; i++)
    for (let k = 0, rest = i; k < r.arity; k++, rest = Math.floor(rest / values.length))
      columns[k].push(values[rest % values.length]);
  return columns;
}

/** An instruction that carries out op alone; operands it does not have name a slot that is no address. */
function mapOf(op: Name, dst: number, inputs: number[], n: number): number {
  const { Map, Slot } = isa;
  const slots = [Slot.Immediate, bitsOf(1), ...[dst, ...inputs].flatMap((address) => [Slot.Dense, address])];
  const micro = [Micro[op], 1, ...[0, 1, 2].map((k) => (k < inputs.length ? k + 2 : 0))];
  const words = [...slots, ...micro];
  return plain.instruction(isa.Opcode.Map, Map.Length + words.length, Math.ceil(n / 4), {
    [Map.N]: n,
    [Map.Grain]: 4,
    [Map.Slots]: slots.length / 2,
    [Map.SlotsAt]: Map.Length,
    [Map.Micros]: 1,
    [Map.MicrosAt]: Map.Length + slots.length,
    ...Object.fromEntries(words.map((word, i) => [Map.Length + i, word])),
  });
}

describe("micro-operations", () => {
  it("all have a reference, and an export", () => {
    expect(Object.keys(references).sort()).toEqual([...computing].sort());
    const exported = Object.keys(plain.exports).filter((name) => name.startsWith("micro"));
    expect(exported.sort()).toEqual(computing.map((name) => `micro${name}`).sort());
  });

  it.each(computing)("%s on special values", (op) => {
    check(op, combinations(references[op] as Reference));
  });

  it.each(computing)("%s by Map, on lengths 0 to 67 at any offset", (op) => {
    const r = references[op] as Reference;
    const next = random(Micro[op]);
    const pick = (n: number) =>
      Array.from({ length: n }, () => specials[r.from][Math.floor(next() * specials[r.from].length)]);
    const columns = Array.from({ length: r.arity }, () => pick(67));
    const whole = run(plain, op, columns);
    for (let n = 0; n <= 67; n++)
      for (let offset = 0; offset < 16; offset += 4) {
        plain.reset();
        const inputs = columns.map((x, k) => plain.i32(x.slice(67 - n), (offset * (k + 1)) % 16));
        const dst = plain.alloc(n * 4, (offset + 4) % 16);
        plain.run(mapOf(op, dst, inputs, n));
        plain.checkGuards();
        const out = plain.readI32(dst, n);
        for (let i = 0; i < n; i++) {
          const got = r.to === "f" && op !== "Copy" && isNaNBits(out[i]) ? NAN : out[i];
          if (got !== whole[67 - n + i]) expect.fail(`${op}: element ${i} of ${n} at offset ${offset} is another`);
        }
      }
  });

  it.each(computing)("%s in place, and by runMicro", (op) => {
    const r = references[op] as Reference;
    const columns = Array.from({ length: r.arity }, (_, k) =>
      Array.from({ length: 60 }, (_, i) => specials[r.from][(i * (k + 2) + k) % specials[r.from].length]),
    );
    const want = run(plain, op, columns);
    for (let k = 0; k < r.arity; k++) {
      plain.reset();
      const inputs = columns.map((x) => plain.i32(x));
      const [a, b, c] = inputs;
      plain.exports.runMicro(Micro[op], inputs[k], a, b ?? a, c ?? a, 60);
      plain.checkGuards();
      const out = plain.readI32(inputs[k], 60);
      if (r.to === "f" && op !== "Copy") out.forEach((x, i) => isNaNBits(x) && (out[i] = NAN));
      expect(out).toEqual(want);
    }
  });
});

describe("accuracy", () => {
  /** Where a function does what it does; the other half of the samples are random bits, log-spaced over all floats. */
  const ranges: Partial<Record<Name, [number, number]>> = {
    Exp: [-104, 89],
    Log: [0, 4],
    Log1p: [-1, 3],
    Expm1: [-20, 89],
    Tanh: [-10, 10],
    Sigmoid: [-104, 20],
    Sqrt: [0, 100],
    Rsqrt: [0, 100],
    Reciprocal: [-100, 100],
    Sin: [-400, 400],
    Cos: [-400, 400],
    Tan: [-400, 400],
    Erf: [-4.5, 4.5],
    Sinh: [-90, 90],
    Cosh: [-90, 90],
    Asin: [-1, 1],
    Acos: [-1, 1],
    Atan: [-20, 20],
    Softplus: [-104, 30],
    Gelu: [-14, 7],
    GeluSlope: [-14, 7],
    Silu: [-104, 20],
    Pow: [0, 30],
    Atan2: [-3, 3],
    Remainder: [-1000, 1000],
    Div: [-10, 10],
    Square: [-10, 10],
  };
  const inexact = computing.filter((op) => (references[op] as Reference).within > ROUNDED);

  it("is measured for every function that is not exact", () => {
    for (const op of inexact) expect(ranges, op).toHaveProperty(op);
  });

  const SAMPLES = 100_000;
  it.each(Object.keys(ranges) as Name[])("%s", (op) => {
    const [from, to] = ranges[op] as [number, number];
    const next = random(Micro[op] + 1000);
    const columns = Array.from({ length: (references[op] as Reference).arity }, () => {
      const bits = new Int32Array(SAMPLES);
      const values = new Float32Array(bits.buffer);
      for (let i = 0; i < SAMPLES; i++)
        if (i % 2) values[i] = from + next() * (to - from);
        else bits[i] = next() * 2 ** 32;
      return bits;
    });
    check(op, columns);
  });

  it("the angles next to multiples of pi/2, and large ones", () => {
    const bits: number[] = [];
    for (let n = 1; n < 8000; n++) {
      const near = bitsOf((n * Math.PI) / 2);
      bits.push(near - 1, near, near + 1);
    }
    for (let e = 0; e < 128; e++) for (let m = 0; m < 16; m++) bits.push(bitsOf((1 + m / 16) * 2 ** e));
    // The float32 that lies nearest to a multiple of pi/2 in proportion to its size.
    bits.push(bitsOf(16367173 * 2 ** 72), bitsOf(-16367173 * 2 ** 72), bitsOf(3e38));
    for (const op of ["Sin", "Cos", "Tan"] as const) check(op, [bits]);
  });

  it("powers near 1 with large exponents, and of negative numbers", () => {
    const next = random(77);
    const x: number[] = [];
    const y: number[] = [];
    for (let i = 0; i < 20000; i++) {
      const away = 2 ** (-1 - Math.floor(next() * 22)) * (next() < 0.5 ? -1 : 1);
      x.push(bitsOf((1 + away) * (i % 3 ? 1 : -1)));
      const e = ((next() - 0.5) * 200) / Math.log1p(away);
      y.push(bitsOf(i % 3 ? e : Math.round(e)));
    }
    check("Pow", [x, y]);
  });

  it("remainders of long quotients", () => {
    const next = random(78);
    const columns = [0, 1].map(() => Array.from({ length: 20000 }, () => (next() * 2 ** 32) | 0));
    check("Remainder", columns);
  });

  it("the edges of exp and log", () => {
    const at = (op: Name, x: number) => asFloat(run(plain, op, [[bitsOf(x)]])[0]);
    expect(at("Exp", 88.687)).toBeLessThan(Infinity);
    expect(at("Exp", 88.72283)).toBeLessThan(Infinity);
    expect(at("Exp", 88.72284)).toBe(Infinity);
    expect(at("Exp", -103.97)).toBe(TINY);
    expect(at("Exp", -104)).toBe(0);
    expect(at("Exp", 0)).toBe(1);
    expect(at("Log", TINY)).toBe(Math.fround(Math.log(TINY)));
    expect(at("Log", 1)).toBe(0);
    expect(at("Tanh", 9.02)).toBe(1);
  });

  it("NaNs with any payload stay NaN", () => {
    const payloads = Array.from({ length: 23 }, (_, i) => [0x7fc00000 | (1 << i), 0xffc00000 | (1 << i)]).flat();
    const bits = [...payloads, 0x7fffffff, -1, 0x7f800001].map((x) => x | 0);
    for (const op of computing) {
      const r = references[op] as Reference;
      if (r.from !== "f" || r.to !== "f" || op === "Sign") continue;
      const out = run(plain, op, [bits, bits.map(() => bitsOf(2)), bits.map(() => bitsOf(2))].slice(0, r.arity));
      expect(out.every(isNaNBits), op).toBe(true);
    }
  });
});
