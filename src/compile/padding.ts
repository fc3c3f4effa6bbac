/** @file Zeros around images, as padding of the operations that read them, or send something back to them. */
import { isOp, makeNode, type Node, type OpDef } from "../graph/node.ts";
import type { ConvAttrs } from "../ops/convolution.ts";
import { MOVEMENT } from "../ops/movement.ts";
import type { PoolAttrs } from "../ops/pooling.ts";

/** What is padded with zeros along its last `rank` axes alone, and how many there are before each of these. */
function unpadded(n: Node, rank: number): { x: Node; begin: readonly number[] } | undefined {
  if (!isOp(n, MOVEMENT.pad) || n.src.length > 1 || n.attrs.step.some((s) => s !== 1)) return;
  const [x] = n.src;
  const { begin } = n.attrs;
  const lead = begin.length - rank;
  const spatial = begin.every((_, i) => i >= lead || x.shape[i] === n.shape[i]) && x.shape.every((d) => d > 0);
  return spatial ? { x, begin: begin.slice(lead) } : undefined;
}

const sum = (a: readonly number[], b: readonly number[]): number[] => a.map((v, i) => v + b[i]);

/** A convolution, or a sum of windows, of an image with zeros around it: its own padding. */
export function ownPadding<A extends ConvAttrs | PoolAttrs>(n: Node<A>): Node | undefined {
  const { attrs } = n;
  const inner = "adaptive" in attrs && attrs.adaptive ? undefined : unpadded(n.src[0], attrs.padding.length);
  if (!inner) return;
  return makeNode(n.op, [inner.x, ...n.src.slice(1)], { ...attrs, padding: sum(attrs.padding, inner.begin) });
}

/** Of what flows back to an image, a part: the rest, such as zeros around it, is not computed. */
export function partOfImage(n: Node): Node | undefined {
  const [x] = n.src;
  if (!isOp(n, MOVEMENT.slice) || n.attrs.step.some((s) => s !== 1)) return;
  const attrs = x.attrs as ConvAttrs | PoolAttrs;
  if (("adaptive" in attrs && attrs.adaptive) || n.shape.includes(0)) return;
  const lead = n.shape.length - attrs.padding.length;
  if (n.shape.slice(0, lead).some((d, i) => d !== x.shape[i])) return;
  const padding = sum(attrs.padding, n.attrs.begin.slice(lead));
  return makeNode<ConvAttrs | PoolAttrs>(x.op as OpDef<ConvAttrs | PoolAttrs>, x.src, {
    ...attrs,
    padding,
    size: n.shape.slice(lead),
  });
}
