/** @file What NumPy's x[...] gives: integers, slices, masks and index tensors, one item for each axis. */
import { FourlaneError, ShapeError, ValueError } from "../core/errors.ts";
import { broadcast, numel, sameShape, type Shape, show, stridesOf } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { BINARY, COMPARE } from "../ops/elementwise.ts";
import { iota } from "../ops/leaf.ts";
import { expand, permute, reshape } from "../ops/movement.ts";
import { dataOf } from "../trace/bindings.ts";
import { binary, where } from "./elementwise.ts";
import { checkedIndex, indexSelect, select } from "./lookup.ts";
import { slice, unsqueeze } from "./movement.ts";
import { truePlaces } from "./values.ts";

/** What stands for an axis, for several ("..." or a mask), or for a new one (null). */
export type Item = number | string | null | Node;

interface Picked {
  readonly axis: number;
  readonly index: Node;
}

export function index(n: Node, given: readonly Item[]): Node {
  const items = given.map((item) => (item === null || typeof item !== "object" ? item : checkedIndex("index", item)));
  const axesOf = (item: Item): number =>
    item === null || item === "..." ? 0 : typeof item === "object" && item.dtype === "bool" ? item.shape.length : 1;
  const rank = n.shape.length;
  const named = items.reduce<number>((s, item) => s + axesOf(item), 0);
  if (named > rank) throw new ShapeError(`index: ${named} axes are named, the tensor has shape ${show(n.shape)}`);
  if (items.filter((item) => item === "...").length > 1) throw new ValueError('index: only one item may be "..."');
  let x = n;
  let axis = 0;
  const picked: Picked[] = [];
  for (const item of items) {
    if (item === null) x = unsqueeze(x, axis++);
    else if (item === "...") axis += rank - named;
    else if (typeof item === "number") x = select(x, axis, item);
    else if (typeof item === "string") x = sliced(x, axis++, item);
    else if (item.dtype !== "bool") picked.push({ axis: axis++, index: item });
    else for (const places of whereTrue(item, x.shape.slice(axis))) picked.push({ axis: axis++, index: places });
  }
  return picked.length === 0 ? x : pick(x, picked);
}

/** A slice "begin:end:step" of an axis. */
function sliced(x: Node, axis: number, text: string): Node {
  const parts = /^\s*(-?\d+)?\s*:\s*(-?\d+)?\s*(?::\s*(\d+)?\s*)?$/.exec(text);
  if (!parts) throw new ValueError(`index: "${text}" is no slice begin:end:step (with a step above 0), and not "..."`);
  const [begin, end, step] = parts.slice(1).map((v) => (v === undefined ? undefined : Number(v)));
  const along = (v: number | undefined, others: (d: number) => number): number[] =>
    x.shape.map((d, i) => (i === axis && v !== undefined ? v : others(d)));
  return slice(
    x,
    along(begin, () => 0),
    along(end, (d) => d),
    along(step, () => 1),
  );
}

/** Where a mask over the first axes of a shape is true: one index for each of its axes. */
function whereTrue(mask: Node, shape: Shape): Node[] {
  const rank = mask.shape.length;
  if (rank === 0) throw new ShapeError("index: a mask must have an axis, one element alone is none");
  if (!sameShape(mask.shape, shape.slice(0, rank)))
    throw new ShapeError(`index: the mask ${show(mask.shape)} does not fit the axes ${show(shape)}`);
  const values = dataOf(mask);
  if (!values)
    throw new FourlaneError(
      "TRACE",
      "index: the mask's values are not known yet: await maskedSelect or nonzero, or use where",
    );
  return truePlaces(values, mask.shape);
}

/** The elements of x that index tensors along some of its axes name, as in NumPy: the new axes stand where the old ones did. */
function pick(x: Node, picked: readonly Picked[]): Node {
  const axes = picked.map((p) => p.axis);
  const shape = picked.map((p) => p.index.shape).reduce((s, t) => broadcast("index", s, t));
  const rest = x.shape.map((_, i) => i).filter((i) => !axes.includes(i));
  const kept = rest.map((i) => x.shape[i]);
  const extents = axes.map((a) => x.shape[a]);
  const strides = stridesOf(extents);
  const flattened = (n: Node): Node => reshape(n, [numel(n.shape)]);
  const places = picked.map(({ index: at, axis }, k) => {
    const extent = x.shape[axis];
    const place = where(binary(COMPARE.lt, at, 0), binary(BINARY.add, at, extent), at);
    if (picked.length === 1) return place;
    // Looked up once by itself: one that is out of range must not become another place of the axes taken together.
    const checked = reshape(indexSelect(iota([extent]), 0, flattened(place)), place.shape);
    return binary(BINARY.mul, checked, strides[k]);
  });
  const flat = expand(
    places.reduce((s, t) => binary(BINARY.add, s, t)),
    shape,
  );
  const moved = reshape(permute(x, [...axes, ...rest]), [numel(extents), ...kept]);
  const result = reshape(indexSelect(moved, 0, flattened(flat)), [...shape, ...kept]);
  // Neighbouring axes keep their place; others move to the front.
  const front = axes.every((a, k) => k === 0 || a === axes[k - 1] + 1) ? axes[0] : 0;
  const order = [...rest.keys()].map((i) => i + shape.length);
  return permute(result, [...order.slice(0, front), ...shape.keys(), ...order.slice(front)]);
}
