/**
 * @file What operations mean, in float64 and plain loops: the other half of their entries, in a file of its own because a page
 * that only trains does not load it. Elementwise operations have theirs in their entry.
 */
import { numel, reducedShape, type Shape, stridesOf } from "../core/shape.ts";
import { threefry } from "../core/threefry.ts";
import type { OpDef, RefArray, Reference } from "../graph/node.ts";
import { type WindowAttrs, windowStrides } from "./windows.ts";

const dot = (at: readonly number[], strides: readonly number[]): number =>
  at.reduce((s, a, i) => s + a * strides[i], 0);

/** Calls f(i, place) for each element i of a shape, place = offset + the sum of its coordinates times the strides. */
function eachPlace(
  shape: Shape,
  strides: readonly number[],
  offset: number,
  f: (i: number, place: number) => void,
): void {
  const at = new Array<number>(shape.length).fill(0);
  const count = numel(shape);
  let place = offset;
  for (let i = 0; i < count; i++) {
    f(i, place);
    for (let d = shape.length - 1; d >= 0; d--) {
      place += strides[d];
      if (++at[d] < shape[d]) break;
      place -= at[d] * strides[d];
      at[d] = 0;
    }
  }
}

/** The elements of x at the places of a shape. */
function strided(x: RefArray, shape: Shape, strides: readonly number[], offset = 0): Float64Array {
  const out = new Float64Array(numel(shape));
  eachPlace(shape, strides, offset, (i, from) => {
    out[i] = x.data[from];
  });
  return out;
}

function reduced(
  x: RefArray,
  axes: readonly number[],
  init: number,
  f: (a: number, b: number) => number,
): Float64Array {
  const keep = reducedShape(x.shape, axes, true);
  const strides = stridesOf(keep).map((s, i) => (axes.includes(i) ? 0 : s));
  const out = new Float64Array(numel(keep)).fill(init);
  eachPlace(x.shape, strides, 0, (i, o) => {
    out[o] = f(out[o], x.data[i]);
  });
  return out;
}

const extremum =
  (f: (...v: number[]) => number, init: number): Reference =>
  ([x], n) =>
    reduced(x, n.attrs.axes as number[], init, f);

const argExtremum =
  (isBetter: (a: number, b: number) => boolean): Reference =>
  ([x], n) => {
    const axis = n.attrs.axis as number;
    const inner = numel(x.shape.slice(axis + 1));
    const r = x.shape[axis];
    const out = new Float64Array(numel(n.shape));
    for (let i = 0; i < out.length; i++) {
      const base = Math.floor(i / inner) * r * inner + (i % inner);
      let best = 0;
      for (let k = 1; k < r; k++) {
        const a = x.data[base + k * inner];
        const b = x.data[base + best * inner];
        if (Number.isNaN(b)) break;
        if (Number.isNaN(a) || isBetter(a, b)) best = k;
      }
      out[i] = best;
    }
    return out;
  };

/** Calls f(i, place, row) for each element i of the index: it names element `place` of the other tensor; row is its own. */
function eachIndexed(
  index: RefArray,
  axis: number,
  bound: number,
  f: (i: number, to: number, row: number) => void,
): void {
  const inner = numel(index.shape.slice(axis + 1));
  const rows = index.shape[axis];
  index.data.forEach((k, i) => {
    const row = Math.floor(i / inner);
    f(i, (Math.floor(row / rows) * bound + k) * inner + (i % inner), row % rows);
  });
}

function eachRow(x: RefArray, f: (row: Float64Array, r: number) => void): void {
  const cols = x.shape[x.shape.length - 1];
  for (let r = 0; r * cols < x.data.length; r++) f(x.data.subarray(r * cols, (r + 1) * cols), r);
}

function logSumExp(row: Float64Array): number {
  const m = Math.max(...row);
  if (m === -Infinity && row.length > 0) return Number.NaN;
  return m + Math.log(row.reduce((s, v) => s + Math.exp(v - m), 0));
}

const rowMap =
  (f: (v: number, lse: number) => number): Reference =>
  ([x], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      const lse = logSumExp(row);
      row.forEach((v, c) => {
        out[r * row.length + c] = f(v, lse);
      });
    });
    return out;
  };

const rowGrad =
  (f: (y: number, g: number, total: number) => number, weight: (y: number, g: number) => number): Reference =>
  ([y, g], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(y, (row, r) => {
      const at = r * row.length;
      let s = 0;
      row.forEach((v, c) => {
        s += weight(v, g.data[at + c]);
      });
      row.forEach((v, c) => {
        out[at + c] = f(v, g.data[at + c], s);
      });
    });
    return out;
  };

/** Word (e >> 2) & 1 of block (e >> 3) * 4 + (e & 3). */
function word(k0: number, k1: number, counter: number, e: number): number {
  return threefry(k0, k1, (e >> 3) * 4 + (e & 3), counter)[(e >> 2) & 1];
}

const draw =
  (value: (k0: number, k1: number, counter: number, element: number, a: number, b: number) => number): Reference =>
  ([state], n) => {
    const [k0, k1, counter] = state.data;
    const { draw: d, a, b } = n.attrs as { draw: number; a: number; b: number };
    return Float64Array.from({ length: numel(n.shape) }, (_, e) => value(k0, k1, counter + d, e, a, b));
  };

const REFERENCES: Readonly<Record<string, Reference>> = {
  expand: ([x], n) =>
    strided(
      x,
      n.shape,
      stridesOf(x.shape).map((s, i) => (x.shape[i] === 1 ? 0 : s)),
    ),
  sum: ([x], n) => reduced(x, n.attrs.axes as number[], 0, (a, b) => a + b),
  reshape: ([x]) => x.data.slice(),
  permute: ([x], n) => {
    const strides = stridesOf(x.shape);
    return strided(
      x,
      n.shape,
      (n.attrs.axes as number[]).map((a) => strides[a]),
    );
  },
  flip: ([x], n) => {
    const axes = n.attrs.axes as number[];
    const strides = stridesOf(x.shape);
    const last = x.shape.map((d, i) => (axes.includes(i) ? d - 1 : 0));
    return strided(
      x,
      n.shape,
      strides.map((s, i) => (axes.includes(i) ? -s : s)),
      dot(last, strides),
    );
  },
  slice: ([x], n) => {
    const { begin, step } = n.attrs as { begin: number[]; step: number[] };
    const strides = stridesOf(x.shape);
    return strided(
      x,
      n.shape,
      strides.map((s, i) => s * step[i]),
      dot(begin, strides),
    );
  },
  pad: ([x], n) => {
    const { begin, step } = n.attrs as { begin: number[]; step: number[] };
    const strides = stridesOf(n.shape);
    const out = new Float64Array(numel(n.shape));
    const steps = strides.map((s, i) => s * step[i]);
    eachPlace(x.shape, steps, dot(begin, strides), (i, to) => {
      out[to] = x.data[i];
    });
    return out;
  },
  concat: (src, n) => {
    const axis = n.attrs.axis as number;
    const inner = numel(n.shape.slice(axis + 1));
    const outer = numel(n.shape.slice(0, axis));
    const out = new Float64Array(numel(n.shape));
    let at = 0;
    for (let o = 0; o < outer; o++)
      for (const x of src) {
        const run = x.shape[axis] * inner;
        out.set(x.data.subarray(o * run, (o + 1) * run), at);
        at += run;
      }
    return out;
  },
  max: extremum(Math.max, Number.NEGATIVE_INFINITY),
  min: extremum(Math.min, Number.POSITIVE_INFINITY),
  prod: ([x], n) => reduced(x, n.attrs.axes as number[], 1, (a, b) => (n.dtype === "int32" ? Math.imul(a, b) : a * b)),
  argmax: argExtremum((a, b) => a > b),
  argmin: argExtremum((a, b) => a < b),
  iota: (_, n) => Float64Array.from({ length: numel(n.shape) }, (_v, i) => i),
  bytes: ([x]) => Float64Array.from(new Uint8Array(Int32Array.from(x.data).buffer)),
  windows: ([x], n) => strided(x, n.shape, windowStrides(stridesOf(x.shape), n.attrs as WindowAttrs)),
  fold: ([x], n) => {
    const { axis, step, dilation } = n.attrs as { axis: number; step: number; dilation: number };
    const size = x.shape[x.shape.length - 1];
    const out = new Float64Array(numel(n.shape));
    const inner = numel(n.shape.slice(axis + 1));
    const count = x.shape[axis];
    x.data.forEach((v, i) => {
      const column = Math.floor(i / size);
      const window = Math.floor(column / inner);
      const at = (window % count) * step + (i % size) * dilation;
      out[(Math.floor(window / count) * n.shape[axis] + at) * inner + (column % inner)] += v;
    });
    return out;
  },
  cumsum: ([x], n) => {
    const { axis, reverse } = n.attrs as { axis: number; reverse: boolean };
    const inner = numel(x.shape.slice(axis + 1));
    const out = x.data.slice();
    const start = (i: number): boolean => Math.floor(i / inner) % x.shape[axis] === (reverse ? x.shape[axis] - 1 : 0);
    const order = [...out.keys()];
    for (const i of reverse ? order.reverse() : order) if (!start(i)) out[i] += out[reverse ? i + inner : i - inner];
    return n.dtype === "int32" ? out.map((v) => v | 0) : out;
  },
  argsort: ([x], n) => {
    const cols = x.shape[x.shape.length - 1];
    const sign = n.attrs.descending ? -1 : 1;
    const ascending = (a: number, b: number): number =>
      Number.isNaN(a) || Number.isNaN(b) ? Number(Number.isNaN(a)) - Number(Number.isNaN(b)) : Math.sign(a - b) || 0;
    const out = new Float64Array(x.data.length);
    eachRow(x, (row, r) => {
      // Equal infinities have no difference.
      const compare = (i: number, j: number): number => (row[i] === row[j] ? 0 : sign * ascending(row[i], row[j]));
      out.set([...row.keys()].sort(compare), r * cols);
    });
    return out;
  },
  matmul: ([a, b], n) => {
    const [m, k] = a.shape.slice(-2);
    const cols = b.shape[b.shape.length - 1];
    const batch = numel(a.shape.slice(0, -2));
    const out = new Float64Array(numel(n.shape));
    const plus = (s: number, x: number, y: number): number =>
      n.dtype === "int32" ? (s + Math.imul(x, y)) | 0 : s + x * y;
    for (let t = 0; t < batch; t++)
      for (let i = 0; i < m; i++)
        for (let p = 0; p < k; p++) {
          const x = a.data[(t * m + i) * k + p];
          for (let j = 0; j < cols; j++) {
            const at = (t * m + i) * cols + j;
            out[at] = plus(out[at], x, b.data[(t * k + p) * cols + j]);
          }
        }
    return out;
  },
  gather: ([x, index], n) => {
    const out = new Float64Array(numel(n.shape));
    eachIndexed(index, n.attrs.axis as number, x.shape[n.attrs.axis as number], (i, from) => {
      out[i] = x.data[from];
    });
    return out;
  },
  scatterAdd: ([x, index], n) => {
    const out = new Float64Array(numel(n.shape));
    eachIndexed(index, n.attrs.axis as number, n.attrs.extent as number, (i, to) => {
      out[to] += x.data[i];
    });
    return out;
  },
  scatterLast: ([index], n) => {
    const out = new Float64Array(numel(n.shape)).fill(-1);
    eachIndexed(index, n.attrs.axis as number, n.attrs.extent as number, (_, to, row) => {
      out[to] = row;
    });
    return out;
  },
  randomBits: draw((k0, k1, c, e) => word(k0, k1, c, e) | 0),
  uniform: draw((k0, k1, c, e, a, b) => a + (b - a) * (word(k0, k1, c, e) >>> 8) * 2 ** -24),
  normal: draw((k0, k1, c, e, a, b) => {
    const [x0, x1] = threefry(k0, k1, e, c);
    const u1 = ((x0 >>> 8) + 1) * 2 ** -24;
    return a + b * Math.sqrt(-2 * Math.log(u1)) * Math.cos(2 * Math.PI * (x1 >>> 8) * 2 ** -24);
  }),
  softmax: rowMap((v, lse) => Math.exp(v - lse)),
  logSoftmax: rowMap((v, lse) => v - lse),
  softmaxGrad: rowGrad(
    (y, g, s) => y * (g - s),
    (y, g) => y * g,
  ),
  logSoftmaxGrad: rowGrad(
    (y, g, s) => g - Math.exp(y) * s,
    (_, g) => g,
  ),
  crossEntropyRows: ([x, labels], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      out[r] = labels.data[r] === n.attrs.ignore ? 0 : logSumExp(row) - row[labels.data[r]];
    });
    return out;
  },
  crossEntropyGradRows: ([x, labels, g], n) => {
    const out = new Float64Array(numel(n.shape));
    eachRow(x, (row, r) => {
      if (labels.data[r] === n.attrs.ignore) return;
      const lse = logSumExp(row);
      row.forEach((v, c) => {
        out[r * row.length + c] = (Math.exp(v - lse) - (c === labels.data[r] ? 1 : 0)) * g.data[r];
      });
    });
    return out;
  },
};

/** What an operation computes, in float64; undefined for leaves. */
export function referenceOf(op: OpDef): Reference | undefined {
  return op.ref ?? REFERENCES[op.name];
}
