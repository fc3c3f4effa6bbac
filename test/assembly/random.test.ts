import { describe, expect, it } from "vitest";
import { floatBits, floats, isa, Machine, sameBits, ulps } from "./harness.ts";

const { Opcode, Random, RandomKind } = isa;
type KindName = keyof typeof RandomKind;
const kinds = Object.keys(RandomKind).filter((name) => Number.isNaN(Number(name))) as KindName[];

/** threefry2x32 with 20 rounds, written down from the paper. */
function threefry(key: readonly number[], counter: readonly number[]): [number, number] {
  const rotations = [
    [13, 15, 26, 6],
    [17, 29, 16, 24],
  ];
  const schedule = [key[0], key[1], key[0] ^ key[1] ^ 0x1bd11bda];
  let x = (counter[0] + key[0]) | 0;
  let y = (counter[1] + key[1]) | 0;
  for (let group = 1; group <= 5; group++) {
    for (const by of rotations[(group - 1) % 2]) {
      x = (x + y) | 0;
      y = ((y << by) | (y >>> (32 - by))) ^ x;
    }
    x = (x + schedule[group % 3]) | 0;
    y = (y + schedule[(group + 1) % 3] + group) | 0;
  }
  return [x, y];
}

interface Stream {
  key: readonly [number, number];
  counter: number;
  draw: number;
  a: number;
  b: number;
}

const fround = Math.fround;

/** Element e in float64, or its bits. */
const references: Record<KindName, (e: number, s: Stream) => number> = {
  Bits: (e, s) => threefry(s.key, [(e >> 3) * 4 + (e & 3), (s.counter + s.draw) | 0])[(e >> 2) & 1],
  Uniform: (e, s) => {
    const u = (references.Bits(e, s) >>> 8) * 2 ** -24;
    return fround(fround(s.a) + fround(fround(fround(s.b) - fround(s.a)) * u));
  },
  Normal: (e, s) => {
    const [x, y] = threefry(s.key, [e, (s.counter + s.draw) | 0]);
    const u1 = ((x >>> 8) + 1) * 2 ** -24;
    const u2 = (y >>> 8) * 2 ** -24;
    return fround(s.a) + fround(s.b) * Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * u2);
  },
};

const plain: Stream = { key: [0x12345678, -0x6543210f], counter: 7, draw: 3, a: 0, b: 1 };

function build(m: Machine, kind: KindName, n: number, s: Stream, grain: number): { ip: number; out: number } {
  const out = m.alloc(n * 4, 4 * (n % 5));
  const ip = m.instruction(Opcode.Random, Random.Length, Math.ceil(n / grain), {
    [Random.Out]: out,
    [Random.State]: m.i32([...s.key, s.counter], 4),
    [Random.Draw]: s.draw,
    [Random.N]: n,
    [Random.Kind]: RandomKind[kind],
    [Random.A]: floatBits(s.a),
    [Random.B]: floatBits(s.b),
    [Random.Grain]: grain,
  });
  return { ip, out };
}

/** Draws under every split into workers; all must agree bit for bit. */
function draw(m: Machine, kind: KindName, n: number, s: Stream, grain = 8): Int32Array {
  const { ip, out } = build(m, kind, n, s, grain);
  return m.runEverySplit(ip, out, n);
}

/** Largest distance between the empirical distribution of the sample and the distribution function. */
function kolmogorov(sample: Float32Array, distribution: (x: number) => number): number {
  const sorted = sample.slice().sort();
  return sorted.reduce((most, x, i) => {
    const p = distribution(x);
    return Math.max(most, Math.abs(p - i / sorted.length), Math.abs(p - (i + 1) / sorted.length));
  }, 0);
}

/** Distribution function of the normal distribution, by Simpson's rule on its density. */
function phi(x: number): number {
  const steps = 200;
  const h = Math.min(Math.max(x, -9), 9) / steps;
  let sum = 0;
  for (let i = 0; i <= steps; i++) {
    const weight = i === 0 || i === steps ? 1 : i % 2 ? 4 : 2;
    sum += weight * Math.exp(-((i * h) ** 2) / 2);
  }
  return 0.5 + (sum * h) / 3 / Math.sqrt(2 * Math.PI);
}

function moments(sample: Float32Array): { mean: number; variance: number } {
  const mean = sample.reduce((a, b) => a + b, 0) / sample.length;
  return { mean, variance: sample.reduce((a, b) => a + (b - mean) ** 2, 0) / sample.length };
}

it("has a reference for every kind", () => {
  expect(Object.keys(references).sort()).toEqual([...kinds].sort());
});

describe.each(["plain", "relaxed"])("random, %s", (variant) => {
  const m = new Machine(variant);

  it("gives the known answers of Random123", () => {
    const hex = (bits: number) => (bits >>> 0).toString(16).padStart(8, "0");
    // Element e has counter word 0 = (e >> 3) * 4 + (e & 3); its block's second word is element e + 4.
    const zero = { ...plain, key: [0, 0] as const, counter: 0, draw: 0 };
    m.reset();
    const bits = draw(m, "Bits", 8, zero);
    expect([hex(bits[0]), hex(bits[4])]).toEqual(["6b200159", "99ba4efe"]);
    // The next counter belongs to an element far beyond the memory; an address below 0 puts it in place.
    const far = (0x243f6a88 >> 2) * 8;
    const out = m.alloc(32);
    const ip = m.instruction(Opcode.Random, Random.Length, far / 8 + 1, {
      [Random.Out]: (out - far * 4) | 0,
      [Random.State]: m.i32([0x13198a2e, 0x03707344, 0x85a308d3]),
      [Random.N]: far + 8,
      [Random.Kind]: RandomKind.Bits,
      [Random.Grain]: 8,
    });
    m.exports.Random(ip, far / 8, far / 8 + 1, m.scratch);
    m.checkGuards();
    const words = m.readI32(out, 8);
    expect([hex(words[0]), hex(words[4])]).toEqual(["c4923a9c", "483df7a0"]);
    // No element has a counter of all ones: the reference carries that one.
    expect(threefry([0, 0], [0, 0]).map(hex)).toEqual(["6b200159", "99ba4efe"]);
    expect(threefry([-1, -1], [-1, -1]).map(hex)).toEqual(["1cb996fc", "bb002be7"]);
    expect(threefry([0x13198a2e, 0x03707344], [0x243f6a88, 0x85a308d3]).map(hex)).toEqual(["c4923a9c", "483df7a0"]);
  });

  it.each(kinds)("%s: equals the reference for every length and key", (kind) => {
    const keys = [
      [0, 0],
      [-1, -1],
      [0x13198a2e, 0x03707344],
      [5, 0],
    ] as const;
    for (let n = 0; n <= 67; n++) {
      m.reset();
      const s = { key: keys[n % 4], counter: n * 1000 - 3, draw: n % 6, a: n % 3 ? -1.5 : 0, b: n % 3 ? 2.25 : 1 };
      const got = draw(m, kind, n, s);
      for (let e = 0; e < n; e++) {
        const want = references[kind](e, s);
        if (kind === "Bits") expect(got[e]).toBe(want);
        else if (kind === "Uniform") expect(floats(got)[e]).toBe(want);
        else expect(Math.abs(floats(got)[e] - want)).toBeLessThan(Math.abs(want) * 2 ** -23.99 + 1e-10);
      }
    }
  });

  it("wraps the sum of counter and draw", () => {
    m.reset();
    const s = { ...plain, counter: 2 ** 31 - 1, draw: 5 };
    expect(Array.from(draw(m, "Bits", 8, s))).toEqual(Array.from(Array(8).keys(), (e) => references.Bits(e, s)));
    const next = draw(m, "Bits", 8, { ...plain, counter: 8, draw: 2 });
    expect(Array.from(draw(m, "Bits", 8, { ...plain, counter: 4, draw: 6 }))).toEqual(Array.from(next));
  });

  it.each(kinds)("%s: agrees for large grains and far elements", (kind) => {
    m.reset();
    const n = 20_003;
    const got = draw(m, kind, n, plain, 1024);
    expect(sameBits(draw(m, kind, n, plain, 8), got)).toBe(true);
    const want = references[kind](n - 1, plain);
    const last = kind === "Bits" ? got[n - 1] : floats(got)[n - 1];
    expect(Math.abs(last - want)).toBeLessThanOrEqual(Math.abs(want) * 2 ** -23.99);
  });

  it("is uniform", () => {
    m.reset();
    const sample = floats(draw(m, "Uniform", 100_000, plain, 4096));
    const { mean, variance } = moments(sample);
    expect(Math.abs(mean - 0.5)).toBeLessThan(4 * Math.sqrt(1 / 12 / 1e5));
    expect(Math.abs(variance - 1 / 12)).toBeLessThan(4 * Math.sqrt(1 / 180 / 1e5));
    expect(kolmogorov(sample, (x) => x)).toBeLessThan(1.95 / Math.sqrt(1e5));
    expect(sample.every((x) => x >= 0 && x < 1)).toBe(true);
  });

  it("is normal", () => {
    m.reset();
    const sample = floats(draw(m, "Normal", 100_000, plain, 4096));
    const { mean, variance } = moments(sample);
    expect(Math.abs(mean)).toBeLessThan(4 / Math.sqrt(1e5));
    expect(Math.abs(variance - 1)).toBeLessThan(4 * Math.sqrt(2 / 1e5));
    expect(kolmogorov(sample, phi)).toBeLessThan(1.95 / Math.sqrt(1e5));
    expect(sample.every(Number.isFinite)).toBe(true);
    const scaled = floats(draw(m, "Normal", 1000, { ...plain, a: -3, b: 0.25 }, 64));
    scaled.forEach((x, e) => expect(ulps(x, -3 + 0.25 * references.Normal(e, plain))).toBeLessThan(0.51));
  });

  it("computes the normals to the last bit, near the zeros of the cosine too", () => {
    m.reset();
    const n = 200_000;
    const sample = floats(draw(m, "Normal", n, { ...plain, counter: 1, draw: 1 }, 65536));
    let most = 0;
    for (let e = 0; e < n; e++)
      most = Math.max(most, ulps(sample[e], references.Normal(e, { ...plain, counter: 1, draw: 1 })));
    expect(most).toBeLessThan(0.501);
  });

  it("never draws the upper end of a uniform range", () => {
    // u close to 1 rounds up to high in all of these: look for such elements first.
    const ranges = [
      [1, 2],
      [-2, -1],
      [-1, 2 ** -30],
      [16777215, 16777216],
      [-3, 0],
      [0, 2 ** -149],
      [5e-45, 7e-45],
    ];
    for (const [a, b] of ranges) {
      m.reset();
      const s = { ...plain, a, b };
      const n = 100_000;
      const sample = floats(draw(m, "Uniform", n, s, 4096));
      const [low, high] = [fround(a), fround(b)];
      let rounded = 0;
      for (let e = 0; e < n; e++) {
        const want = references.Uniform(e, s);
        if (want >= high) rounded++;
        if (!(sample[e] >= low && sample[e] < high)) expect.fail(`${sample[e]} outside [${low}, ${high})`);
        if (want < high && sample[e] !== want) expect.fail(`element ${e} is ${sample[e]}, not ${want}`);
      }
      // Ranges of few values must have met the case.
      if (a === 16777215 || b === 2 ** -149 || b === 7e-45) expect(rounded).toBeGreaterThan(1000);
    }
  });

  it("takes an empty range for its one value, and a reversed one as it comes", () => {
    m.reset();
    expect(new Set(floats(draw(m, "Uniform", 67, { ...plain, a: 2.5, b: 2.5 })))).toEqual(new Set([2.5]));
    const s = { ...plain, a: 1, b: -1 };
    expect(Array.from(floats(draw(m, "Uniform", 67, s)))).toEqual(
      Array.from(Array(67).keys(), (e) => references.Uniform(e, s)),
    );
  });
});

it("draws the same bits in every build", () => {
  const machines = ["plain", "relaxed"].map((variant) => new Machine(variant));
  for (const kind of kinds) {
    const [a, b] = machines.map((m) => {
      m.reset();
      return draw(m, kind, 50_000, { ...plain, a: 0.1, b: 0.7 }, 1024);
    });
    expect(sameBits(a, b)).toBe(true);
  }
});
