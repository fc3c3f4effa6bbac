/** @file What all optimisers share. */
import { checkNumber } from "../core/check.ts";
import { allocate } from "../core/dtype.ts";
import { ValueError } from "../core/errors.ts";
import { numel } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { expand } from "../ops/movement.ts";
import { Parameter } from "../tensor/parameter.ts";
import { refuseInStep } from "../trace/trace.ts";
import { BY_IDENTITY } from "../trace/signature.ts";
import { Setting, together, Variable } from "../trace/variable.ts";

/** What all optimisers share: parameters, a learning rate that may change at any time, zeroGrad. */
export abstract class Optimizer {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  readonly parameters: readonly Parameter[];
  private readonly rate: Setting;
  private rateValue: number;
  private readonly name: string;

  protected constructor(name: string, parameters: Iterable<Parameter>, lr: number) {
    this.name = name;
    if (typeof parameters?.[Symbol.iterator] !== "function")
      throw new ValueError(`${name}: parameters must be a list (model.parameters()), got ${String(parameters)}`);
    this.parameters = [...parameters];
    this.parameters.forEach((p, i) => {
      if (!(p instanceof Parameter)) throw new ValueError(`${name}: parameters[${i}] is no Parameter: ${String(p)}`);
    });
    if (this.parameters.length === 0) throw new ValueError(`${name}: there are no parameters to optimise`);
    checkNumber(name, "lr", lr, 0);
    this.rateValue = lr;
    this.rate = new Setting(lr);
  }

  /** The learning rate. It is an input of compiled programs: changing it recompiles nothing. */
  get lr(): number {
    return this.rateValue;
  }

  set lr(value: number) {
    checkNumber(this.name, "lr", value, 0);
    this.rate.set(value);
    this.rateValue = value;
  }

  /** The learning rate as a node of a parameter's shape. */
  protected rateLike(p: Node): Node {
    return expand(this.rate.node, p.shape);
  }

  /** Forgets the gradients of all parameters. */
  zeroGrad(): void {
    for (const p of this.parameters) p.grad = null;
  }

  /** Changes every parameter that has a gradient. */
  step(): void {
    refuseInStep(`${this.name}.step`);
    together(() =>
      this.parameters.forEach((p, i) => {
        if (p.grad) this.update(p, p.grad.detach().node, i);
      }),
    );
  }

  protected abstract update(p: Parameter, g: Node, index: number): void;
}

/** @internal A variable of zeros like a parameter. */
export function zerosLike(p: Parameter): Variable {
  return new Variable(p.shape, "float32", allocate("float32", numel(p.shape)));
}
