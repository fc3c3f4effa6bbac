/** @file Stochastic gradient descent. */
import { checkNumber } from "../core/check.ts";
import { ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import type { Node } from "../graph/node.ts";
import { add, mul, scale, shift, sub } from "../ops/elementwise.ts";
import { constant } from "../ops/leaf.ts";
import { expand } from "../ops/movement.ts";
import type { Parameter } from "../tensor/parameter.ts";
import { Variable } from "../trace/variable.ts";
import { Optimizer, zerosLike } from "./optimizer.ts";

export interface SGDOptions {
  /** Default 1e-3. */
  lr?: number;
  /** Default 0. */
  momentum?: number;
  /** Default 0. */
  dampening?: number;
  /** L2 penalty; default 0. */
  weightDecay?: number;
  /** Needs momentum and no dampening; default false. */
  nesterov?: boolean;
}

const SGD_NAMES: Names<SGDOptions> = { lr: true, momentum: true, dampening: true, weightDecay: true, nesterov: true };

/** Stochastic gradient descent, with momentum as in PyTorch: v = momentum v + (1 - dampening) g, v = g at first. */
export class SGD extends Optimizer {
  private readonly momentum: number;
  private readonly dampening: number;
  private readonly weightDecay: number;
  private readonly nesterov: boolean;
  private readonly velocity: Variable[] = [];
  /** 0 before a parameter's first step, then 1. */
  private readonly started: Variable[] = [];

  constructor(parameters: Iterable<Parameter>, options: SGDOptions = {}) {
    const {
      lr = 1e-3,
      momentum = 0,
      dampening = 0,
      weightDecay = 0,
      nesterov = false,
    } = checkOptions("SGD", options, SGD_NAMES);
    super("SGD", parameters, lr);
    checkNumber("SGD", "momentum", momentum, 0);
    checkNumber("SGD", "weightDecay", weightDecay, 0);
    checkNumber("SGD", "dampening", dampening);
    if (nesterov && (momentum <= 0 || dampening !== 0))
      throw new ValueError(`SGD: nesterov needs a momentum and no dampening, got ${momentum} and ${dampening}`);
    this.momentum = momentum;
    this.dampening = dampening;
    this.weightDecay = weightDecay;
    this.nesterov = nesterov;
  }

  protected update(p: Parameter, gradient: Node, i: number): void {
    const w = p.node;
    let g = this.weightDecay === 0 ? gradient : add(gradient, scale(w, this.weightDecay));
    if (this.momentum !== 0) {
      this.velocity[i] ??= zerosLike(p);
      const before = scale(this.velocity[i].node, this.momentum);
      let v = add(before, g);
      if (this.dampening !== 0) {
        // The first step takes the whole gradient; later ones 1 - dampening of it.
        this.started[i] ??= new Variable([], "float32", Float32Array.of(0));
        const share = shift(scale(this.started[i].node, -this.dampening), 1);
        v = add(before, mul(g, expand(share, g.shape)));
        this.started[i].assign(constant(1));
      }
      this.velocity[i].assign(v);
      g = this.nesterov ? add(g, scale(v, this.momentum)) : v;
    }
    p.variable.assign(sub(w, mul(g, this.rateLike(w))));
  }
}
