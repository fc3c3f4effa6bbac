/** @file Optimisers, sorted in order of increasing complexity, with torch.optim's names and defaults. */
import { allocate } from "../core/dtype.ts";
import { ValueError } from "../core/errors.ts";
import { checkOptions, type Names } from "../core/options.ts";
import { numel } from "../core/shape.ts";
import type { Node } from "../graph/node.ts";
import { add, apply, BINARY, mul, neg, scale, shift, sub, UNARY } from "../ops/elementwise.ts";
import { constant, constantLike } from "../ops/leaf.ts";
import { expand } from "../ops/structure.ts";
import { Parameter } from "../tensor.ts";
import { BY_IDENTITY } from "../trace/signature.ts";
import { Setting, together, Variable } from "../trace/variable.ts";

function checkNumber(op: string, name: string, value: number, low: number, high = Number.POSITIVE_INFINITY): void {
  // As float32, which is what programs compute with.
  const v = typeof value === "number" ? Math.fround(value) : Number.NaN;
  if (!Number.isFinite(v) || v < low || v >= high)
    throw new ValueError(`${op}: ${name} must be finite in float32 and in [${low}, ${high}), got ${String(value)}`);
}

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
    together(() =>
      this.parameters.forEach((p, i) => {
        if (p.grad) this.update(p, p.grad.detach().node, i);
      }),
    );
  }

  protected abstract update(p: Parameter, g: Node, index: number): void;
}

/** A variable of zeros like a parameter. */
function zerosLike(p: Parameter): Variable {
  return new Variable(p.shape, "float32", allocate("float32", numel(p.shape)));
}

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
    checkNumber("SGD", "dampening", dampening, Number.NEGATIVE_INFINITY);
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
    checkNumber(name, "betas[0]", betas[0], 0, 1);
    checkNumber(name, "betas[1]", betas[1], 0, 1);
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

/** Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101); weightDecay defaults to 0.01. */
export class AdamW extends Adam {
  constructor(parameters: Iterable<Parameter>, options: AdamOptions = {}) {
    super(parameters, options, "AdamW", 0.01);
  }

  protected override decayed(w: Node, g: Node): { w: Node; g: Node } {
    const keep = shift(neg(scale(this.rateLike(w), this.weightDecay)), 1);
    return { w: mul(w, keep), g };
  }
}
