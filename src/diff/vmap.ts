/**
 * @file Batching: a graph that says what happens to one example becomes a graph over all of them, with the batch axis in
 * front. One walk in topological order. What does not depend on the examples stays as it is.
 */
import { FourlaneError, ShapeError } from "../core/errors.ts";
import { sameShape, show } from "../core/shape.ts";
import { type Attrs, inRegion, makeNode, type Node, toposort, withSources } from "../graph/node.ts";
import { alias } from "../ops/identity.ts";
import { concat, expand, forEveryExample, reshape, slice } from "../ops/movement.ts";
import { walkOver } from "./vjp.ts";

/** Examples of a batch that an operation without a rule is evaluated for one by one. */
const STACK_LIMIT = 64;

/** What random draws made for one example are for all: refused, the same numbers, or different ones. */
export type Randomness = "error" | "same" | "different";

/** n's attributes where its operands have a batch axis of `size` in front. */
const lifted = (n: Node, size: number): Attrs => n.op.lift?.(n.attrs, size) ?? n.attrs;

/** Operation n on sources of which some have a batch axis of `size` in front. */
function batched(n: Node, src: readonly Node[], has: readonly boolean[], size: number): Node {
  const special = n.op.batch?.(n, src, has);
  if (special) return special;
  if (n.op.loop) return n.op.loop.batch(n, src, has, size, vmap);
  const all = forEveryExample(src, has, size);
  try {
    const whole = makeNode(n.op, all, lifted(n, size));
    if (sameShape(whole.shape, [size, ...n.shape])) return whole;
  } catch (error) {
    if (!(error instanceof FourlaneError)) throw error;
  }
  if (n.op.decompose) {
    const inner = n.src.map(alias);
    const [y] = vmap([n.op.decompose(withSources(n, inner))], inner, all, size);
    if (y) return y;
  }
  if (size > STACK_LIMIT || size === 0)
    throw new FourlaneError(
      "NO_BATCHING",
      `vmap: ${n.op.name} on ${n.src.map((s) => show(s.shape)).join(" ")} has no rule for batches, and one of ${size} ` +
        `examples is not between 1 and the ${STACK_LIMIT} that are computed one by one`,
    );
  const each = Array.from({ length: size }, (_, b) => {
    const one = all.map((s) => {
      const begin = s.shape.map((_d, i) => (i === 0 ? b : 0));
      return reshape(slice(s, begin, [1, ...s.shape.slice(1)]), s.shape.slice(1));
    });
    return reshape(makeNode(n.op, one, n.attrs), [1, ...n.shape]);
  });
  return concat(each, 0);
}

/**
 * The outputs for all examples, given the `values` of the inputs for all of them, [size, ...shape]; null for an output that
 * is the same for all. The inputs must be older than what was made of them.
 */
export function vmap(
  outputs: readonly Node[],
  inputs: readonly Node[],
  values: readonly Node[],
  size: number,
  randomness: Randomness = "same",
): (Node | null)[] {
  const map = new Map<Node, Node>(inputs.map((x, i) => [x, values[i]]));
  values.forEach((v, i) => {
    if (!sameShape(v.shape, [size, ...inputs[i].shape]))
      throw new ShapeError(`vmap: ${show(v.shape)} does not hold ${size} examples of ${show(inputs[i].shape)}`);
  });
  const before = inputs[0]?.id ?? 0;
  walkOver(
    toposort(outputs, (x) => map.has(x)),
    "again",
    (n) => {
      if (map.has(n)) return;
      const has = n.src.map((s) => map.has(s));
      if (has.some((h) => h)) {
        const src = n.src.map((s) => map.get(s) ?? s);
        map.set(
          n,
          inRegion(n.region, () => batched(n, src, has, size)),
        );
      } else if (n.op.random && n.id > before && randomness !== "same") {
        if (randomness === "error")
          throw new FourlaneError(
            "RANDOMNESS",
            'vmap: the function draws random numbers; say randomness: "different" or "same" for all examples',
          );
        map.set(n, makeNode(n.op, n.src, lifted(n, size)));
      }
    },
  );
  return outputs.map((y) => map.get(y) ?? null);
}

/** The same for outputs of which some are null, and stay it: what is the same for all examples is expanded. */
export function vmapAll(
  outputs: readonly (Node | null)[],
  inputs: readonly Node[],
  values: readonly Node[],
  size: number,
): (Node | null)[] {
  const real = outputs.filter((y) => y !== null);
  const whole = vmap(real, inputs, values, size);
  let k = 0;
  return outputs.map((y) => y && (whole[k++] ?? expand(y, [size, ...y.shape])));
}
