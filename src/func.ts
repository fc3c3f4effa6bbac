/** @file Function transforms, with torch.func's names. */
import { ShapeError, ValueError } from "./core/errors.ts";
import { numel, show } from "./core/shape.ts";
import { gradients } from "./diff/vjp.ts";
import { alias } from "./ops/structure.ts";
import { Tensor } from "./tensor.ts";

type TensorFunction<Args extends unknown[]> = (...args: Args) => Tensor;

/**
 * f's value and its gradient with respect to the argument(s) `argnums` (default the first): a tensor for a number, an array
 * for an array of numbers. The gradient is graph like any other: transforms nest.
 * @throws ShapeError if f's value has more than one element.
 */
export function valueAndGrad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: number | readonly number[] = 0,
): (...args: Args) => [Tensor, Tensor | Tensor[]] {
  const list = typeof argnums === "number" ? [argnums] : argnums;
  return (...args) => {
    const inputs = list.map((i) => {
      const x = args[i];
      if (!(x instanceof Tensor)) throw new ValueError(`grad: argument ${i} must be a tensor`);
      return new Tensor(alias(x.node));
    });
    const replaced = [...args] as Args;
    list.forEach((i, k) => {
      replaced[i] = inputs[k];
    });
    const y = f(...replaced);
    if (!(y instanceof Tensor) || numel(y.shape) !== 1)
      throw new ShapeError(`grad: the function must return one element, got shape ${y ? show(y.shape) : String(y)}`);
    const grads = gradients(
      y.node,
      inputs.map((t) => t.node),
    ).map((n) => new Tensor(n));
    return [y, typeof argnums === "number" ? grads[0] : grads];
  };
}

/** The gradient of a function of tensors that returns one element; see valueAndGrad. */
export function grad<Args extends unknown[]>(f: TensorFunction<Args>, argnums?: number): (...args: Args) => Tensor;
export function grad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: readonly number[],
): (...args: Args) => Tensor[];
export function grad<Args extends unknown[]>(
  f: TensorFunction<Args>,
  argnums: number | readonly number[] = 0,
): (...args: Args) => Tensor | Tensor[] {
  const both = valueAndGrad(f, argnums);
  return (...args) => both(...args)[1];
}
