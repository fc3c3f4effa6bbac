/**
 * @file Borders of images: what a convolution sees beyond the ends of an axis it reads where it came from, and what flows back
 * from there is added to it. So extend and retract stay where convolutions take them into account; everywhere else they are
 * put together from slices.
 */
import { type Computation, isOp, type Node, type OpDef, toposort, withSources } from "../graph/node.ts";
import { CONVOLUTIONS } from "../ops/convolution.ts";
import { type ExtendAttrs, EXTENSION } from "../ops/extend.ts";
import { rebuild, rootsOf, usesOf } from "./rebuild.ts";

/** Samples and channels are as they were. */
const isSpatial = ({ before, after }: ExtendAttrs): boolean =>
  [before, after].every((list) => list[0] === 0 && list[1] === 0);

/** Whether n is a convolution that sees no zeros around x, or what flows back to the kernels of one. */
function seesOnly(n: Node, x: Node): boolean {
  const forward = isOp(n, CONVOLUTIONS.convolution);
  if (!forward && !isOp(n, CONVOLUTIONS.convolutionKernel)) return false;
  const { stride, dilation, padding, size } = n.attrs;
  const other = n.src[1].shape.slice(2);
  const [count, taps] = forward ? [size, other] : [other, size];
  return x.shape
    .slice(2)
    .every((d, i) => padding[i] <= 0 && (count[i] - 1) * stride[i] + (taps[i] - 1) * dilation[i] - padding[i] < d);
}

/** The graph with an extend only where a convolution reads it in place, and a retract only of what a convolution sends back. */
export function borders(graph: Computation): Computation {
  const roots = rootsOf(graph);
  const order = toposort(roots);
  const is = (n: Node): n is Node<ExtendAttrs> => isOp(n, EXTENSION.extend) || isOp(n, EXTENSION.retract);
  if (!order.some(is)) return graph;
  const uses = usesOf(order, roots);
  const apart = new Map<Node, Node>();
  const decomposed = (n: Node<ExtendAttrs>): Node => {
    const known = apart.get(n) ?? (n.op as OpDef<ExtendAttrs>).decompose?.(n);
    apart.set(n, known as Node);
    return known as Node;
  };
  /** What a node became, for whoever does not know about borders. */
  const plain = (n: Node): Node => (isOp(n, EXTENSION.extend) ? decomposed(n) : n);
  const changed = rebuild(graph, order, (n, sources) => {
    const src = n.src.map((s, i) => {
      const now = sources(s);
      return i === 0 && isOp(now, EXTENSION.extend) && isSpatial(now.attrs) && seesOnly(n, now) ? now : plain(now);
    });
    const now = src.some((s, i) => s !== n.src[i]) ? withSources(n, src) : n;
    if (!isOp(now, EXTENSION.retract)) return now;
    const back = n.src[0];
    return isSpatial(now.attrs) && back.op === CONVOLUTIONS.convolutionInput && uses.get(back) === 1
      ? now
      : decomposed(now);
  });
  return { ...changed, outputs: changed.outputs.map(plain), updates: changed.updates.map(plain) };
}
