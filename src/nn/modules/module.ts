/** @file Modules: parameters and submodules are found among an object's own properties, as in PyTorch. */
import { checkNumbers, converted, type Numbers } from "../../core/convert.ts";
import type { TypedArray } from "../../core/dtype.ts";
import { FourlaneError, ShapeError, ValueError } from "../../core/errors.ts";
import { sameShape, show } from "../../core/shape.ts";
import { Buffer, Parameter } from "../../tensor/parameter.ts";
import { Tensor } from "../../tensor/tensor.ts";
import { BY_IDENTITY } from "../../trace/signature.ts";
import { guard } from "../../trace/trace.ts";
import { checkAssignable, together } from "../../trace/variable.ts";

/** A module of any kind. */
export type AnyModule = Module<unknown, never[]>;

/**
 * Base of layers and networks: assign parameters and modules to properties, define forward. `Result`: what that returns, `Inputs`:
 * what it takes.
 */
export abstract class Module<Result = Tensor, Inputs extends unknown[] = Tensor[]> {
  /** @internal */
  get [BY_IDENTITY](): true {
    return true;
  }

  private isTraining = true;

  /** Computes the module's value. */
  abstract forward(...inputs: Inputs): Result;

  /** Whether the module trains (dropout drops) or is evaluated. */
  get training(): boolean {
    return guard(() => this.isTraining);
  }

  /** Parameters and modules held directly, by property name; arrays of them by index. */
  private *own(): Generator<[string, Parameter | AnyModule]> {
    for (const [name, value] of Object.entries(this)) {
      if (value instanceof Parameter || value instanceof Module) yield [name, value];
      else if (Array.isArray(value))
        for (const [i, v] of value.entries())
          if (v instanceof Parameter || v instanceof Module) yield [`${name}.${i}`, v];
    }
  }

  /** Submodules held directly, with their names. */
  *namedChildren(): Generator<[string, AnyModule]> {
    for (const [name, value] of this.own()) if (value instanceof Module) yield [name, value];
  }

  /** This module and all below it, each once. */
  *modules(seen: Set<AnyModule> = new Set()): Generator<AnyModule> {
    if (seen.has(this)) return;
    seen.add(this);
    yield this;
    for (const [, child] of this.namedChildren()) yield* child.modules(seen);
  }

  /** All parameters and buffers with their paths ("0.weight"), each once. */
  *namedState(prefix = "", seen: Set<Parameter | AnyModule> = new Set([this])): Generator<[string, Parameter]> {
    for (const [name, value] of this.own()) {
      if (seen.has(value)) continue;
      seen.add(value);
      if (value instanceof Module) yield* value.namedState(`${prefix}${name}.`, seen);
      else yield [prefix + name, value];
    }
  }

  /** All parameters with their paths ("0.weight"), each once. */
  *namedParameters(prefix = ""): Generator<[string, Parameter]> {
    for (const [name, value] of this.namedState(prefix)) if (!(value instanceof Buffer)) yield [name, value];
  }

  /** All buffers with their paths ("1.running_mean"), each once. */
  *namedBuffers(prefix = ""): Generator<[string, Buffer]> {
    for (const [name, value] of this.namedState(prefix)) if (value instanceof Buffer) yield [name, value];
  }

  /** All parameters, each once. */
  parameters(): Parameter[] {
    return [...this.namedParameters()].map(([, p]) => p);
  }

  /** Sets training mode, here and below. */
  train(mode = true): this {
    for (const m of this.modules()) m.isTraining = mode;
    return this;
  }

  /** Sets evaluation mode, here and below. */
  eval(): this {
    return this.train(false);
  }

  /** Forgets all gradients. */
  zeroGrad(): void {
    for (const p of this.parameters()) p.grad = null;
  }

  /** Parameters and buffers by path, as live tensors: read them with data(). */
  stateDict(): Record<string, Tensor> {
    return Object.fromEntries(this.namedState());
  }

  /**
   * Sets all parameters and buffers from tensors or arrays by path. Integers must fit exactly; float32 is rounded.
   * @throws FourlaneError if names are missing or unknown, ShapeError if a shape differs, ValueError or DTypeError for values
   * that do not fit and for other things; nothing is changed then.
   */
  loadStateDict(dict: Readonly<Record<string, Tensor | Numbers>>): void {
    if (typeof dict !== "object" || dict === null)
      throw new ValueError(`loadStateDict: an object of tensors or typed arrays is wanted, got ${String(dict)}`);
    const own = new Map(this.namedState());
    const missing = [...own.keys()].filter((k) => !Object.hasOwn(dict, k));
    const unexpected = Object.keys(dict).filter((k) => !own.has(k));
    if (missing.length > 0 || unexpected.length > 0)
      throw new FourlaneError(
        "STATE_DICT",
        `loadStateDict: missing ${missing.join(", ") || "none"}; unexpected ${unexpected.join(", ") || "none"}`,
      );
    // All or nothing: what does not fit is found before anything is set.
    const values = [...own].map(([name, p]) => {
      const value = dict[name];
      const shape = value instanceof Tensor ? value.shape : undefined;
      if (!shape) checkNumbers(`loadStateDict: ${name}`, value);
      const numbers = value as TypedArray;
      if (shape ? !sameShape(shape, p.shape) : numbers.length !== p.numel())
        throw new ShapeError(
          `loadStateDict: ${name} has shape ${show(p.shape)}, got ${shape ? show(shape) : `${numbers.length} values`}`,
        );
      if (value instanceof Tensor) {
        if (value.dtype !== p.dtype)
          throw new ValueError(`loadStateDict: ${name} has dtype ${p.dtype}, got ${value.dtype}`);
        // Its value now: it may be a parameter of this module, which is about to get another.
        const { node } = value;
        checkAssignable(`loadStateDict: ${name}`, node);
        return new Tensor(node);
      }
      return converted(`loadStateDict: ${name}`, value, p.dtype);
    });
    together(() => [...own.values()].forEach((p, i) => p.assign(values[i])));
  }
}
