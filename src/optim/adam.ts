/** @file Adam. */
import { checkNumber } from "../core/check.ts";
import { checkOptions, type Names } from "../core/options.ts";
import type { Node } from "../graph/node.ts";
import { add, apply, BINARY, mul, neg, scale, shift, sub, UNARY } from "../ops/elementwise.ts";
import { constantLike } from "../ops/leaf.ts";
import { expand } from "../ops/movement.ts";
import type { Parameter } from "../tensor/parameter.ts";
import { Variable } from "../trace/variable.ts";
import { Optimizer, zerosLike } from "./optimizer.ts";

export interface AdamOptions {
  /** Default 1e-3. */
  lr?: number;
  /** Default [0.9, 0.999]. */
  betas?: readonly [number, number];
  /** Default 1e-8. */
  eps?: number;
  /** L2 penalty (Adam), or decoupled decay (AdamW); default 0, or 0.01. */
  weightDecay?: number;
}

const ADAM_NAMES: Names<AdamOptions> = { lr: true, betas: true, eps: true, weightDecay: true };

/** Adam (Kingma and Ba, arXiv 1412.6980). */
export class Adam extends Optimizer {
  protected readonly weightDecay: number;
  private readonly betas: readonly [number, number];
  private readonly eps: number;
  private readonly first: Variable[] = [];
  private readonly second: Variable[] = [];
  /** Steps done, per parameter: one that had no gradient for a while does not count that time. */
  private readonly steps: Variable[] = [];

  constructor(parameters: Iterable<Parameter>, options: AdamOptions = {}, name = "Adam", decay = 0) {
    const {
      lr = 1e-3,
      betas = [0.9, 0.999],
      eps = 1e-8,
      weightDecay = decay,
    } = checkOptions(name, options, ADAM_NAMES);
    super(name, parameters, lr);
    for (const i of [0, 1]) checkNumber(name, `betas[${i}]`, betas?.[i], 0, 1);
    checkNumber(name, "eps", eps, 0);
    checkNumber(name, "weightDecay", weightDecay, 0);
    this.weightDecay = weightDecay;
    this.betas = betas;
    this.eps = eps;
  }

  /** The gradient the moments see, and the weight the step starts from. */
  protected decayed(w: Node, g: Node): { w: Node; g: Node } {
    return { w, g: this.weightDecay === 0 ? g : add(g, scale(w, this.weightDecay)) };
  }

  protected update(p: Parameter, gradient: Node, i: number): void {
    const [b1, b2] = this.betas;
    this.first[i] ??= zerosLike(p);
    this.second[i] ??= zerosLike(p);
    this.steps[i] ??= new Variable([], "float32", Float32Array.of(0));
    const { w, g } = this.decayed(p.node, gradient);
    const t = shift(this.steps[i].node, 1);
    const m = add(scale(this.first[i].node, b1), scale(g, 1 - b1));
    const v = add(scale(this.second[i].node, b2), scale(mul(g, g), 1 - b2));
    // 1 - beta^t without cancellation: the logarithm is taken here in float64, the rest is expm1.
    const correction = (beta: number): Node => neg(apply(UNARY.expm1, scale(t, Math.log(beta))));
    const stepSize = apply(BINARY.div, this.rateLike(t), correction(b1));
    const root = apply(BINARY.div, constantLike(t, 1), apply(UNARY.sqrt, correction(b2)));
    const denominator = shift(mul(apply(UNARY.sqrt, v), expand(root, v.shape)), this.eps);
    this.steps[i].assign(t);
    this.first[i].assign(m);
    this.second[i].assign(v);
    p.variable.assign(sub(w, apply(BINARY.div, mul(m, expand(stepSize, m.shape)), denominator)));
  }
}
