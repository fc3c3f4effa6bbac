/** @file The methods no source spells out: one for each operation of the tables, and those that consoles and `using` look for. */
import type { Node } from "../graph/node.ts";
import { BINARY, COMPARE, UNARY } from "../ops/elementwise.ts";
import { binary, unary } from "./elementwise.ts";
import type { Operand } from "./promotion.ts";

/** A method for each function of one tensor. */
export type Unary<Tensor> = { [K in keyof typeof UNARY]: () => Tensor };

/** A method for each function of two, the other being a tensor or what counts as one. */
export type Binary<Tensor, Other> = { [K in keyof typeof BINARY | keyof typeof COMPARE]: (other: Other) => Tensor };

interface Methods {
  readonly node: Node;
  dispose(): void;
}

/** Gives a class, which stands above this file, its methods; `operand` makes an operand of what users give. */
export function deriveMethods(
  Tensor: { new (node: Node): Methods; readonly prototype: Methods },
  operand: (op: string, x: never) => Operand,
): void {
  const method = (name: PropertyKey, value: (this: Methods, other: never) => unknown): void => {
    Object.defineProperty(Tensor.prototype, name, { value });
  };
  for (const [name, op] of Object.entries(UNARY))
    method(name, function () {
      return new Tensor(unary(op, this.node));
    });
  for (const [name, op] of Object.entries({ ...BINARY, ...COMPARE }))
    method(name, function (other) {
      return new Tensor(binary(op, this.node, operand(op.name, other)));
    });
  // What console.log shows in Node.
  method(Symbol.for("nodejs.util.inspect.custom"), function () {
    return String(this);
  });
  if (typeof Symbol.dispose === "symbol")
    method(Symbol.dispose, function () {
      this.dispose();
    });
}
