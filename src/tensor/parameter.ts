/** @file Tensors whose value changes: what is trained, and what else belongs to a module's state. */
import { checkNumbers, converted, type Numbers } from "../core/convert.ts";
import { isFloat, type TypedArray } from "../core/dtype.ts";
import { ShapeError } from "../core/errors.ts";
import { checkOptions } from "../core/options.ts";
import { show } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { dataOf } from "../trace/bindings.ts";
import { currentTrace, guard, refuseInStep, refuseRead } from "../trace/trace.ts";
import { Variable } from "../trace/variable.ts";
import { setOwner } from "./autograd.ts";
import { checkTensors, Tensor } from "./tensor.ts";

/** A tensor that training changes. Its value lives in the workers' memory between steps. */
export class Parameter extends Tensor {
  /** @internal */
  readonly variable: Variable;

  /** Takes a tensor's value; a lazy one is computed with the first use. */
  constructor(value: Tensor, options: { requiresGrad?: boolean } = {}) {
    checkTensors("Parameter", { "the value": value });
    const variable = new Variable(value.shape, value.dtype, dataOf(value.node)?.slice() ?? value.node);
    super(value.node);
    this.variable = variable;
    setOwner(variable, this);
    const { requiresGrad = isFloat(value.dtype) } = checkOptions("Parameter", options, { requiresGrad: true });
    if (requiresGrad) this.requiresGrad = true;
  }

  override get node(): Node {
    // A compiled step was recorded for parameters that train, or do not: whichever it was must still hold.
    if (currentTrace()) guard(() => this.requiresGrad);
    return this.variable.node;
  }

  /**
   * Sets the value, from a tensor of the same shape and dtype, or from its elements in row-major order (copied).
   * @throws ValueError for an element that the dtype cannot hold; float32 is rounded, integers must be exact.
   */
  assign(value: Tensor | Numbers): void {
    refuseInStep("assign");
    if (value instanceof Tensor) {
      this.variable.assign(value.node);
      return;
    }
    checkNumbers("assign: the value", value);
    if (value.length !== this.numel())
      throw new ShapeError(`assign: ${value.length} values for a parameter of shape ${show(this.shape)}`);
    this.variable.set(converted("assign", value, this.dtype));
  }

  override get [Symbol.toStringTag](): string {
    return "Parameter";
  }

  override async data(): Promise<TypedArray> {
    const refused = refuseRead();
    if (refused) return refused;
    return this.variable.read();
  }

  override dispose(): void {
    this.variable.dispose();
  }
}

/** A value that belongs to a module's state but is not trained: running statistics, counts. */
export class Buffer extends Parameter {
  constructor(value: Tensor) {
    super(value, { requiresGrad: false });
  }

  override get [Symbol.toStringTag](): string {
    return "Buffer";
  }
}
