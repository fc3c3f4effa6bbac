/**
 * @file The sum of what flows back to one node. What comes from its slices is zero elsewhere: where slices do not overlap, their
 * cotangents are put side by side in one tensor, instead of being added as tensors of zeros, one for each.
 */
import { numel } from "../core/shape.ts";
import { isOp, type Node } from "../graph/node.ts";
import { addCotangents } from "./elementwise.ts";
import { MOVEMENT, padAll, type Piece, piecesOf } from "./movement.ts";

/** Where pieces lie along one axis. */
interface Interval {
  readonly begin: number;
  readonly step: number;
  readonly last: number;
  readonly pieces: Piece[];
}

/** What `key` says is the same, together, in the order of the first of each. */
function grouped<T>(list: readonly T[], key: (x: T) => string | number): T[][] {
  const groups = new Map<string | number, T[]>();
  for (const x of list) {
    const k = key(x);
    const group = groups.get(k);
    if (group) group.push(x);
    else groups.set(k, [x]);
  }
  return [...groups.values()];
}

/** Several lists of layers as one, where no layer of one overlaps any of another. */
function sideBySide(lists: readonly Piece[][][]): Piece[][] {
  const layers: Piece[][] = [];
  for (const list of lists)
    list.forEach((layer, i) => {
      layers[i] ??= [];
      for (const piece of layer) layers[i].push(piece);
    });
  return layers;
}

/** Intervals in as few classes as there are at any place, no two of a class overlapping; n log n. */
function disjoint(intervals: readonly Interval[]): Interval[][] {
  const ends = [...intervals].sort((a, b) => a.last - b.last);
  const classOf = new Map<Interval, number>();
  const classes: Interval[][] = [];
  const free: number[] = [];
  let ended = 0;
  for (const interval of [...intervals].sort((a, b) => a.begin - b.begin)) {
    for (; ends[ended].last < interval.begin; ended++) free.push(classOf.get(ends[ended]) as number);
    const k = free.pop() ?? classes.push([]) - 1;
    classOf.set(interval, k);
    classes[k].push(interval);
  }
  return classes;
}

/** Pieces in layers in which no two overlap: one, if they agree on where each axis is cut; about linear in their number. */
function layersOf(pieces: readonly Piece[], axis: number): Piece[][] {
  if (pieces.length <= 1 || axis === pieces[0].x.shape.length) return pieces.map((p) => [p]);
  const at = ({ x, begin, step }: Piece): Omit<Interval, "pieces"> => {
    const extent = x.shape[axis];
    const [b, s] = [begin[axis], extent > 1 ? step[axis] : 1];
    return { begin: b, step: s, last: b + (extent - 1) * s };
  };
  const intervals = grouped(pieces, (p) => Object.values(at(p)).join()).map((same) => ({
    ...at(same[0]),
    pieces: same,
  }));
  const next = (interval: Interval): Piece[][] => layersOf(interval.pieces, axis + 1);
  if (intervals.length === 1) return next(intervals[0]);
  // Every other element, say, from the first and from the second on.
  const steps = new Set(intervals.filter((i) => i.last > i.begin).map((i) => i.step));
  const step = steps.size === 1 ? Math.max(...steps) : 1;
  return sideBySide(
    grouped(intervals, (i) => i.begin % step).map((same) =>
      disjoint(same).flatMap((together) => sideBySide(together.map(next))),
    ),
  );
}

/** Those of one place as one, their sum. */
function added(pieces: readonly Piece[]): Piece[] {
  const key = ({ x, begin, step }: Piece): string => [...x.shape, ...begin, ...step].join();
  return grouped(pieces, key).map((same) => ({
    ...same[0],
    x: same.map((p) => p.x).reduce(addCotangents),
  }));
}

/** The sum of cotangents of one node, in a fixed order; one at least. */
export function sumCotangents(terms: readonly Node[]): Node {
  const rest: Node[] = [];
  const pieces: Piece[] = [];
  let pads = 0;
  for (const t of terms) {
    if (isOp(t, MOVEMENT.pad) && t.src.every((x) => numel(x.shape) > 0)) {
      pieces.push(...piecesOf(t.src, t.attrs));
      pads++;
    } else rest.push(t);
  }
  if (pads < 2) return terms.reduce(addCotangents);
  const layers = layersOf(added(pieces), 0).map((layer) => padAll(layer, terms[0].shape));
  return [...layers, ...rest].reduce(addCotangents);
}
