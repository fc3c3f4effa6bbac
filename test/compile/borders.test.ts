/** Convolutions of padded images: what is around them is read where it came from, and nothing of the padded size is planned. */
import { afterAll, describe, expect, test } from "vitest";
import "../../src/index.ts"; // and with it what extensions teach the compiler
import { borders } from "../../src/compile/borders.ts";
import { compileBody, compileGraph } from "../../src/compile/compile.ts";
import { fuse } from "../../src/compile/fuse.ts";
import { lower } from "../../src/compile/lower/index.ts";
import { match } from "../../src/compile/match.ts";
import { simplify } from "../../src/compile/simplify.ts";
import { numel } from "../../src/core/shape.ts";
import { vjp } from "../../src/diff/vjp.ts";
import type { Computation, Node } from "../../src/graph/node.ts";
import { type ConvSizes, convolution } from "../../src/ops/convolution.ts";
import { type BorderMode, extend } from "../../src/ops/extend.ts";
import { interpret } from "../../src/ops/interpret.ts";
import { leaf } from "../../src/ops/leaf.ts";
import { pad } from "../../src/ops/movement.ts";
import { sumWindows } from "../../src/ops/pooling.ts";
import { Session } from "../../src/run/session.ts";
import { printGraph } from "../../src/graph/print.ts";
import { random } from "../assembly/harness.ts";
import { bits } from "../run/support.ts";

const sessions = new Map([1, 2, 3].map((workers) => [workers, new Session({ workers })]));
afterAll(() => Promise.all([...sessions.values()].map((s) => s.dispose())));

type Mode = BorderMode | "zeros";

interface Case {
  readonly x: readonly number[];
  readonly w: readonly number[];
  /** Before and after each spatial axis. */
  readonly pad: readonly (readonly [number, number])[];
  readonly stride?: number;
  readonly dilation?: number;
  readonly groups?: number;
}

const show = ({ x, w, pad, ...more }: Case): string => `${x} * ${w}, ${JSON.stringify(pad)} ${JSON.stringify(more)}`;

/** x with something around it, and the convolution of that. */
function built(mode: Mode, { x: xs, w: ws, pad: pairs, stride = 1, dilation = 1, groups = 1 }: Case) {
  const [x, w] = [leaf(xs, "float32"), leaf(ws, "float32")];
  const before = [0, 0, ...pairs.map(([b]) => b)];
  const after = [0, 0, ...pairs.map(([, a]) => a)];
  const shape = xs.map((d, i) => d + before[i] + after[i]);
  const padded = mode === "zeros" ? pad(x, before, shape) : extend(x, mode, before, after);
  const all = (v: number): number[] => pairs.map(() => v);
  const of: ConvSizes = { stride: all(stride), dilation: all(dilation), padding: all(0), groups };
  const size = pairs.map((_, i) => Math.floor((shape[i + 2] - dilation * (ws[i + 2] - 1) - 1) / stride) + 1);
  return { x, w, y: convolution(padded, w, of, size), shape };
}

/** The result, and what flows back to x and w from a cotangent. */
function graphOf(mode: Mode, c: Case): { graph: Computation; padded: readonly number[] } {
  const { x, w, y, shape } = built(mode, c);
  const g = leaf(y.shape, "float32");
  const [gx, gw] = vjp([y], [g], [x, w]) as Node[];
  return { graph: { inputs: [x, w, g], residents: [], outputs: [y, gx, gw], updates: [] }, padded: shape };
}

const CASES: Case[] = [
  {
    x: [9, 8, 12, 13],
    w: [10, 8, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
    ],
  }, // by minimal filtering
  {
    x: [2, 9, 4, 30],
    w: [8, 9, 3, 3],
    pad: [
      [1, 2],
      [2, 0],
    ],
  },
  {
    x: [1, 8, 33, 5],
    w: [8, 8, 3, 3],
    pad: [
      [3, 3],
      [4, 4],
    ],
  },
  {
    x: [9, 3, 12, 13],
    w: [6, 3, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
    ],
  }, // gathered
  {
    x: [3, 6, 11, 9],
    w: [8, 6, 5, 4],
    pad: [
      [2, 2],
      [1, 2],
    ],
  },
  {
    x: [9, 6, 14, 12],
    w: [8, 6, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
    ],
    stride: 2,
  },
  {
    x: [4, 6, 14, 12],
    w: [8, 3, 3, 2],
    pad: [
      [2, 1],
      [0, 3],
    ],
    stride: 3,
    dilation: 2,
    groups: 2,
  },
  {
    x: [9, 16, 12, 12],
    w: [16, 1, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
    ],
    groups: 16,
  }, // plane by plane
  {
    x: [3, 8, 12, 15],
    w: [8, 1, 5, 5],
    pad: [
      [2, 2],
      [2, 2],
    ],
    stride: 2,
    groups: 8,
  },
  {
    x: [9, 12, 9, 9],
    w: [24, 12, 1, 1],
    pad: [
      [1, 0],
      [0, 2],
    ],
  }, // one tap
  {
    x: [2, 2, 5, 6],
    w: [3, 2, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
    ],
  }, // in float64
  { x: [2, 3, 7], w: [4, 3, 5], pad: [[6, 6]] }, // as far as a mirror reaches
  { x: [9, 12, 200], w: [16, 12, 7], pad: [[3, 3]] },
  {
    x: [3, 4, 6, 7, 8],
    w: [6, 4, 3, 3, 3],
    pad: [
      [1, 1],
      [1, 1],
      [1, 1],
    ],
  },
  {
    x: [1, 6, 90, 120],
    w: [6, 6, 3, 3],
    pad: [
      [2, 2],
      [2, 2],
    ],
    dilation: 2,
  }, // one sample: pieces of rows
  {
    x: [1, 3, 3, 9000],
    w: [4, 3, 3, 5],
    pad: [
      [1, 1],
      [2, 2],
    ],
  }, // a row in parts
  {
    x: [8, 6, 9, 9],
    w: [8, 6, 2, 2],
    pad: [
      [1, 1],
      [1, 1],
    ],
    stride: 3,
  }, // what no kernel sees
];

const MODES: Mode[] = ["zeros", "reflect", "replicate", "circular"];

describe.each(MODES)("%s", (mode) => {
  test.each(CASES.map((c) => [show(c), c] as const))("%s", async (_, c) => {
    const { graph, padded } = graphOf(mode, c);
    const next = random(7);
    const inputs = graph.inputs.map((n) => Float32Array.from({ length: numel(n.shape) }, () => 2 * next() - 1));
    const values = new Map(graph.inputs.map((n, i) => [n, Float64Array.from(inputs[i])]));
    const program = compileGraph(graph);
    const got = await Promise.all(
      [...sessions.values()].map((s) => s.launch(program, { inputs, residents: [], updates: [] })),
    );
    const want = interpret(graph.outputs, values);
    graph.outputs.forEach((n, i) => {
      const [one, ...others] = got.map((results) => results[i] as Float32Array);
      const wanted = want.get(n) as Float64Array;
      const scale = Math.max(
        1,
        wanted.reduce((most, v) => Math.max(most, Math.abs(v)), 0),
      );
      const most = one.reduce((m, v, k) => Math.max(m, Math.abs(v - wanted[k])), 0);
      expect(one.every(Number.isFinite)).toBe(true);
      expect(most, `result ${i}`).toBeLessThanOrEqual(4e-6 * scale);
      for (const other of others) expect(bits(other), `result ${i}`).toBe(bits(one));
    });
    // Neither the padded image nor part of what flows back to it, but results of their own, and what kernels need.
    const simple = borders(simplify(graph));
    const { buffers, instrs } = lower(simple, match(simple, fuse(simple)), compileBody);
    const sizes = [1, 2, 3].map(
      (axes) => numel(padded.slice(0, padded.length - axes)) * numel(c.x.slice(padded.length - axes)) * 4,
    );
    expect(buffers.map((b) => b.bytes)).not.toContain(numel(padded) * 4);
    for (const size of sizes) if (size !== numel(c.x) * 4) expect(buffers.map((b) => b.bytes)).not.toContain(size);
    expect(instrs.map((i) => i.text).filter((t) => /pad|concat|slice|add|copy/.test(t))).toEqual([]);
  });
});

describe("what is left of padding", () => {
  const x = leaf([2, 3, 6, 6], "float32");
  const w = leaf([4, 3, 3, 3], "float32");
  const ones = [1, 1];
  const none: ConvSizes = { stride: ones, dilation: ones, padding: [0, 0], groups: 1 };
  const simple = (inputs: Node[], outputs: Node[]): string =>
    `\n${printGraph(borders(simplify({ inputs, residents: [], outputs, updates: [] })))}\n`;

  test("zeros are the convolution's own, there and back", () => {
    const y = convolution(pad(x, [0, 0, 2, 1], [2, 3, 9, 8]), w, none, [7, 6]);
    const g = leaf(y.shape, "float32");
    expect(simple([x, w, g], [y, ...(vjp([y], [g], [x, w]) as Node[])])).toBe(`
%0 float32[2, 3, 6, 6] = leaf {shape=[2,3,6,6], dtype=float32}
%1 float32[4, 3, 3, 3] = leaf {shape=[4,3,3,3], dtype=float32}
%2 float32[2, 4, 7, 6] = leaf {shape=[2,4,7,6], dtype=float32}
%3 float32[2, 4, 7, 6] = convolution %0 %1 {stride=[1,1], dilation=[1,1], padding=[2,1], groups=1, size=[7,6]}
%4 float32[2, 3, 6, 6] = convolutionInput %2 %1 {stride=[1,1], dilation=[1,1], padding=[2,1], groups=1, size=[6,6]}
%5 float32[4, 3, 3, 3] = convolutionKernel %0 %2 {stride=[1,1], dilation=[1,1], padding=[2,1], groups=1, size=[3,3]}
return %3, %4, %5
`);
  });

  test("zeros are the sum of windows' own, there and back; samples that are padded are not", () => {
    const of = { kernel: [2, 2], stride: [2, 2], dilation: ones, padding: [0, 0], adaptive: false };
    const y = sumWindows(pad(x, [0, 0, 1, 1], [2, 3, 8, 8]), of, [4, 4]);
    const g = leaf(y.shape, "float32");
    expect(simple([x, g], [y, ...(vjp([y], [g], [x]) as Node[])])).toBe(`
%0 float32[2, 3, 6, 6] = leaf {shape=[2,3,6,6], dtype=float32}
%1 float32[2, 3, 4, 4] = leaf {shape=[2,3,4,4], dtype=float32}
%2 float32[2, 3, 4, 4] = sumWindows %0 {kernel=[2,2], stride=[2,2], dilation=[1,1], padding=[1,1], adaptive=false, size=[4,4]}
%3 float32[2, 3, 6, 6] = spreadWindows %1 {kernel=[2,2], stride=[2,2], dilation=[1,1], padding=[1,1], adaptive=false, size=[6,6]}
return %2, %3
`);
    expect(simple([x], [sumWindows(pad(x, [1, 0, 1, 1], [3, 3, 8, 8]), of, [4, 4])])).toContain(" = pad ");
  });

  test("borders stay where a convolution reads them; elsewhere they are put together", () => {
    const padded = extend(x, "reflect", [0, 0, 0, 1], [0, 0, 0, 2]);
    expect(simple([x, w], [convolution(padded, w, none, [4, 7]), padded])).toBe(`
%0 float32[2, 3, 6, 6] = leaf {shape=[2,3,6,6], dtype=float32}
%1 float32[4, 3, 3, 3] = leaf {shape=[4,3,3,3], dtype=float32}
%2 float32[2, 3, 6, 9] = extend %0 {mode=reflect, before=[0,0,0,1], after=[0,0,0,2]}
%3 float32[2, 4, 4, 7] = convolution %2 %1 {stride=[1,1], dilation=[1,1], padding=[0,0], groups=1, size=[4,7]}
%4 float32[2, 3, 6, 1] = slice %0 {begin=[0,0,0,1], size=[2,3,6,1], step=[1,1,1,1]}
%5 float32[2, 3, 6, 1] = flip %4 {axes=[3]}
%6 float32[2, 3, 6, 2] = slice %0 {begin=[0,0,0,3], size=[2,3,6,2], step=[1,1,1,1]}
%7 float32[2, 3, 6, 2] = flip %6 {axes=[3]}
%8 float32[2, 3, 6, 9] = concat %5 %0 %7 {axis=3}
return %3, %8
`);
    // Zeros around that: the convolution knows only one thing to be there.
    const more = { ...none, padding: [1, 0] };
    expect(simple([x, w], [convolution(padded, w, more, [6, 7])])).not.toContain("extend");
    expect(simple([x, w], [convolution(padded, w, none, [5, 7])])).not.toContain("extend");
  });
});
