/** Convolutions and their two adjoints, by tiles and place by place, against their float64 references, on any number of workers. */
import { afterEach, describe, expect, test } from "vitest";
import * as fl from "../../src/index.ts";
import { numel } from "../../src/core/shape.ts";
import type { Node } from "../../src/graph/node.ts";
import { type ConvSizes, convolution, convolutionInput, convolutionKernel } from "../../src/ops/convolution.ts";
import { referenceOf } from "../../src/ops/reference/table.ts";
import { Tensor } from "../../src/tensor/tensor.ts";
import { random } from "../assembly/harness.ts";
import { bits, fresh } from "../run/support.ts";

afterEach(() => fl.dispose());

interface Case extends ConvSizes {
  readonly x: readonly number[];
  readonly w: readonly number[];
  /** Spatial extents of the result. */
  readonly size: readonly number[];
}

/** A case from what a user would say: extents, kernels, and what lies around. */
function of(
  samples: number,
  channels: number,
  results: number,
  inner: number[],
  taps: number[],
  {
    stride = 1,
    padding = 0,
    after,
    dilation = 1,
    groups = 1,
  }: Partial<Record<"stride" | "padding" | "after" | "dilation" | "groups", number>> = {},
): Case {
  const all = (v: number): number[] => inner.map(() => v);
  const size = inner.map(
    (d, i) => Math.floor((d + padding + (after ?? padding) - dilation * (taps[i] - 1) - 1) / stride) + 1,
  );
  return {
    x: [samples, channels, ...inner],
    w: [results, channels / groups, ...taps],
    size,
    stride: all(stride),
    dilation: all(dilation),
    padding: all(padding),
    groups,
  };
}

const show = ({ x, w, size, stride, padding, dilation, groups }: Case): string =>
  `${x} * ${w} -> ${size}, stride ${stride}, padding ${padding}, dilation ${dilation}, groups ${groups}`;

const values = (shape: readonly number[], seed: number): Float32Array => {
  const next = random(seed);
  return Float32Array.from({ length: numel(shape) }, () => 2 * next() - 1);
};

/** All three operations of a case, on values: their nodes, and the data of their operands. */
function all(c: Case): { node: Node; operands: { shape: readonly number[]; data: Float32Array }[] }[] {
  const [n, , ...inner] = c.x;
  const [o, , ...taps] = c.w;
  const [x, w, y] = [c.x, c.w, [n, o, ...c.size]].map((shape, i) => ({ shape, data: values(shape, 3 + i) }));
  const node = ({ shape, data }: typeof x): Node => fl.tensor(data, [...shape]).node;
  return [
    { node: convolution(node(x), node(w), c, c.size), operands: [x, w] },
    { node: convolutionInput(node(y), node(w), c, inner), operands: [y, w] },
    { node: convolutionKernel(node(x), node(y), c, taps), operands: [x, y] },
  ];
}

/**
 * Largest error, of the largest element. Minimal filtering, which 3x3 taps of stride 1 may meet, may be further off.
 */
const tolerance = ({ w, stride, dilation }: Case): number =>
  String(w.slice(2)) === "3,3" && [...stride, ...dilation].every((v) => v === 1) ? 4e-6 : 2e-6;

async function check(c: Case): Promise<void> {
  for (const { node, operands } of all(c)) {
    const got = await new Tensor(node).data();
    const want = (referenceOf(node.op) as NonNullable<ReturnType<typeof referenceOf>>)(
      operands.map(({ shape, data }) => ({ shape, data: Float64Array.from(data) })),
      node,
    );
    let [most, scale] = [0, 0];
    for (let i = 0; i < got.length; i++) {
      most = Math.max(most, Math.abs(got[i] - want[i]));
      scale = Math.max(scale, Math.abs(want[i]));
    }
    expect(got.length, node.op.name).toBe(want.length);
    expect(most, `${node.op.name} of ${show(c)}`).toBeLessThanOrEqual(tolerance(c) * Math.max(scale, 1));
  }
}

const CASES: Case[] = [
  of(9, 3, 8, [12, 12], [3, 3], { padding: 1 }),
  of(32, 1, 16, [28, 28], [3, 3], { padding: 1 }),
  of(2, 64, 64, [14, 14], [3, 3], { padding: 1 }), // two blocks of the sum
  of(3, 5, 7, [17, 13], [5, 3], { stride: 2, padding: 2 }),
  of(3, 5, 7, [23, 29], [3, 4], { stride: 3, padding: 1, dilation: 2 }),
  of(2, 12, 18, [11, 9], [3, 3], { groups: 3, padding: 1 }),
  of(4, 16, 16, [10, 10], [3, 3], { groups: 16, padding: 1 }), // depthwise
  of(8, 24, 40, [9, 9], [1, 1]),
  of(1, 40, 24, [33, 35], [3, 3], { padding: 1 }), // one sample
  of(1, 3, 5, [200, 300], [3, 3], { padding: 1 }), // several bands
  of(1, 2, 3, [3, 9000], [3, 5], { padding: 2 }), // a row in parts
  of(2, 300, 5, [6, 6], [3, 3], { padding: 1 }), // many channels
  of(2, 3, 400, [6, 6], [3, 3], { padding: 1 }), // many results: not packed together
  of(2, 30, 400, [7, 7], [3, 3], { padding: 1 }),
  of(3, 4, 6, [300], [7], { padding: 3 }),
  of(3, 4, 6, [301], [9], { stride: 4, padding: 3 }),
  of(2, 3, 5, [9, 10, 11], [3, 2, 3], { padding: 1 }),
  of(2, 4, 6, [8, 9, 7], [3, 3, 3], { stride: 2, padding: 1, groups: 2 }),
  of(2, 2, 3, [30, 30], [25, 25], { padding: 12 }), // more taps of a channel than a block of the sum
  of(1, 1, 2, [70, 70], [50, 50]), // too many taps for tiles
  of(1, 2, 2, [40, 400], [3, 3], { dilation: 16, padding: 16 }),
  of(2, 3, 4, [9, 9], [3, 3], { padding: 4 }), // more around than a kernel reaches
  of(2, 3, 4, [16, 16], [2, 2], { stride: 3 }), // places between that no kernel sees
  of(3, 4, 5, [10, 10], [4, 4], { padding: 1, after: 2 }),
  of(2, 16, 16, [20000, 1], [3, 1], { padding: 1, stride: 2, groups: 16 }), // planes of one column: a band of vectors
  of(8, 1, 1, [60000, 4], [2, 1], { stride: 4 }),
  of(2, 8, 8, [12000], [3], { stride: 3, padding: 1, groups: 8 }),
  // By minimal filtering: every tail, one sample, blocks of channels, of results, of tiles, more or less around.
  of(17, 8, 8, [4, 4], [3, 3], { padding: 1 }),
  of(9, 9, 13, [13, 11], [3, 3], { padding: 1 }),
  of(5, 11, 10, [9, 18], [3, 3]),
  of(2, 12, 17, [10, 39], [3, 3], { padding: 2 }),
  of(1, 19, 8, [31, 40], [3, 3], { padding: 1 }),
  of(23, 16, 9, [6, 5], [3, 3], { padding: 2, after: 0 }),
  of(6, 300, 9, [7, 8], [3, 3], { padding: 1 }),
  of(5, 9, 300, [8, 7], [3, 3], { padding: 1 }),
  of(16, 1000, 8, [4, 4], [3, 3], { padding: 1 }),
  of(16, 8, 1000, [4, 4], [3, 3], { padding: 1 }),
  of(5, 8, 8, [12, 12], [3, 3], { padding: -1, after: -2 }),
  of(4, 8, 8, [8, 12], [3, 3], { padding: 6 }),
  of(1, 8, 8, [5, 600], [3, 3], { padding: 1 }),
  of(1, 400, 1, [10], [1], { padding: 1342173 }), // what a row sees of all channels is just above 4 GiB
];

describe.each([1, 3])("%i workers", (workers) => {
  test.each(CASES.map((c) => [show(c), c] as const))("%s", async (_, c) => {
    await fresh({ workers });
    await check(c);
  });
});

test("minimal filtering is at most three and a half times as far from float64 as direct sums, normwise", async () => {
  await fresh({ workers: 2 });
  // As long sums of taps that are set apart, which are not filtered.
  const errors = async (c: Case): Promise<number[]> => {
    const list: number[] = [];
    for (const { node, operands } of all(c)) {
      const got = await new Tensor(node).data();
      const want = (referenceOf(node.op) as NonNullable<ReturnType<typeof referenceOf>>)(
        operands.map(({ shape, data }) => ({ shape, data: Float64Array.from(data) })),
        node,
      );
      const norm = (v: (i: number) => number): number => Math.hypot(...Array.from(got, (_, i) => v(i)));
      list.push(norm((i) => got[i] - want[i]) / norm((i) => want[i]));
    }
    return list;
  };
  const filtered = await errors(of(4, 64, 64, [12, 12], [3, 3], { padding: 1 }));
  const direct = await errors({ ...of(4, 64, 64, [12, 12], [3, 3], { padding: 1 }), dilation: [1, 2], size: [12, 10] });
  console.log(
    `normwise errors: ${filtered.map((e) => e.toExponential(1))}, direct ${direct.map((e) => e.toExponential(1))}`,
  );
  for (let i = 0; i < 3; i++) {
    expect(filtered[i]).toBeLessThan(1.2e-6);
    expect(filtered[i]).toBeLessThan(3.5 * direct[i]);
  }
});

test("100 random ones", async () => {
  await fresh({ workers: 2 });
  const next = random(11);
  const below = (n: number): number => Math.floor(next() * n);
  for (let i = 0; i < 100; i++) {
    const rank = 1 + below(3);
    const groups = 1 + below(3);
    const taps = Array.from({ length: rank }, () => 1 + below(4));
    const dilation = 1 + below(2);
    const options = { groups, dilation, stride: 1 + below(3), padding: below(4), after: below(4) };
    const least = Math.max(...taps) * dilation;
    const inner = Array.from({ length: rank }, () => least + below([60, 14, 7][rank - 1]));
    const c = of(below(12) + 1, groups * (1 + below(9)), groups * (1 + below(20)), inner, taps, options);
    await check(c).catch((error: Error) => {
      throw new Error(`${show(c)}: ${error.message}`, { cause: error });
    });
  }
});

test("nothing, and of nothing", async () => {
  await fresh({ workers: 2 });
  for (const c of [
    of(0, 3, 4, [8, 8], [3, 3]),
    of(3, 0, 4, [8, 8], [3, 3]),
    of(3, 4, 0, [8, 8], [3, 3]),
    of(40, 0, 40, [28, 28], [3, 3]),
    { ...of(3, 4, 5, [8, 8], [3, 3]), size: [0, 6] },
    { ...of(40, 24, 40, [28, 28], [3, 3]), size: [0, 26] },
  ])
    await check(c);
});

test("the same bits on 1, 2, 3 and 4 workers", async () => {
  const bitsOf = async (workers: number): Promise<string[]> => {
    await fresh({ workers });
    const list: string[] = [];
    for (const c of [...CASES.slice(0, 10), ...CASES.slice(-14, -1)])
      for (const { node } of all(c)) list.push(bits(await new Tensor(node).data()));
    return list;
  };
  const want = await bitsOf(1);
  for (const workers of [2, 3, 4]) expect(await bitsOf(workers)).toEqual(want);
});
