/** Sample operands for every operation of the table. An operation without samples fails the tests that use them. */
import type { DType } from "../../src/core/dtype.ts";
import { numel, type Shape } from "../../src/core/shape.ts";
import { type Attrs, makeNode, type Node, type OpDef } from "../../src/graph/node.ts";
import type { ConvAttrs, ConvSizes } from "../../src/ops/convolution.ts";
import type { PoolAttrs, PoolSizes } from "../../src/ops/pooling.ts";
import { matmul } from "../../src/ops/contract.ts";
import { add, apply, cast, mul, UNARY } from "../../src/ops/elementwise.ts";
import { constant, leaf } from "../../src/ops/leaf.ts";
import { sum } from "../../src/ops/movement.ts";
import { Loop } from "../../src/ops/scan.ts";
import { OPS } from "../../src/ops/table.ts";
import { random } from "../assembly/harness.ts";

export interface Sample {
  readonly name: string;
  readonly node: Node;
  /** Values of the leaves. */
  readonly values: ReadonlyMap<Node, Float64Array>;
}

interface Operand {
  shape: Shape;
  dtype?: DType;
  /** Range of the values. */
  low?: number;
  high?: number;
  values?: number[];
}

function build(op: OpDef, operands: Operand[], attrs: Attrs, seed: number): Sample {
  const values = new Map<Node, Float64Array>();
  const next = random(seed + 17);
  const src = operands.map(({ shape, dtype = "float32", low = -2, high = 2, values: given }) => {
    const n = leaf(shape, dtype);
    const data = new Float64Array(numel(shape));
    for (let i = 0; i < data.length; i++) {
      if (given) data[i] = given[i % given.length];
      else if (dtype === "float32") data[i] = Math.fround(low + (high - low) * next());
      else if (dtype === "bool") data[i] = next() < 0.5 ? 0 : 1;
      else data[i] = Math.floor(low + (high - low) * next());
    }
    values.set(n, data);
    return n;
  });
  const node = makeNode(op, src, attrs);
  return {
    name: `${op.name} ${operands.map((o) => `${o.dtype ?? "float32"}[${o.shape.join()}]`).join(" ")}`,
    node,
    values,
  };
}

const SHAPES: Shape[] = [[], [1], [7], [3, 5], [2, 3, 4], [0], [4, 0], [70, 9], [300], [1025]];

/** By samples, columns, layers, groups, instances; rows of less and of more than a block. */
const NORMS: Shape[] = [
  [5, 1, 3, 1, 7],
  [37, 1, 6, 1, 1],
  [1, 3, 1, 19, 1],
  [1, 2, 2, 3, 5],
  [1, 3, 2, 1, 4],
  [2, 2, 3, 1, 4],
  [3, 2, 3, 1, 1],
  [1, 3, 2, 5, 1],
  [1, 0, 1, 5, 1],
  [1, 2, 1, 1, 1],
  [9, 1, 5, 1, 70],
  [1, 70, 1, 300, 1],
  [1, 300, 2, 17, 1],
  [1, 9, 2, 4, 65],
  [40, 1, 18, 1, 1],
  [35, 1, 3, 1, 64],
  [9, 2, 2, 1, 70],
];

/** Loops of three steps over [2, 3], each way, with a matrix that all steps share: last carries, stacked ones, and more. */
function loops(): [Operand[], Attrs][] {
  return [false, true].flatMap((reverse) => {
    const [h, count, x, w] = [
      leaf([2, 3], "float32"),
      leaf([], "int32"),
      leaf([2, 3], "float32"),
      leaf([3, 3], "float32"),
    ];
    const z = add(matmul(h, w), x);
    const next = apply(UNARY.tanh, z);
    const later = add(count, constant(2, [], "int32"));
    const loop = new Loop(3, reverse, [h, count], [x], [w], [next, later]);
    const taps = [mul(next, x), next, h, sum(mul(z, x), [0]), mul(cast(later, "float32"), sum(x, [0, 1])), later];
    const operands: Operand[] = [
      { shape: [2, 3] },
      { shape: [], dtype: "int32" },
      { shape: [3, 2, 3] },
      { shape: [3, 3], low: -0.5, high: 0.5 },
    ];
    return [0, 1, ...taps.map((tap) => loop.outputOf(tap))].map((output): [Operand[], Attrs] => [
      operands,
      { loop, output },
    ]);
  });
}

/** Operands of a norm, in the order of `kinds`: x and what is like it, parameters. */
const norms = (kinds: string): [Operand[], Attrs][] =>
  NORMS.flatMap((shape, i) =>
    [true, false].map((centered): [Operand[], Attrs] => [
      [...kinds].map((kind) => ({ shape: kind === "x" ? shape : shape.slice(2, 4) })),
      { eps: i % 2 === 0 ? 1e-5 : 0.1, centered },
    ]),
  );

/** Attributes of a convolution to a result of these extents. */
const conv = (
  size: number[],
  { stride = [1, 1], dilation, padding, groups = 1 }: Partial<ConvSizes> = {},
): ConvAttrs => ({
  stride,
  dilation: dilation ?? size.map(() => 1),
  padding: padding ?? size.map(() => 0),
  groups,
  size,
});

/** Windows of a kernel: side by side unless a stride is given. */
const windows = (kernel: number[], more: Partial<PoolSizes> = {}): PoolSizes => ({
  kernel,
  stride: kernel,
  dilation: kernel.map(() => 1),
  padding: kernel.map(() => 0),
  adaptive: false,
  ...more,
});

/** Windows with images and counts of them: all paths of the kernels. */
const POOLED: { of: PoolSizes; lead: number[]; image: number[]; count: number[] }[] = [
  { of: windows([2, 2]), lead: [9, 2], image: [6, 10], count: [3, 5] },
  { of: windows([2, 2]), lead: [3], image: [7, 19], count: [3, 9] },
  { of: windows([3, 3], { stride: [2, 2], padding: [1, 1] }), lead: [2, 2], image: [5, 12], count: [3, 6] },
  { of: windows([3], { stride: [1], padding: [1] }), lead: [8, 3], image: [7], count: [7] },
  { of: windows([2, 1, 3], { stride: [1, 2, 2] }), lead: [2], image: [3, 4, 7], count: [2, 2, 3] },
  { of: windows([3, 2], { stride: [1, 1], adaptive: true }), lead: [2, 3], image: [5, 3], count: [3, 2] },
  { of: windows([2, 2], { stride: [1, 3] }), lead: [], image: [3, 5], count: [3, 2] },
  { of: windows([20, 13]), lead: [2], image: [20, 13], count: [1, 1] },
  { of: windows([2, 2]), lead: [0, 2], image: [4, 4], count: [2, 2] },
];
const DILATED: typeof POOLED = [
  { of: windows([2], { dilation: [3], padding: [1] }), lead: [2], image: [2], count: [1] }, // wholly outside
  {
    of: windows([3, 2], { stride: [1, 2], dilation: [2, 1], padding: [1, 0] }),
    lead: [4],
    image: [6, 5],
    count: [4, 2],
  },
];

/** Taps of random windows. */
const tapsOf = ({ of: { kernel }, lead, count }: (typeof POOLED)[number]): Operand => ({
  shape: [...lead, ...count],
  dtype: numel(kernel) <= 256 ? "uint8" : "int32",
  low: 0,
  high: numel(kernel),
});
const sized = (of: PoolSizes, size: number[]): PoolAttrs => ({ ...of, size });

/** Where a function is real and smooth; default [-2, 2]. */
const DOMAINS: Record<string, [number, number]> = {
  log: [0.05, 4],
  log1p: [-0.9, 4],
  sqrt: [0.05, 4],
  rsqrt: [0.05, 4],
  reciprocal: [0.2, 3],
  asin: [-0.9, 0.9],
  acos: [-0.9, 0.9],
  tan: [-1.3, 1.3],
  pow: [0.1, 3],
  div: [0.3, 3],
  remainder: [0.5, 6],
};

const ARITY: Record<string, Operand["dtype"][]> = {
  where: ["bool", "float32", "float32"],
  reluMask: ["float32", "float32"],
  relu6Mask: ["float32", "float32"],
  and: ["bool", "bool"],
  or: ["bool", "bool"],
  xor: ["bool", "bool"],
  not: ["bool"],
};

const BINARY = [
  "add",
  "sub",
  "mul",
  "div",
  "pow",
  "maximum",
  "minimum",
  "clampMin",
  "clampMax",
  "atan2",
  "remainder",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
];
const INTEGER = [
  "add",
  "sub",
  "mul",
  "maximum",
  "minimum",
  "clampMin",
  "clampMax",
  "neg",
  "abs",
  "sign",
  "eq",
  "ne",
  "lt",
  "le",
  "gt",
  "ge",
  "remainder",
  "pow",
];

function elementwise(op: OpDef): Sample[] {
  const [low, high] = DOMAINS[op.name] ?? [-2, 2];
  const dtypes = ARITY[op.name] ?? (BINARY.includes(op.name) ? ["float32", "float32"] : ["float32"]);
  const samples: Sample[] = [];
  SHAPES.forEach((shape, i) => {
    if (op.name === "cast")
      for (const from of ["float32", "int32", "uint8", "bool"] as const)
        for (const to of ["float32", "int32", "uint8", "bool"] as const) {
          // A negative float has no uint8.
          const operand = { shape, dtype: from, low: from === "uint8" || to === "uint8" ? 0 : -5, high: 200 };
          samples.push(build(op, [operand], { dtype: to }, i));
        }
    else
      samples.push(
        build(
          op,
          dtypes.map((dtype) => ({ shape, dtype: dtype as DType, low, high })),
          {},
          i,
        ),
      );
    if (INTEGER.includes(op.name))
      samples.push(
        ...(["int32", "uint8"] as const).map((dtype) => {
          const low = op.name === "remainder" ? 1 : dtype === "uint8" || op.name === "pow" ? 0 : -9;
          // Sums, differences and products of uint8 wrap.
          const high = dtype === "uint8" && op.name !== "pow" ? 256 : 9;
          return build(
            op,
            dtypes.map(() => ({ shape, dtype, low, high })),
            {},
            i,
          );
        }),
      );
  });
  // Ties and kinks.
  if (dtypes.length === 2 && !ARITY[op.name] && !DOMAINS[op.name] && op.name !== "atan2")
    samples.push(
      build(
        op,
        [
          { shape: [6], values: [1, 2, 3, -1, 0, 0] },
          { shape: [6], values: [1, 1, 4, -1, 0, 1] },
        ],
        {},
        99,
      ),
    );
  return samples;
}

const x = (shape: Shape, more: Partial<Operand> = {}): Operand => ({ shape, ...more });
const whole = (shape: Shape, high: number): Operand => ({ shape, dtype: "int32", low: -high, high });
const index = (values: number[]): Operand => ({ shape: [values.length], dtype: "int32", values });

/** Random indices below a bound. */
const at = (shape: Shape, bound: number): Operand => ({ shape, dtype: "int32", low: 0, high: bound });

const OTHERS: Record<string, [Operand[], Attrs][]> = {
  leaf: [],
  constant: [[[], { value: 2.5, shape: [3, 2], dtype: "float32" }]],
  expand: [
    [[x([1, 3])], { shape: [4, 3] }],
    [[x([2, 1, 3])], { shape: [2, 5, 3] }],
    [[x([1])], { shape: [0] }],
    [[x([1, 1])], { shape: [33, 65] }],
  ],
  sum: [
    [[x([7])], { axes: [0], keepdim: false }],
    [[x([3, 5])], { axes: [0], keepdim: false }],
    [[x([3, 5])], { axes: [1], keepdim: true }],
    [[x([3, 4, 5])], { axes: [0, 2], keepdim: false }],
    [[x([2, 3, 4, 5])], { axes: [1, 2], keepdim: true }],
    [[x([0, 3])], { axes: [0], keepdim: false }],
    [[x([20_000])], { axes: [0], keepdim: false }],
    [[x([17_000, 3])], { axes: [0], keepdim: false }],
    [[x([3, 5], { dtype: "int32", low: -50, high: 50 })], { axes: [0], keepdim: false }],
  ],
  reshape: [
    [[x([2, 6])], { shape: [3, 4] }],
    [[x([])], { shape: [1, 1] }],
  ],
  permute: [
    [[x([2, 3])], { axes: [1, 0] }],
    [[x([2, 3, 4])], { axes: [2, 0, 1] }],
    [[x([33, 70])], { axes: [1, 0] }],
    [[x([3, 9, 10])], { axes: [0, 2, 1] }],
  ],
  flip: [
    [[x([5])], { axes: [0] }],
    [[x([3, 4])], { axes: [0, 1] }],
  ],
  slice: [
    [[x([10])], { begin: [2], size: [5], step: [1] }],
    [[x([6, 9])], { begin: [1, 0], size: [2, 5], step: [3, 2] }],
    [[x([6, 9])], { begin: [6, 0], size: [0, 9], step: [1, 1] }],
  ],
  pad: [
    [[x([3])], { begin: [2], step: [1], shape: [7] }],
    [[x([2, 5])], { begin: [1, 0], step: [3, 2], shape: [6, 9] }],
    [[x([2, 3]), x([4, 1]), x([1, 2])], { begin: [0, 0, 1, 3, 5, 0], step: [1, 1, 1, 1, 1, 4], shape: [6, 6] }],
    [[x([33, 9]), x([33, 8])], { begin: [0, 0, 0, 1], step: [1, 2, 1, 2], shape: [33, 17] }],
    [[x([0, 3]), x([2, 3])], { begin: [0, 0, 1, 0], step: [1, 1, 1, 1], shape: [3, 3] }],
  ],
  concat: [
    [[x([2, 3]), x([4, 3])], { axis: 0 }],
    [[x([2, 3]), x([2, 1]), x([2, 4])], { axis: 1 }],
    [[x([0, 3]), x([2, 3])], { axis: 0 }],
  ],
  max: [
    [[x([7])], { axes: [0], keepdim: false }],
    [[x([3, 5])], { axes: [0], keepdim: true }],
    [[x([4, 6], { values: [1, 3, 3, 2, 3, 0] })], { axes: [1], keepdim: false }],
    [[x([3, 4, 5])], { axes: [0, 2], keepdim: false }],
  ],
  argmax: [
    [[x([7])], { axis: 0, keepdim: false }],
    [[x([5, 9])], { axis: 1, keepdim: false }],
    [[x([5, 9])], { axis: 0, keepdim: true }],
  ],
  alias: [[[x([3, 2])], {}]],
  detach: [[[x([3, 2])], {}]],
  fence: [[[x([3, 2]), x([5])], {}]],
  assertFinite: [[[index([0, 0, 0])], { names: ["a", "b", "c"] }]],
  scaleGradient: [[[x([3, 2]), x([3, 2])], {}]],
  iota: [[[], { shape: [3, 5] }]],
  bytes: [[[{ shape: [2, 3], dtype: "int32", values: [1, -1, 0x12345678, 256, -129, 0] }], {}]],
  matmul: [
    [[x([2, 3]), x([3, 4])], {}],
    [[x([1, 1]), x([1, 1])], {}],
    [[x([33, 17]), x([17, 29])], {}],
    [[x([64, 70]), x([70, 10])], {}],
    [[x([3, 5, 6]), x([3, 6, 7])], {}],
    [[x([3, 5, 6]), x([3, 6, 7])], { precise: true }],
    [[x([2, 0]), x([0, 3])], { precise: true }],
    [[x([64, 70]), x([70, 10])], { precise: true }],
    [[x([2, 0]), x([0, 3])], {}],
    [[x([3, 300], { low: -1, high: 1 }), x([300, 40], { low: -1, high: 1 })], {}],
    [[whole([33, 17], 99), whole([17, 29], 99)], {}],
    [[whole([2, 5, 6], 2 ** 30), whole([2, 6, 7], 2 ** 30)], {}],
    [[whole([2, 0], 9), whole([0, 3], 9)], {}],
  ],
  addmm: [
    [[x([2, 4]), x([2, 3]), x([3, 4])], {}],
    [[x([33, 29]), x([33, 17]), x([17, 29])], {}],
    [[x([3, 5, 7]), x([3, 5, 6]), x([3, 6, 7])], {}],
    [[x([2, 3]), x([2, 0]), x([0, 3])], {}],
    [[x([3, 40]), x([3, 900], { low: -1, high: 1 }), x([900, 40], { low: -1, high: 1 })], {}],
  ],
  convolution: [
    [[x([2, 3, 8, 9]), x([4, 3, 3, 2])], conv([6, 8])],
    [[x([9, 4, 12, 12]), x([6, 2, 3, 3])], conv([6, 6], { stride: [2, 2], padding: [1, 1], groups: 2 })],
    [[x([1, 2, 5]), x([3, 2, 3])], conv([4], { stride: [1], dilation: [2], padding: [2] })],
    [[x([2, 2, 4, 5, 3]), x([3, 2, 2, 3, 1])], conv([3, 5, 3], { stride: [1, 1, 1], padding: [0, 1, 0] })],
    [[x([0, 2, 5]), x([3, 2, 3])], conv([3], { stride: [1] })],
  ],
  convolutionInput: [
    [[x([2, 4, 6, 8]), x([4, 3, 3, 2])], conv([8, 9])],
    [[x([9, 6, 6, 6]), x([6, 2, 3, 3])], conv([12, 12], { stride: [2, 2], padding: [1, 1], groups: 2 })],
    [[x([1, 3, 4]), x([3, 2, 3])], conv([5], { stride: [1], dilation: [2], padding: [2] })],
    [[x([2, 3, 3, 5, 3]), x([3, 2, 2, 3, 1])], conv([4, 5, 3], { stride: [1, 1, 1], padding: [0, 1, 0] })],
    [[x([0, 3, 3]), x([3, 2, 3])], conv([5], { stride: [1] })],
  ],
  convolutionKernel: [
    [[x([2, 3, 8, 9]), x([2, 4, 6, 8])], conv([3, 2])],
    [[x([9, 4, 12, 12]), x([9, 6, 6, 6])], conv([3, 3], { stride: [2, 2], padding: [1, 1], groups: 2 })],
    [[x([1, 2, 5]), x([1, 3, 4])], conv([3], { stride: [1], dilation: [2], padding: [2] })],
    [[x([2, 2, 4, 5, 3]), x([2, 3, 3, 5, 3])], conv([2, 3, 1], { stride: [1, 1, 1], padding: [0, 1, 0] })],
    [[x([0, 2, 5]), x([0, 3, 3])], conv([3], { stride: [1] })],
  ],
  gather: [
    [[x([5, 3]), at([4, 3], 5)], { axis: 0 }],
    [[x([5]), index([1, 1])], { axis: 0 }],
    [[x([3, 6]), at([3, 4], 6)], { axis: 1 }],
    [[x([3, 6, 70]), at([3, 9, 70], 6)], { axis: 1 }],
    [[x([3, 2, 2], { dtype: "int32", low: -9, high: 9 }), at([3, 5, 2], 2)], { axis: 1 }],
    [[x([3, 2]), at([0, 2], 3)], { axis: 0 }],
    [[x([3, 0]), at([5, 0], 3)], { axis: 0 }],
  ],
  scatterAdd: [
    [[x([4, 3]), at([4, 3], 5)], { axis: 0, extent: 5 }],
    [[x([3]), index([1, 1, 0])], { axis: 0, extent: 2 }],
    [[x([3, 8]), at([3, 8], 6)], { axis: 1, extent: 6 }],
    [[x([3, 9, 70]), at([3, 9, 70], 6)], { axis: 1, extent: 6 }],
    [[x([3, 5, 2], { dtype: "int32", low: -9, high: 9 }), at([3, 5, 2], 2)], { axis: 1, extent: 2 }],
    [[x([0, 2]), at([0, 2], 3)], { axis: 0, extent: 3 }],
  ],
  scatterLast: [
    [[index([1, 3, 1])], { axis: 0, extent: 5 }],
    [[at([3, 8, 5], 6)], { axis: 1, extent: 6 }],
    [[at([0, 2], 3)], { axis: 0, extent: 3 }],
  ],
  windows: [
    [[x([9])], { axis: 0, size: 3, step: 1, dilation: 1 }],
    [[x([2, 9, 3])], { axis: 1, size: 2, step: 3, dilation: 2 }],
    [[x([2, 9, 3])], { axis: 1, size: 2, step: 7, dilation: 1 }],
    [[x([4, 30])], { axis: 1, size: 1, step: 1, dilation: 1 }],
    [[x([0, 5])], { axis: 1, size: 2, step: 1, dilation: 1 }],
  ],
  fold: [
    [[x([7, 3])], { axis: 0, step: 1, dilation: 1, extent: 9 }],
    [[x([2, 3, 3, 2])], { axis: 1, step: 3, dilation: 2, extent: 12 }],
    [[x([5, 8, 70, 3])], { axis: 1, step: 2, dilation: 1, extent: 20 }],
    [[x([0, 4, 2])], { axis: 1, step: 1, dilation: 1, extent: 5 }],
  ],
  maxTaps: [...POOLED, ...DILATED].map((p) => [[x([...p.lead, ...p.image])], sized(p.of, p.count)]),
  takeTaps: [...POOLED, ...DILATED].map((p) => [[x([...p.lead, ...p.image]), tapsOf(p)], { ...p.of, outside: 0 }]),
  putTaps: [...POOLED, ...DILATED].map((p) => [[x([...p.lead, ...p.count]), tapsOf(p)], sized(p.of, p.image)]),
  sumWindows: POOLED.map((p) => [[x([...p.lead, ...p.image])], sized(p.of, p.count)]),
  spreadWindows: POOLED.map((p) => [[x([...p.lead, ...p.count])], sized(p.of, p.image)]),
  extend: [
    [[x([5])], { mode: "reflect", before: [4], after: [2] }],
    [[x([2, 3])], { mode: "replicate", before: [0, 5], after: [1, 2] }],
    [[x([2, 3, 4])], { mode: "circular", before: [1, 0, 4], after: [2, 0, 3] }],
    [[x([2, 1, 6, 30])], { mode: "reflect", before: [0, 0, 1, 2], after: [0, 0, 2, 0] }],
    [[x([3, 2], { dtype: "int32", low: -9, high: 9 })], { mode: "circular", before: [0, 2], after: [3, 0] }],
    [[x([0, 3])], { mode: "reflect", before: [0, 1], after: [0, 2] }],
  ],
  retract: [
    [[x([11])], { mode: "reflect", before: [4], after: [2] }],
    [[x([3, 10])], { mode: "replicate", before: [0, 5], after: [1, 2] }],
    [[x([5, 3, 11])], { mode: "circular", before: [1, 0, 4], after: [2, 0, 3] }],
    [[x([2, 1, 9, 32])], { mode: "reflect", before: [0, 0, 1, 2], after: [0, 0, 2, 0] }],
    [[x([0, 6])], { mode: "reflect", before: [0, 1], after: [0, 2] }],
  ],
  cumsum: [
    [[x([7])], { axis: 0, reverse: false }],
    [[x([3, 5])], { axis: 0, reverse: false }],
    [[x([3, 5])], { axis: 1, reverse: true }],
    [[x([2, 30, 70])], { axis: 1, reverse: true }],
    [[x([2, 3, 1100])], { axis: 1, reverse: false }],
    [[x([2, 3, 5], { dtype: "int32", low: -9, high: 9 })], { axis: 1, reverse: false }],
    [[x([0, 3])], { axis: 0, reverse: false }],
  ],
  argsort: [
    [[x([7])], { descending: false }],
    [[x([5, 300])], { descending: true }],
    [[x([3, 40], { values: [1, 3, NaN, 2, -0, 0, Infinity, -Infinity] })], { descending: false }],
    [[x([3, 40], { values: [1, 3, NaN, 2, -0, 0, Infinity, -Infinity] })], { descending: true }],
    [[x([4, 33], { dtype: "int32", low: -9, high: 9 })], { descending: false }],
    [[x([4, 33], { dtype: "int32", low: -9, high: 9 })], { descending: true }],
    [[x([3, 0])], { descending: false }],
  ],
  prod: [
    [[x([7])], { axes: [0], keepdim: false }],
    [[x([3, 5])], { axes: [0], keepdim: true }],
    [[x([4, 3], { values: [1, 0, 3, 0, 0, 2, 1, 2, 3, 4, 5, 6] })], { axes: [1], keepdim: false }],
    [[x([3, 2, 5])], { axes: [0, 2], keepdim: false }],
    [[x([2, 0])], { axes: [1], keepdim: false }],
    [[x([3, 5], { dtype: "int32", low: -9, high: 9 })], { axes: [0], keepdim: false }],
  ],
  randomBits: [[[{ shape: [3], dtype: "int32", values: [1, 2, 3] }], { shape: [37], draw: 1, a: 0, b: 0 }]],
  uniform: [[[{ shape: [3], dtype: "int32", values: [1, 2, 3] }], { shape: [9, 7], draw: 0, a: -1, b: 3 }]],
  normal: [[[{ shape: [3], dtype: "int32", values: [0, 0, 0] }], { shape: [9, 7], draw: 2, a: 1, b: 0.5 }]],
  softmax: [
    [[x([5])], {}],
    [[x([9, 10])], {}],
    [[x([2, 3, 70])], {}],
  ],
  softmaxGrad: [[[x([9, 10], { low: 0, high: 0.3 }), x([9, 10])], {}]],
  crossEntropyRows: [[[x([6, 5]), index([0, 4, 2, -100, 1, 1])], { ignore: -100 }]],
  crossEntropyGradRows: [[[x([6, 5]), index([0, 4, 2, -100, 1, 1]), x([6])], { ignore: -100 }]],
};
OTHERS.standardize = norms("xpp");
OTHERS.standardizeInput = norms("xpx");
OTHERS.standardizeParameters = OTHERS.standardizeInput;
OTHERS.moments = NORMS.map((shape): [Operand[], Attrs] => [[{ shape }], {}]);
OTHERS.scan = loops();
/** Batch, queries, keys, elements of a row of keys and of values, whether causal, and a mask if there is one. */
const ATTENDED: [
  lead: number[],
  l: number,
  s: number,
  e: number,
  ev: number,
  causal: boolean,
  mask?: "bool" | "float32",
][] = [
  [[], 3, 4, 5, 6, false],
  [[], 7, 7, 4, 4, true],
  [[2, 3], 9, 5, 3, 8, true],
  [[9], 5, 13, 4, 3, true],
  [[9], 6, 3, 2, 9, true, "float32"],
  [[2], 5, 6, 3, 4, false, "bool"],
  [[9], 5, 6, 3, 4, false, "bool"],
  [[2, 2], 4, 5, 3, 2, false, "float32"],
  [[], 70, 150, 5, 4, true],
  [[9], 130, 67, 4, 5, false],
  [[2], 3, 4, 0, 2, false],
  [[2], 3, 0, 4, 2, false],
  [[2], 0, 4, 4, 2, false],
];
const attended = (back: boolean): [Operand[], Attrs][] =>
  ATTENDED.map(([lead, l, s, e, ev, causal, mask]) => [
    [
      x([...lead, l, e]),
      x([...lead, s, e]),
      x([...lead, s, ev]),
      ...(back ? [x([...lead, l, ev])] : []),
      // Some queries have nothing to attend to.
      ...(mask === "bool" ? [{ shape: [...lead, l, s], dtype: mask, values: [0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0] }] : []),
      ...(mask === "float32" ? [x([...lead, l, s])] : []),
    ],
    { scale: 0.7, causal },
  ]);
OTHERS.attention = attended(false);
OTHERS.attentionQuery = attended(true);
OTHERS.attentionKey = attended(true);
OTHERS.attentionValue = attended(true);
OTHERS.min = OTHERS.max;
OTHERS.argmin = OTHERS.argmax;
OTHERS.logSoftmax = OTHERS.softmax;
OTHERS.logSoftmaxGrad = [[[x([9, 10], { low: -3, high: -0.5 }), x([9, 10])], {}]];

/** All samples of an operation. */
export function samplesOf(op: OpDef): Sample[] {
  if (op.kind === "elementwise") return elementwise(op);
  const list = OTHERS[op.name];
  if (!list) throw new Error(`test/ops/samples.ts has no samples of ${op.name}`);
  return list.map(([operands, attrs], i) => build(op, operands, attrs, i));
}

export const ALL: [string, OpDef][] = Object.entries(OPS);
