/** @file Sums of products by the names of axes: torch.einsum. */
import { DTypeError, ShapeError, ValueError } from "../core/errors.ts";
import { numel, show } from "../core/shape.ts";
import { Tensor } from "./tensor.ts";

/** A tensor with a name for each axis. */
interface Named {
  readonly x: Tensor;
  readonly names: readonly string[];
}

/** Names of the axes "..." stands for, from the last one on: no letter, so that they are not mixed up. */
const unnamed = (fromEnd: number): string => `.${fromEnd}`;

/** "ij" or "...ij" as names of a tensor's axes; `hidden` says how many axes "..." stands for. */
function names(equation: string, term: string, hidden: number): string[] {
  const list: string[] = [];
  for (let i = 0; i < term.length; i++) {
    if (term.startsWith("...", i)) {
      for (let k = hidden; k > 0; k--) list.push(unnamed(k));
      i += 2;
    } else if (/[a-zA-Z]/.test(term[i])) list.push(term[i]);
    else throw new ValueError(`einsum: "${term[i]}" in "${equation}" is no name of an axis; letters are, and "..."`);
  }
  if (new Set(list.filter((n) => n.startsWith("."))).size !== list.filter((n) => n.startsWith(".")).length)
    throw new ValueError(`einsum: "..." may stand only once in each part of "${equation}"`);
  return list;
}

/** A name that occurs twice becomes one axis, the diagonal. */
function diagonals({ x, names: list }: Named): Named {
  const second = list.findIndex((n, i) => list.indexOf(n) < i);
  if (second < 0) return { x, names: list };
  const first = list.indexOf(list[second]);
  const n = x.shape[first];
  if (n !== x.shape[second])
    throw new ShapeError(
      `einsum: axis "${list[first]}" has the extents ${n} and ${x.shape[second]} in ${show(x.shape)}`,
    );
  const rest = x.shape.map((_, i) => i).filter((i) => i !== first && i !== second);
  const lead = rest.map((i) => x.shape[i]);
  // Every (n + 1)-th element of the flattened square.
  const flat = x.permute([...rest, first, second]).reshape([...lead, n * n]);
  const diagonal = flat.slice(
    flat.shape.map(() => 0),
    [...flat.shape],
    flat.shape.map((_, i) => (i === lead.length ? n + 1 : 1)),
  );
  return diagonals({ x: diagonal, names: [...rest.map((i) => list[i]), list[first]] });
}

/** With the axes in this order, new ones of extent 1 where a name is missing. */
function arranged({ x, names: list }: Named, order: readonly string[]): Tensor {
  const present = order.filter((n) => list.includes(n));
  const moved = x.permute(present.map((n) => list.indexOf(n)));
  return moved.reshape(order.map((n) => (present.includes(n) ? moved.shape[present.indexOf(n)] : 1)));
}

/** Without the axes nobody asks for: summed. */
function summed({ x, names: list }: Named, wanted: ReadonlySet<string>): Named {
  const gone = list.map((_, i) => i).filter((i) => !wanted.has(list[i]));
  return gone.length === 0 ? { x, names: list } : { x: x.sum(gone), names: list.filter((n) => wanted.has(n)) };
}

/** The product of two tensors, summed over the axes that are not wanted, as one batch of matrix products. */
function contracted(a: Named, b: Named, wanted: ReadonlySet<string>): Named {
  const extent = (t: Named, n: string): number => (t.names.includes(n) ? t.x.shape[t.names.indexOf(n)] : 1);
  // An axis of extent 1 is no axis of that operand: the other's is copied along it.
  const both = (n: string): boolean => extent(a, n) !== 1 && extent(b, n) !== 1;
  const all = [...new Set([...a.names, ...b.names])];
  const inner = all.filter((n) => !wanted.has(n) && both(n));
  // What is summed in one operand alone is summed there, before the product.
  const keep = new Set(all.filter((n) => wanted.has(n) || inner.includes(n)));
  const [p, q] = [a, b].map((t) => summed(t, keep)).map((s) => ({ ...s, x: s.x.to(a.x.dtype) })); // not wider: a factor
  const batch = all.filter((n) => wanted.has(n) && both(n));
  const left = all.filter((n) => keep.has(n) && !inner.includes(n) && !batch.includes(n) && extent(b, n) === 1);
  const right = all.filter((n) => keep.has(n) && !inner.includes(n) && !batch.includes(n) && extent(b, n) !== 1);
  const size = (t: Named, list: readonly string[]): number => numel(list.map((n) => extent(t, n)));
  const x = arranged(drop(p, right), [...batch, ...left, ...inner]);
  const y = arranged(drop(q, left), [...batch, ...inner, ...right]);
  const product = x
    .reshape(size(p, batch), size(p, left), size(p, inner))
    .matmul(y.reshape(size(q, batch), size(q, inner), size(q, right)));
  const order = [...batch, ...left, ...right];
  const shape = order.map((n) => (right.includes(n) ? extent(b, n) : extent(a, n)));
  return { x: product.reshape(shape), names: order };
}

/** Without axes of extent 1 that have these names. */
function drop({ x, names: list }: Named, gone: readonly string[]): Named {
  const kept = list.filter((n) => !gone.includes(n));
  return { x: x.reshape(kept.map((n) => x.shape[list.indexOf(n)])), names: kept };
}

/**
 * The sum of products that an equation names: "ij,jk->ik" is the product of matrices, "ii->i" a diagonal, "i->" a sum. Without
 * "->" the result has the names that occur once, in alphabetical order. "..." stands for any axes, which are broadcast.
 * @throws DTypeError unless all operands have one dtype: float32, int32 or uint8.
 */
export function einsum(equation: string, ...operands: Tensor[]): Tensor {
  if (typeof equation !== "string")
    throw new ValueError(`einsum: the equation must be a string, got ${String(equation)}`);
  const [inputs, output, ...more] = equation.replaceAll(" ", "").split("->");
  const terms = inputs.split(",");
  if (more.length > 0 || terms.length !== operands.length || operands.some((t) => !(t instanceof Tensor)))
    throw new ValueError(`einsum: "${equation}" does not name the axes of ${operands.length} tensors`);
  for (const { dtype } of operands)
    if (dtype !== operands[0].dtype)
      throw new DTypeError(`einsum: operands of dtypes ${operands[0].dtype} and ${dtype}: all must have the same`);
  const hidden = terms.map((t, i) => (t.includes("...") ? operands[i].ndim - t.replace("...", "").length : 0));
  const widest = Math.max(0, ...hidden);
  const parts = terms.map((term, i) => {
    const list = names(equation, term, hidden[i]);
    if (list.length !== operands[i].ndim)
      throw new ShapeError(
        `einsum: "${term}" in "${equation}" does not name the axes of shape ${show(operands[i].shape)}`,
      );
    return diagonals({ x: operands[i], names: list });
  });
  const extents = new Map<string, number>();
  for (const { x, names: list } of parts)
    list.forEach((n, i) => {
      const before = extents.get(n) ?? 1;
      if (before !== 1 && x.shape[i] !== 1 && x.shape[i] !== before)
        throw new ShapeError(`einsum: axis "${n}" of "${equation}" has the extents ${before} and ${x.shape[i]}`);
      extents.set(n, before === 1 ? x.shape[i] : before);
    });
  const count = (n: string): number => terms.join("").split(n).length - 1;
  const once = [...extents.keys()].filter((n) => !n.startsWith(".") && count(n) === 1).sort();
  const ellipsis = Array.from({ length: widest }, (_, k) => unnamed(widest - k));
  const result = output === undefined ? [...ellipsis, ...once] : names(equation, output, widest);
  if (new Set(result).size !== result.length || result.some((n) => !extents.has(n)))
    throw new ValueError(`einsum: the result of "${equation}" must name axes of the operands, each once`);
  const total = parts.reduce((a, b, i) => {
    const later = parts.slice(i + 1).flatMap((p) => p.names);
    return contracted(a, b, new Set([...result, ...later]));
  });
  const { x, names: list } = summed(total, new Set(result));
  return arranged({ x, names: list }, result).expand(result.map((n) => extents.get(n) as number));
}
