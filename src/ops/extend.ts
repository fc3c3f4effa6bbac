/**
 * @file Axes made longer by elements they have: extend, and its adjoint retract, which adds what lies beyond the ends to where it
 * came from. Convolutions read and write these places in place (see src/compile/borders.ts); for all others they are put
 * together from slices.
 */
import { isFloat } from "../core/dtype.ts";
import { DTypeError, ShapeError } from "../core/errors.ts";
import { sameShape, type Shape, show } from "../core/shape.ts";
import { makeNode, type Node, type OpDef } from "../graph/node.ts";
import { add } from "./elementwise.ts";
import { keptExtents, linear } from "./linear.ts";
import { concat, expand, flip, padAll, type Piece, slice, sum } from "./movement.ts";

/** reflect: as in a mirror that lies on the last element; replicate: the last element; circular: from the other end. */
export type BorderMode = "reflect" | "replicate" | "circular";

/** How many elements before and after each axis. */
export type ExtendAttrs = {
  readonly mode: BorderMode;
  readonly before: readonly number[];
  readonly after: readonly number[];
};

/** Elements from place `at` of the longer axis on, `count` of them: those of the axis from `from` on, `step` apart. */
export interface Border {
  readonly at: number;
  readonly count: number;
  readonly from: number;
  readonly step: -1 | 0 | 1;
}

/** What lies beyond the ends of an axis of n elements. */
export function bordersOf({ mode, before, after }: ExtendAttrs, axis: number, n: number): Border[] {
  const [b, a] = [before[axis], after[axis]];
  const [first, last, step] = ({ reflect: [b, n - 2, -1], replicate: [0, n - 1, 0], circular: [n - b, 0, 1] } as const)[
    mode
  ];
  const both: Border[] = [
    { at: 0, count: b, from: first, step },
    { at: b + n, count: a, from: last, step },
  ];
  return both.filter(({ count }) => count > 0);
}

/** Most elements a mode can add to one side of an axis of n. */
export const REACH: Readonly<Record<BorderMode, (n: number) => number>> = {
  reflect: (n) => n - 1,
  replicate: (n) => (n > 0 ? Number.POSITIVE_INFINITY : 0),
  circular: (n) => n,
};

const longer = (shape: Shape, { before, after }: ExtendAttrs, sign: 1 | -1): number[] =>
  shape.map((d, i) => d + sign * (before[i] + after[i]));

function checkBorders(name: string, shape: Shape, { mode, before, after }: ExtendAttrs): void {
  shape.forEach((n, i) => {
    for (const count of [before[i], after[i]])
      if (count < 0 || (count > 0 && count > REACH[mode](n)))
        throw new ShapeError(
          `${name}: ${count} elements cannot be added to axis ${i} of shape ${show(shape)} (${mode})`,
        );
  });
}

const liftBorders = (attrs: ExtendAttrs): ExtendAttrs => ({
  ...attrs,
  before: [0, ...attrs.before],
  after: [0, ...attrs.after],
});

const EXTEND: OpDef<ExtendAttrs> = linear<ExtendAttrs>(
  "extend",
  "linear",
  "retracts",
  ([x], attrs) => {
    checkBorders("extend", x.shape, attrs);
    return { shape: longer(x.shape, attrs, 1), dtype: x.dtype };
  },
  (n, g) => makeNode(RETRACT, [g], n.attrs),
  keptExtents("mixed"),
  liftBorders,
  undefined,
  ({ src: [x], attrs }) =>
    x.shape.reduce((y, n, axis) => {
      const pieces = bordersOf(attrs, axis, n).map(({ at, ...border }) => ({ at, part: taken(y, axis, border) }));
      return concat(
        [...pieces, { at: attrs.before[axis], part: y }].sort((a, b) => a.at - b.at).map((p) => p.part),
        axis,
      );
    }, x),
);

const RETRACT: OpDef<ExtendAttrs> = linear<ExtendAttrs>(
  "retract",
  "linear",
  "extends",
  ([g], attrs) => {
    if (!isFloat(g.dtype)) throw new DTypeError(`retract: dtype ${g.dtype} is not supported, only float32`);
    const shape = longer(g.shape, attrs, -1);
    checkBorders("retract", shape, attrs);
    return { shape, dtype: g.dtype };
  },
  (n, g) => makeNode(EXTEND, [g], n.attrs),
  keptExtents("mixed"),
  liftBorders,
  undefined,
  ({ src: [g], shape, attrs }) =>
    shape.reduce((y, n, axis) => {
      const pieces = bordersOf(attrs, axis, n).map((border) => returned(y, axis, border));
      const whole = y.shape.map((d, i) => (i === axis ? n : d));
      const inside = part(y, axis, attrs.before[axis], n);
      // Where the two do not overlap, they are added at once.
      const [a, b] = pieces;
      const apart =
        b && (a.begin[axis] + a.x.shape[axis] <= b.begin[axis] || b.begin[axis] + b.x.shape[axis] <= a.begin[axis]);
      return (apart ? [pieces] : pieces.map((p) => [p])).reduce((s, some) => add(s, padAll(some, whole)), inside);
    }, g),
);

/** `count` elements of an axis from one on. */
function part(x: Node, axis: number, from: number, count: number): Node {
  const begin = x.shape.map((_, i) => (i === axis ? from : 0));
  return slice(
    x,
    begin,
    x.shape.map((d, i) => (i === axis ? count : d)),
  );
}

/** The elements of a border, taken from x. */
function taken(x: Node, axis: number, { from, step, count }: Omit<Border, "at">): Node {
  if (step === 0)
    return expand(
      part(x, axis, from, 1),
      x.shape.map((d, i) => (i === axis ? count : d)),
    );
  return step === 1 ? part(x, axis, from, count) : flip(part(x, axis, from - count + 1, count), [axis]);
}

/** What lies on a border of g, where it came from. */
function returned(g: Node, axis: number, { at, from, step, count }: Border): Piece {
  const p = part(g, axis, at, count);
  const first = step === -1 ? from - count + 1 : from;
  return {
    x: step === 0 ? sum(p, [axis], true) : step === 1 ? p : flip(p, [axis]),
    begin: g.shape.map((_, i) => (i === axis ? first : 0)),
    step: g.shape.map(() => 1),
  };
}

/** x with elements of its own before and after its axes. */
export function extend(x: Node, mode: BorderMode, before: readonly number[], after: readonly number[]): Node {
  const y = makeNode(EXTEND, [x], { mode, before, after });
  return sameShape(y.shape, x.shape) ? x : y;
}

export const EXTENSION = { extend: EXTEND, retract: RETRACT };
